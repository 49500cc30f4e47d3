//! Looks whether guards hold.

use std::collections::BTreeSet;

use crate::escape::quote;
use crate::image::ImageReference;

use super::command::{CommandKind, ListItem};
use super::conversation::Conversation;
use super::facts::{Evidence, Facts, ReleaseImage};
use super::guard::{Guard, GuardReport, Verdict};
use super::queue::{Queue, Step, same};

/// A step that is asked for, and all that its guards may look at.
pub(super) struct GuardContext<'a> {
    pub(super) queue: &'a Queue,
    pub(super) step: &'a Step,
    pub(super) facts: &'a Facts,
    pub(super) conversation: &'a Conversation,
}

struct Judgement {
    verdict: Verdict,
    explanation: String,
    help: String,
}

fn holds(explanation: impl Into<String>) -> Judgement {
    Judgement { verdict: Verdict::Holds, explanation: explanation.into(), help: String::new() }
}

fn fails(explanation: impl Into<String>, help: impl Into<String>) -> Judgement {
    Judgement { verdict: Verdict::Fails, explanation: explanation.into(), help: help.into() }
}

fn unknown(explanation: impl Into<String>, help: impl Into<String>) -> Judgement {
    Judgement { verdict: Verdict::Unknown, explanation: explanation.into(), help: help.into() }
}

impl GuardContext<'_> {
    pub(super) fn judge(&self, guard: Guard) -> GuardReport {
        let judgement = match guard {
            Guard::Kind => self.kind(),
            Guard::AskedInBody => self.in_body(),
            Guard::ReleaseNote => self.release_note(),
            Guard::Cc => self.cc(),
            Guard::CheckClean => self.check_clean(),
            Guard::ImagesListed => self.images_listed(),
            Guard::ImagesInSource => self.images_are(
                "in the source registry",
                "push what is missing, with the tag that the release manifest names",
                |image| (&image.source, &image.in_source),
            ),
            Guard::ImagesInRelease => self.images_are(
                "in the release registry with the source's digest",
                "run `compass sync` for the target",
                |image| (&image.release, &image.in_release),
            ),
            Guard::BundlePublished => self.bundle(),
            Guard::PackagesListed => self.packages_listed(),
        };
        let Judgement { verdict, explanation, help } = judgement;
        GuardReport { guard: guard.name(), verdict, explanation, help }
    }

    fn kind(&self) -> Judgement {
        let said = self.conversation.body().filter_map(|said| match said {
            CommandKind::Kind(kind) => Some(kind),
            _ => None,
        });
        let kinds = self.queue.kinds();
        match said.into_iter().find(|kind| kinds.iter().any(|known| same(known, kind))) {
            Some(kind) => holds(format!("the body has `/kind {kind}`")),
            None => {
                let commands: Vec<_> = kinds.iter().map(|kind| format!("`/kind {kind}`")).collect();
                let commands = commands.join(" or ");
                fails(format!("the body has no {commands}"), format!("add {commands} to the body"))
            }
        }
    }

    fn in_body(&self) -> Judgement {
        let command = format!("`/queue {}`", self.step.to);
        let asked = |said: &CommandKind| matches!(said, CommandKind::Queue(label) if same(label, &self.step.to));
        if self.conversation.body().any(asked) {
            holds(format!("the body has {command}"))
        } else {
            fails(
                format!("the body has no {command}"),
                format!("add {command} to the body, on a line of its own"),
            )
        }
    }

    fn release_note(&self) -> Judgement {
        let mut headed = false;
        for said in self.conversation.body() {
            match said {
                CommandKind::ReleaseNote(Some(_)) => return holds("the body has a release note"),
                CommandKind::ReleaseNote(None) => headed = true,
                _ => {}
            }
        }
        if headed {
            fails(
                "`**Release note**:` stands in the body, and nothing is noted under it",
                "write below that line, before the commands, what the release brings",
            )
        } else {
            fails(
                "the body has no release note",
                "add a line `**Release note**:` to the body, and below it what the release brings",
            )
        }
    }

    fn cc(&self) -> Judgement {
        let told: Vec<&String> = self
            .conversation
            .body()
            .filter_map(|said| if let CommandKind::Cc(logins) = said { Some(logins) } else { None })
            .flatten()
            .collect();
        // Nobody needs to tell themselves.
        let missing: Vec<String> = self
            .queue
            .cc()
            .iter()
            .filter(|login| !same(login, self.facts.author.trim_start_matches('@')))
            .filter(|login| !told.iter().any(|other| same(other, login)))
            .map(|login| format!("@{login}"))
            .collect();
        if missing.is_empty() {
            holds("the body tells everybody who must know")
        } else {
            let missing = missing.join(" ");
            fails(
                format!("the body does not tell {missing}"),
                format!("add `/cc {missing}` to the body"),
            )
        }
    }

    fn check_clean(&self) -> Judgement {
        match self.facts.check_errors {
            Some(0) => holds("`check` finds no error"),
            Some(1) => fails("`check` finds an error", "run `compass check` and correct it"),
            Some(n) => {
                fails(format!("`check` finds {n} errors"), "run `compass check` and correct them")
            }
            None => unknown("`check` was not run", "run `compass check`"),
        }
    }

    fn images_listed(&self) -> Judgement {
        let Some(needed) = &self.facts.images else {
            return unknown(
                "the images of the release manifests are not known",
                "look from within a checkout of the pull request",
            );
        };
        let lists = self.conversation.image_lists(self.facts, &self.step.who);
        let (complete, broken) = lists;
        let write = || {
            let sources: Vec<_> = needed.iter().map(|image| image.source.to_string()).collect();
            format!("comment `image(s) pushed to`, and below it:\n{}", sources.join("\n"))
        };
        match complete {
            Some(listed) => compare(needed, &listed, &write),
            None if needed.is_empty() => holds("the release manifests need no image"),
            None => match broken {
                Some(item) => fails(describe_broken(&item), write()),
                None => fails("no images are listed by anybody who may ask for this", write()),
            },
        }
    }

    fn images_are(
        &self,
        what: &str,
        help: &str,
        of: fn(&ReleaseImage) -> (&ImageReference, &Evidence),
    ) -> Judgement {
        let Some(images) = &self.facts.images else {
            return unknown(
                "the images of the release manifests are not known",
                "look from within a checkout of the pull request",
            );
        };
        let mut missing = Vec::new();
        let mut open = Vec::new();
        for (image, evidence) in images.iter().map(of) {
            match evidence {
                Evidence::Yes => {}
                Evidence::No(detail) => missing.push(format!("{image}: {detail}")),
                Evidence::Unknown(why) => open.push(format!("{image}: {why}")),
            }
        }
        let total = images.len();
        if !missing.is_empty() {
            let count = missing.len();
            let explanation =
                format!("not {what}: {count} of {total} images\n{}", some_of(&missing));
            fails(explanation, help)
        } else if !open.is_empty() {
            let explanation = format!("not known to be {what}\n{}", some_of(&open));
            unknown(explanation, "look again where the registry can be reached")
        } else {
            holds(format!("every image is {what}: {total}"))
        }
    }

    fn bundle(&self) -> Judgement {
        match &self.facts.bundle {
            Evidence::Yes => holds("the bundle is in the store and verifies"),
            Evidence::No(detail) => fails(
                format!("the bundle is not published: {detail}"),
                "run `compass package` and `compass publish` for the target",
            ),
            Evidence::Unknown(why) => unknown(
                format!("the bundle is not known to be in the store: {why}"),
                "look again where the store can be reached",
            ),
        }
    }

    fn packages_listed(&self) -> Judgement {
        let listed = self.conversation.packages(self.facts, &self.step.who);
        if listed.is_empty() {
            fails(
                "no package is listed by anybody who may ask for this",
                "comment `packages uploaded to`, and below it the address of each package",
            )
        } else if let Some(item) = listed.iter().find(|item| item.is_malformed()) {
            fails(describe_broken(item), "correct that line")
        } else {
            holds(format!("packages are listed: {}", listed.len()))
        }
    }
}

