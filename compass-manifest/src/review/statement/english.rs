//! Words statements in English.

use std::fmt;

use crate::escape::{escape, quote};

use super::super::evaluate::{account, position};
use super::{RegistryRole, Statement};

/// The maximum number of items that are worded one by one.
const MAX_LINES: usize = 20;

impl Statement {
    /// Returns the items below the statement, such as the missing images.
    fn items(&self) -> Vec<String> {
        match self {
            Self::ImagesMissing { images, .. } | Self::ImagesNotKnown { images, .. } => {
                images.iter().map(|(image, reason)| format!("{image}: {reason}")).collect()
            }
            Self::ListDiffers { missing, extra } => {
                let missing = missing.iter().map(|image| format!("not listed: {image}"));
                let extra = extra.iter().map(|image| format!("not needed: {image}"));
                missing.chain(extra).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Writes the statements about the body and the rules.
    fn write_body(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KindInBody(kind) => write!(f, "the body has `/kind {kind}`"),
            Self::NoKindInBody(kinds) => {
                let commands: Vec<_> = kinds.iter().map(|kind| format!("`/kind {kind}`")).collect();
                write!(f, "the body has no {}", commands.join(" or "))
            }
            Self::RequestInBody(label) => write!(f, "the body has `/queue {label}`"),
            Self::NoRequestInBody(label) => write!(f, "the body has no `/queue {label}`"),
            Self::ReleaseNote => f.write_str("the body has a release note"),
            Self::EmptyReleaseNote => f.write_str("the release note in the body is empty"),
            Self::NoReleaseNote => f.write_str("the body has no release note"),
            Self::AllMentioned => f.write_str("the body mentions all reviewers"),
            Self::NotMentioned { accounts, owners } => {
                let accounts: Vec<_> = accounts.iter().map(|login| format!("@{login}")).collect();
                let accounts = Some(accounts.join(" ")).filter(|accounts| !accounts.is_empty());
                let owners = owners.iter().map(|owners| {
                    let logins: Vec<_> = owners.accounts.iter().map(|one| account(one)).collect();
                    format!("an owner of {}: {}", escape(&owners.target), logins.join(" or "))
                });
                let all: Vec<String> = accounts.into_iter().chain(owners).collect();
                write!(f, "the body does not mention {}", all.join(", and "))
            }
            Self::CheckErrors(0) => f.write_str("`check` finds no error"),
            Self::CheckErrors(1) => f.write_str("`check` finds one error"),
            Self::CheckErrors(count) => write!(f, "`check` finds {count} errors"),
            Self::CheckNotRun => f.write_str("`check` was not run"),
            other => other.write_lists(f),
        }
    }

    /// Writes the statements about lists and images.
    fn write_lists(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImagesUnknown => f.write_str("the images of the release manifests are not known"),
            Self::AllImagesIn(registry, total) => write!(f, "every image is {registry}: {total}"),
            Self::ImagesMissing { registry, total, images } => {
                write!(f, "not {registry}: {} of {total} images", images.len())
            }
            Self::ImagesNotKnown { registry, .. } => {
                write!(f, "it is unknown whether these images are {registry}")
            }
            Self::NoImagesNeeded => f.write_str("the release manifests need no image"),
            Self::NoImagesListed => f.write_str("no account with a role of the step listed images"),
            Self::ImagesListed(count) => {
                write!(f, "the listed images are equal to those of the release manifests: {count}")
            }
            Self::ListDiffers { .. } => {
                f.write_str("the listed images differ from those of the release manifests")
            }
            Self::InvalidLine { line, text, reason } => {
                write!(f, "line {line} of the list is invalid: {}: {reason}", quote(text))
            }
            Self::NoPackagesListed => {
                f.write_str("no account with a role of the step listed packages")
            }
            Self::PackagesListed(count) => write!(f, "packages are listed: {count}"),
            other => other.write_facts(f),
        }
    }

    /// Writes the statements about registries and the store.
    fn write_facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BundlePublished => f.write_str("the store has the bundle, and it is valid"),
            Self::BundleNotPublished(reason) => write!(f, "the bundle is not published: {reason}"),
            Self::BundleNotKnown(reason) => {
                write!(f, "it is unknown whether the store has the bundle: {reason}")
            }
            Self::NoTag => f.write_str("the tag does not exist"),
            Self::OtherDigest { found, expected } => {
                write!(f, "the digest is {found}, but that in the source registry is {expected}")
            }
            Self::NotInSource => {
                f.write_str("it cannot be compared, because the source registry does not have it")
            }
            Self::SourceNotKnown(reason) => {
                write!(f, "the source registry cannot be asked: {reason}")
            }
            Self::RegistryNotAsked => f.write_str("the registry was not contacted"),
            Self::StoreNotAsked => f.write_str("the store was not checked"),
            Self::NoPackage(url) => write!(f, "{url} does not exist"),
            Self::InvalidPackage { url, reason } => write!(f, "{url} is not valid: {reason}"),
            Self::OtherContent(url) => write!(f, "{url} has other content than this pull request"),
            Self::DamagedPackage(url) => write!(f, "{url} is damaged"),
            Self::NotSynced => f.write_str("not all of its images are in the release registry"),
            Self::NotReleasable => f.write_str("the target cannot be released"),
            Self::NoStore => f.write_str("the policy names no store"),
            other => other.write_requests(f),
        }
    }

    /// Writes the statements about requests and the change.
    fn write_requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = |state: &Option<String>| match state {
            Some(state) => format!("the pull request is at {}", quote(state)),
            None => "the pull request is not in the queue yet".to_owned(),
        };
        match self {
            Self::ReleasesNothing => f.write_str("the change releases nothing"),
            Self::NoManifestChanged => {
                f.write_str("the change releases nothing: it changes no release manifest")
            }
            Self::RemovedFile(path) => write!(f, "the change removes {}", quote(path)),
            Self::UnknownLabel { label, .. } => {
                write!(f, "the queue has no label {}", quote(label))
            }
            Self::SkippedSteps { state, .. } => {
                write!(f, "{}, and steps cannot be skipped", here(state))
            }
            Self::NoWayBack { state, label, .. } => {
                write!(f, "{}, and the queue does not lead back to {}", here(state), quote(label))
            }
            Self::MissingRole { account: login, roles, .. } => {
                write!(f, "{} does not have the role {}", account(login), roles.join(" or "))
            }
            Self::GuardsFail(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(Self::to_string).collect();
                f.write_str(&reasons.join("; "))
            }
            Self::IncompleteCommand { origin, line, command, reason } => {
                let position = position(*origin, *line);
                write!(f, "{position}: `{command}` is incomplete: {reason}")
            }
            Self::MoreIncompleteCommands(count) => {
                write!(f, "{count} more commands are incomplete")
            }
            Self::EditedComment(login) => write!(
                f,
                "the comment of {} was edited, so that its commands do not count: give them again in \
                 a new comment",
                account(login)
            ),
            Self::OmittedRequests(count) => write!(f, "{count} earlier requests are not shown"),
            Self::UnjustifiedLabel(label) => {
                write!(f, "the label `queue/{label}` does not follow from the commands")
            }
            Self::Text(text) => f.write_str(text),
            // The other functions write the rest.
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_body(f)?;
        let items = self.items();
        items.iter().take(MAX_LINES).try_for_each(|item| write!(f, "\n{item}"))?;
        match items.len().saturating_sub(MAX_LINES) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl fmt::Display for RegistryRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "in the source registry",
            Self::Release => "in the release registry with the source's digest",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::conversation::Origin;
    use super::*;

    /// The position of a statement in [`samples`]. A new variant also needs a sample there.
    fn position(statement: &Statement) -> usize {
        match statement {
            Statement::Text(..) => 0,
            Statement::KindInBody(..) => 1,
            Statement::NoKindInBody(..) => 2,
            Statement::RequestInBody(..) => 3,
            Statement::NoRequestInBody(..) => 4,
            Statement::ReleaseNote => 5,
            Statement::EmptyReleaseNote => 6,
            Statement::NoReleaseNote => 7,
            Statement::AllMentioned => 8,
            Statement::NotMentioned { .. } => 9,
            Statement::CheckErrors(..) => 10,
            Statement::CheckNotRun => 11,
            Statement::ImagesUnknown => 12,
            Statement::AllImagesIn(..) => 13,
            Statement::ImagesMissing { .. } => 14,
            Statement::ImagesNotKnown { .. } => 15,
            Statement::NoImagesNeeded => 16,
            Statement::NoImagesListed => 17,
            Statement::ImagesListed(..) => 18,
            Statement::ListDiffers { .. } => 19,
            Statement::InvalidLine { .. } => 20,
            Statement::NoPackagesListed => 21,
            Statement::PackagesListed(..) => 22,
            Statement::BundlePublished => 23,
            Statement::BundleNotPublished(..) => 24,
            Statement::BundleNotKnown(..) => 25,
            Statement::NoTag => 26,
            Statement::OtherDigest { .. } => 27,
            Statement::NotInSource => 28,
            Statement::SourceNotKnown(..) => 29,
            Statement::RegistryNotAsked => 30,
            Statement::StoreNotAsked => 31,
            Statement::NoPackage(..) => 32,
            Statement::InvalidPackage { .. } => 33,
            Statement::OtherContent(..) => 34,
            Statement::DamagedPackage(..) => 35,
            Statement::NotSynced => 36,
            Statement::NotReleasable => 37,
            Statement::NoStore => 38,
            Statement::ReleasesNothing => 39,
            Statement::NoManifestChanged => 40,
            Statement::RemovedFile(..) => 41,
            Statement::UnknownLabel { .. } => 42,
            Statement::SkippedSteps { .. } => 43,
            Statement::NoWayBack { .. } => 44,
            Statement::MissingRole { .. } => 45,
            Statement::GuardsFail(..) => 46,
            Statement::IncompleteCommand { .. } => 47,
            Statement::MoreIncompleteCommands(..) => 48,
            Statement::EditedComment(..) => 49,
            Statement::OmittedRequests(..) => 50,
            Statement::UnjustifiedLabel(..) => 51,
        }
    }

    fn text() -> String {
        "word".to_owned()
    }

    fn texts() -> Vec<String> {
        vec![text()]
    }

    /// Statements of all kinds.
    fn samples() -> Vec<Statement> {
        let mut samples = samples_of_body_and_lists();
        samples.extend(samples_of_facts_and_requests());
        samples
    }

    fn samples_of_body_and_lists() -> Vec<Statement> {
        let registry = RegistryRole::Source;
        let images = || vec![("h.example/gpu:v1".parse().unwrap(), Statement::NoTag)];
        vec![
            Statement::Text(text()),
            Statement::KindInBody(text()),
            Statement::NoKindInBody(texts()),
            Statement::RequestInBody(text()),
            Statement::NoRequestInBody(text()),
            Statement::ReleaseNote,
            Statement::EmptyReleaseNote,
            Statement::NoReleaseNote,
            Statement::AllMentioned,
            Statement::NotMentioned { accounts: texts(), owners: Vec::new() },
            Statement::CheckErrors(2),
            Statement::CheckNotRun,
            Statement::ImagesUnknown,
            Statement::AllImagesIn(registry, 2),
            Statement::ImagesMissing { registry, total: 2, images: images() },
            Statement::ImagesNotKnown { registry, images: images() },
            Statement::NoImagesNeeded,
            Statement::NoImagesListed,
            Statement::ImagesListed(2),
            Statement::ListDiffers { missing: texts(), extra: texts() },
            Statement::InvalidLine { line: 1, text: text(), reason: text() },
            Statement::NoPackagesListed,
            Statement::PackagesListed(2),
        ]
    }

    fn samples_of_facts_and_requests() -> Vec<Statement> {
        let reason = || Box::new(Statement::NoTag);
        vec![
            Statement::BundlePublished,
            Statement::BundleNotPublished(reason()),
            Statement::BundleNotKnown(reason()),
            Statement::NoTag,
            Statement::OtherDigest { found: text(), expected: text() },
            Statement::NotInSource,
            Statement::SourceNotKnown(text()),
            Statement::RegistryNotAsked,
            Statement::StoreNotAsked,
            Statement::NoPackage(text()),
            Statement::InvalidPackage { url: text(), reason: text() },
            Statement::OtherContent(text()),
            Statement::DamagedPackage(text()),
            Statement::NotSynced,
            Statement::NotReleasable,
            Statement::NoStore,
            Statement::ReleasesNothing,
            Statement::NoManifestChanged,
            Statement::RemovedFile(text()),
            Statement::UnknownLabel { label: text(), suggestion: None, labels: texts() },
            Statement::SkippedSteps { state: None, missing: texts() },
            Statement::NoWayBack { state: None, label: text(), onward: texts() },
            Statement::MissingRole { account: text(), roles: texts(), people: texts() },
            Statement::GuardsFail(vec![Statement::NoTag]),
            Statement::IncompleteCommand {
                origin: Origin::Body,
                line: 1,
                command: "/queue",
                reason: text(),
            },
            Statement::MoreIncompleteCommands(2),
            Statement::EditedComment(text()),
            Statement::OmittedRequests(2),
            Statement::UnjustifiedLabel(text()),
        ]
    }

    #[test]
    fn statement_of_every_kind_has_words() {
        for (index, sample) in samples().iter().enumerate() {
            assert_eq!(position(sample), index, "{sample:?}");
            assert_ne!(sample.to_string(), "", "{sample:?}");
        }
    }
}
