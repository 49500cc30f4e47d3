//! Evaluates the guards of a step.

use crate::escape::escape;
use crate::image::ImageReference;

use super::command::CommandKind;
use super::conversation::Conversation;
use super::evaluate::account;
use super::facts::{Evidence, Facts, ReleaseImage};
use super::guard::{Guard, GuardReport, Verdict};
use super::list_guards::ListResults;
use super::queue::{Queue, Step, same};

/// A step, and the inputs of its guards.
pub(super) struct GuardContext<'a> {
    pub(super) queue: &'a Queue,
    pub(super) step: &'a Step,
    pub(super) facts: &'a Facts,
    pub(super) conversation: &'a Conversation,
}

/// The results of a guard for the requests of a step.
pub(super) struct GuardResults {
    guard: Guard,
    results: Results,
}

enum Results {
    /// The result does not depend on the request.
    Same(Evaluation),
    Lists(ListResults),
}

#[derive(Clone)]
pub(super) struct Evaluation {
    pub(super) verdict: Verdict,
    explanation: String,
    help: String,
}

impl GuardResults {
    /// Returns the result for a request in the text with this index, or for one that is given next.
    pub(super) fn report(&self, text: Option<usize>) -> GuardReport {
        let evaluation = match &self.results {
            Results::Same(evaluation) => evaluation,
            Results::Lists(lists) => lists.at(text),
        };
        let Evaluation { verdict, explanation, help } = evaluation.clone();
        GuardReport { guard: self.guard.name(), verdict, explanation, help }
    }
}

pub(super) fn holds(explanation: impl Into<String>) -> Evaluation {
    Evaluation { verdict: Verdict::Holds, explanation: explanation.into(), help: String::new() }
}

pub(super) fn fails(explanation: impl Into<String>, help: impl Into<String>) -> Evaluation {
    Evaluation { verdict: Verdict::Fails, explanation: explanation.into(), help: help.into() }
}

fn unknown(explanation: impl Into<String>, help: impl Into<String>) -> Evaluation {
    Evaluation { verdict: Verdict::Unknown, explanation: explanation.into(), help: help.into() }
}

pub(super) fn unknown_images() -> Evaluation {
    unknown(
        "the images of the release manifests are not known",
        "run the command in a checkout of the pull request",
    )
}