/// The first lines of many.
fn some_of(lines: &[String]) -> String {
    let mut shown = lines.iter().take(MAX_LINES).cloned().collect::<Vec<_>>().join("\n");
    if lines.len() > MAX_LINES {
        shown += &format!("\nand {} more", lines.len() - MAX_LINES);
    }
    shown
}

/// How many lines an explanation has.
const MAX_LINES: usize = 20;

fn describe_broken<T>(item: &ListItem<T>) -> String {
    let why = item.value.as_ref().err().map_or("", String::as_str);
    format!("line {} of the list cannot be read: {}: {why}", item.line, quote(&item.text))
}

/// Compares what is listed with what the release manifests need, by repository and tag.
fn compare(
    needed: &[ReleaseImage],
    listed: &[ImageReference],
    write: &dyn Fn() -> String,
) -> Judgement {
    let name = |image: &ImageReference| (image.without_version(), image.tag().map(str::to_owned));
    let wanted: BTreeSet<_> = needed.iter().map(|image| name(&image.source)).collect();
    let given: BTreeSet<_> = listed.iter().map(name).collect();
    let shown = |(repository, tag): &(String, Option<String>)| match tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository} (without a tag)"),
    };
    let missing = wanted.difference(&given).map(|image| format!("not listed: {}", shown(image)));
    let extra = given.difference(&wanted).map(|image| format!("not needed: {}", shown(image)));
    let differences: Vec<String> = missing.chain(extra).collect();
    if differences.is_empty() {
        holds(format!("the listed images are those of the release manifests: {}", wanted.len()))
    } else {
        let explanation = format!(
            "the listed images are not those of the release manifests\n{}",
            some_of(&differences)
        );
        fails(explanation, write())
    }
}
