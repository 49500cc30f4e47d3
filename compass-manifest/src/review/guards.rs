//! Evaluates the guards of a step.

use crate::image::ImageReference;

use super::command::CommandKind;
use super::conversation::Conversation;
use super::evaluate::account;
use super::facts::{Evidence, Facts, ReleaseImage};
use super::guard::{Guard, GuardReport, Verdict};
use super::list_guards::ListResults;
use super::owners::TargetOwners;
use super::queue::{Queue, Step, same};
use super::statement::{RegistryRole, Statement};

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
    finding: Statement,
    help: String,
}

impl GuardResults {
    /// Returns the result for a request in the text with this index, or for one that is given next.
    pub(super) fn report(&self, text: Option<usize>) -> GuardReport {
        let evaluation = match &self.results {
            Results::Same(evaluation) => evaluation,
            Results::Lists(lists) => lists.at(text),
        };
        let Evaluation { verdict, finding, help } = evaluation.clone();
        let explanation = finding.to_string();
        GuardReport { guard: self.guard.name(), verdict, explanation, finding, help }
    }
}

pub(super) fn holds(finding: Statement) -> Evaluation {
    Evaluation { verdict: Verdict::Holds, finding, help: String::new() }
}

pub(super) fn fails(finding: Statement, help: impl Into<String>) -> Evaluation {
    Evaluation { verdict: Verdict::Fails, finding, help: help.into() }
}

fn unknown(finding: Statement, help: impl Into<String>) -> Evaluation {
    Evaluation { verdict: Verdict::Unknown, finding, help: help.into() }
}

pub(super) fn unknown_images() -> Evaluation {
    unknown(Statement::ImagesUnknown, "run the command in a checkout of the pull request")
}

/// Says what to do about images that are not correctly in the release registry. By default, `sync` does
/// not move tags.
fn sync_help(missing: &[(ImageReference, Statement)]) -> &'static str {
    let is_any = |is_reason: fn(&Statement) -> bool| missing.iter().any(|(_, why)| is_reason(why));
    if is_any(|why| matches!(why, Statement::OtherDigest { .. })) {
        "increase the version; if no site has the image, `compass sync --on-existing-tag move` replaces it"
    } else if is_any(|why| matches!(why, Statement::NotInSource)) {
        "push these images to the source registry, so that they can be compared"
    } else {
        "run `compass sync` for the target"
    }
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
                RegistryRole::Source,
                |_| "push the missing images with the tags of the release manifest",
                |image| (&image.source, &image.in_source),
            ),
            Guard::ImagesInRelease => self.images_are(RegistryRole::Release, sync_help, |image| {
                (&image.release, &image.in_release)
            }),
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
            Some(kind) => holds(Statement::KindInBody(kind.clone())),
            None => {
                let commands: Vec<_> = kinds.iter().map(|kind| format!("`/kind {kind}`")).collect();
                let help = format!("add {} to the body", commands.join(" or "));
                fails(Statement::NoKindInBody(kinds.to_vec()), help)
            }
        }
    }

    fn in_body(&self) -> Evaluation {
        let command = format!("`/queue {}`", self.step.to);
        let requests = |it: &CommandKind| matches!(it, CommandKind::Queue(label) if same(label, &self.step.to));
        if self.conversation.body().any(requests) {
            holds(Statement::RequestInBody(self.step.to.clone()))
        } else {
            fails(
                Statement::NoRequestInBody(self.step.to.clone()),
                format!("add {command} to the body, on a separate line"),
            )
        }
    }

    fn release_note(&self) -> Evaluation {
        let mut has_heading = false;
        for command in self.conversation.body() {
            match command {
                CommandKind::ReleaseNote(Some(_)) => return holds(Statement::ReleaseNote),
                CommandKind::ReleaseNote(None) => has_heading = true,
                _ => {}
            }
        }
        if has_heading {
            fails(
                Statement::EmptyReleaseNote,
                "describe the release below the line `**Release note**:`",
            )
        } else {
            fails(
                Statement::NoReleaseNote,
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
        let accounts: Vec<String> = missing.cloned().collect();
        let owners = self.facts.owners.iter();
        let owners = owners.filter(|owners| !owners.accounts.iter().any(|login| is_known(&login)));
        let owners: Vec<TargetOwners> = owners.cloned().collect();
        if accounts.is_empty() && owners.is_empty() {
            return holds(Statement::AllMentioned);
        }
        let first = owners.iter().filter_map(|owners| owners.accounts.first());
        let missing = accounts.iter().map(|login| format!("@{login}"));
        let missing: Vec<_> = missing.chain(first.map(|login| account(login))).collect();
        let help = format!("add `/cc {}` to the body", missing.join(" "));
        fails(Statement::NotMentioned { accounts, owners }, help)
    }

    fn check_clean(&self) -> Evaluation {
        let Some(errors) = self.facts.check_errors else {
            return unknown(Statement::CheckNotRun, "run `compass check`");
        };
        let finding = Statement::CheckErrors(errors);
        match errors {
            0 => holds(finding),
            1 => fails(finding, "run `compass check` and fix it"),
            _ => fails(finding, "run `compass check` and fix them"),
        }
    }

    fn images_are(
        &self,
        registry: RegistryRole,
        help: fn(&[(ImageReference, Statement)]) -> &'static str,
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
                Evidence::No(reason) => missing.push((image.clone(), reason.clone())),
                Evidence::Unknown(reason) => open.push((image.clone(), reason.clone())),
            }
        }
        let total = images.len();
        if !missing.is_empty() {
            let help = help(&missing);
            fails(Statement::ImagesMissing { registry, total, images: missing }, help)
        } else if !open.is_empty() {
            let help = "run the command with access to the registry";
            unknown(Statement::ImagesNotKnown { registry, images: open }, help)
        } else {
            holds(Statement::AllImagesIn(registry, total))
        }
    }

    fn bundle(&self) -> Evaluation {
        match &self.facts.bundle {
            Evidence::Yes => holds(Statement::BundlePublished),
            Evidence::No(reason) => fails(
                Statement::BundleNotPublished(Box::new(reason.clone())),
                "run `compass package` and `compass publish` for the target",
            ),
            Evidence::Unknown(reason) => unknown(
                Statement::BundleNotKnown(Box::new(reason.clone())),
                "run the command with access to the store",
            ),
        }
    }
}