impl GuardContext<'_> {
    pub(super) fn evaluate(&self, guard: Guard) -> GuardResults {
        let evaluation = match guard {
            Guard::ImagesListed => {
                return GuardResults { guard, results: Results::Lists(self.images_listed()) };
            }
            Guard::PackagesListed => {
                return GuardResults { guard, results: Results::Lists(self.packages_listed()) };
            }
            Guard::Kind => self.kind(),
            Guard::AskedInBody => self.in_body(),
            Guard::ReleaseNote => self.release_note(),
            Guard::Cc => self.cc(),
            Guard::CheckClean => self.check_clean(),
            Guard::ImagesInSource => self.images_are(
                "in the source registry",
                "push the missing images with the tags of the release manifest",
                |image| (&image.source, &image.in_source),
            ),
            Guard::ImagesInRelease => self.images_are(
                "in the release registry with the source's digest",
                "run `compass sync` for the target",
                |image| (&image.release, &image.in_release),
            ),
            Guard::BundlePublished => self.bundle(),
        };
        GuardResults { guard, results: Results::Same(evaluation) }
    }

    fn kind(&self) -> Evaluation {
        let kinds_in_body = self.conversation.body().filter_map(|command| match command {
            CommandKind::Kind(kind) => Some(kind),
            _ => None,
        });
        let kinds = self.queue.kinds();
        match kinds_in_body.into_iter().find(|kind| kinds.iter().any(|known| same(known, kind))) {
            Some(kind) => holds(format!("the body has `/kind {kind}`")),
            None => {
                let commands: Vec<_> = kinds.iter().map(|kind| format!("`/kind {kind}`")).collect();
                let commands = commands.join(" or ");
                fails(format!("the body has no {commands}"), format!("add {commands} to the body"))
            }
        }
    }

    fn in_body(&self) -> Evaluation {
        let command = format!("`/queue {}`", self.step.to);
        let requests = |it: &CommandKind| matches!(it, CommandKind::Queue(label) if same(label, &self.step.to));
        if self.conversation.body().any(requests) {
            holds(format!("the body has {command}"))
        } else {
            fails(
                format!("the body has no {command}"),
                format!("add {command} to the body, on a separate line"),
            )
        }
    }

    fn release_note(&self) -> Evaluation {
        let mut has_heading = false;
        for command in self.conversation.body() {
            match command {
                CommandKind::ReleaseNote(Some(_)) => return holds("the body has a release note"),
                CommandKind::ReleaseNote(None) => has_heading = true,
                _ => {}
            }
        }
        if has_heading {
            fails(
                "the release note in the body is empty",
                "describe the release below the line `**Release note**:`",
            )
        } else {
            fails(
                "the body has no release note",
                "add a line `**Release note**:` to the body, and describe the release below it",
            )
        }
    }

    fn cc(&self) -> Evaluation {
        let mentioned: Vec<&String> = self
            .conversation
            .body()
            .filter_map(|it| if let CommandKind::Cc(logins) = it { Some(logins) } else { None })
            .flatten()
            .collect();
        // The author of the pull request needs no mention.
        let is_known = |login: &&String| {
            same(login, self.facts.author.trim_start_matches('@'))
                || mentioned.iter().any(|other| same(other, login))
        };
        let missing = self.queue.cc().iter().filter(|login| !is_known(login));
        let mut missing: Vec<String> = missing.map(|login| format!("@{login}")).collect();
        let mut described = missing.join(" ");
        for owners in &self.facts.owners {
            if owners.accounts.iter().any(|login| is_known(&login)) {
                continue;
            }
            let accounts: Vec<_> = owners.accounts.iter().map(|login| account(login)).collect();
            let separator = if described.is_empty() { "" } else { ", and " };
            described += &format!(
                "{separator}an owner of {}: {}",
                escape(&owners.target),
                accounts.join(" or ")
            );
            missing.extend(accounts.into_iter().take(1));
        }
        if missing.is_empty() {
            holds("the body mentions all reviewers")
        } else {
            fails(
                format!("the body does not mention {described}"),
                format!("add `/cc {}` to the body", missing.join(" ")),
            )
        }
    }

    fn check_clean(&self) -> Evaluation {
        match self.facts.check_errors {
            Some(0) => holds("`check` finds no error"),
            Some(1) => fails("`check` finds one error", "run `compass check` and fix it"),
            Some(n) => {
                fails(format!("`check` finds {n} errors"), "run `compass check` and fix them")
            }
            None => unknown("`check` was not run", "run `compass check`"),
        }
    }

    fn images_are(
        &self,
        what: &str,
        help: &str,
        of: fn(&ReleaseImage) -> (&ImageReference, &Evidence),
    ) -> Evaluation {
        let Some(images) = &self.facts.images else {
            return unknown_images();
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
                format!("not {what}: {count} of {total} images\n{}", join_lines(&missing));
            fails(explanation, help)
        } else if !open.is_empty() {
            let explanation =
                format!("it is unknown whether these images are {what}\n{}", join_lines(&open));
            unknown(explanation, "run the command with access to the registry")
        } else {
            holds(format!("every image is {what}: {total}"))
        }
    }

    fn bundle(&self) -> Evaluation {
        match &self.facts.bundle {
            Evidence::Yes => holds("the store has the bundle, and it is valid"),
            Evidence::No(detail) => fails(
                format!("the bundle is not published: {detail}"),
                "run `compass package` and `compass publish` for the target",
            ),
            Evidence::Unknown(why) => unknown(
                format!("it is unknown whether the store has the bundle: {why}"),
                "run the command with access to the store",
            ),
        }
    }
}

/// Joins the first [`MAX_LINES`] lines, and appends the number of the others.
pub(super) fn join_lines(lines: &[String]) -> String {
    let mut shown = lines.iter().take(MAX_LINES).cloned().collect::<Vec<_>>().join("\n");
    if lines.len() > MAX_LINES {
        shown += &format!("\nand {} more", lines.len() - MAX_LINES);
    }
    shown
}

/// The maximum number of lines of an explanation.
const MAX_LINES: usize = 20;
