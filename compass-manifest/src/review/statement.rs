//! Statements about a pull request, as data that a program can word in any language.

mod english;

use crate::image::ImageReference;

use super::conversation::Origin;
use super::owners::TargetOwners;

/// A statement about a pull request. `Display` words it in English, and `Serialize` writes these words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// A text of another program, or of the caller.
    Text(String),
    /// The body has `/kind` with this kind.
    KindInBody(String),
    /// The body has no `/kind` with one of these kinds.
    NoKindInBody(Vec<String>),
    /// The body requests the step to this label.
    RequestInBody(String),
    /// The body does not request the step to this label.
    NoRequestInBody(String),
    /// The body has a release note.
    ReleaseNote,
    /// The release note in the body is empty.
    EmptyReleaseNote,
    /// The body has no release note.
    NoReleaseNote,
    /// The body mentions all reviewers.
    AllMentioned,
    /// The body does not mention these accounts, or no owner of these targets.
    NotMentioned {
        /// The logins.
        accounts: Vec<String>,
        /// The targets of which no owner is mentioned.
        owners: Vec<TargetOwners>,
    },
    /// `check` finds this number of errors.
    CheckErrors(usize),
    /// `check` was not run.
    CheckNotRun,
    /// The images of the release manifests are not known.
    ImagesUnknown,
    /// Every image is in the registry; their number.
    AllImagesIn(RegistryRole, usize),
    /// Images are not in the registry.
    ImagesMissing {
        /// The registry.
        registry: RegistryRole,
        /// The number of all images.
        total: usize,
        /// The missing images, with the reasons.
        images: Vec<(ImageReference, Statement)>,
    },
    /// It is unknown whether images are in the registry.
    ImagesNotKnown {
        /// The registry.
        registry: RegistryRole,
        /// The images, with the reasons.
        images: Vec<(ImageReference, Statement)>,
    },
    /// The release manifests need no image.
    NoImagesNeeded,
    /// No account with a role of the step listed images.
    NoImagesListed,
    /// The listed images are equal to those of the release manifests; their number.
    ImagesListed(usize),
    /// The listed images differ from those of the release manifests.
    ListDiffers {
        /// The images that are not listed.
        missing: Vec<String>,
        /// The images that are not needed.
        extra: Vec<String>,
    },
    /// A line of a list is invalid.
    InvalidLine {
        /// The line, from 1.
        line: usize,
        /// Its text.
        text: String,
        /// The reason.
        reason: String,
    },
    /// No account with a role of the step listed packages.
    NoPackagesListed,
    /// Packages are listed; their number.
    PackagesListed(usize),
    /// The store has the bundle, and it is valid.
    BundlePublished,
    /// The bundle is not published, with the reason.
    BundleNotPublished(Box<Statement>),
    /// It is unknown whether the store has the bundle, with the reason.
    BundleNotKnown(Box<Statement>),
    /// The tag does not exist.
    NoTag,
    /// The release registry has another image than the source registry.
    OtherDigest {
        /// The digest in the release registry.
        found: String,
        /// The digest in the source registry.
        expected: String,
    },
    /// The digest cannot be compared, because the source registry does not have the image.
    NotInSource,
    /// The digest cannot be compared, because the source registry does not answer; the reason.
    SourceNotKnown(String),
    /// The registry was not asked.
    RegistryNotAsked,
    /// The store was not asked.
    StoreNotAsked,
    /// The store does not have the file with this URL.
    NoPackage(String),
    /// The file of the store is not a valid bundle.
    InvalidPackage {
        /// Its URL.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The bundle with this URL has other content than the pull request.
    OtherContent(String),
    /// The bundle with this URL is damaged.
    DamagedPackage(String),
    /// Not all images of the target are in the release registry.
    NotSynced,
    /// The target cannot be released as it is.
    NotReleasable,
    /// The policy names no store.
    NoStore,
    /// The change releases nothing.
    ReleasesNothing,
    /// The change changes no release manifest, so that it releases nothing.
    NoManifestChanged,
    /// The change removes this file.
    RemovedFile(String),
    /// The queue does not have a requested label.
    UnknownLabel {
        /// The requested label.
        label: String,
        /// A label with a similar name.
        suggestion: Option<String>,
        /// All labels of the queue.
        labels: Vec<String>,
    },
    /// A request skips steps.
    SkippedSteps {
        /// The current label; `None` before the queue.
        state: Option<String>,
        /// The labels to request first.
        missing: Vec<String>,
    },
    /// The queue does not lead from the current label back to a requested one.
    NoWayBack {
        /// The current label; `None` before the queue.
        state: Option<String>,
        /// The requested label.
        label: String,
        /// The labels of the next steps; empty at the end of the queue.
        onward: Vec<String>,
    },
    /// An account does not have a role of the step.
    MissingRole {
        /// The login.
        account: String,
        /// The roles of the step.
        roles: Vec<String>,
        /// The accounts that have one of the roles.
        people: Vec<String>,
    },
    /// Guards of the step fail.
    GuardsFail(Vec<Statement>),
    /// A command is incomplete.
    IncompleteCommand {
        /// The text with the command.
        origin: Origin,
        /// The line in the text, from 1.
        line: usize,
        /// The command, such as `/queue`.
        command: &'static str,
        /// The reason.
        reason: String,
    },
    /// This number of further commands is incomplete.
    MoreIncompleteCommands(usize),
    /// The comment of this account was edited, so that its commands do not count.
    EditedComment(String),
    /// This number of earlier requests is not shown.
    OmittedRequests(usize),
    /// This label of the queue does not follow from the commands.
    UnjustifiedLabel(String),
}

/// The registry that a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryRole {
    /// The registry that developers push to.
    Source,
    /// The registry that keeps releases.
    Release,
}

impl serde::Serialize for Statement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<String> for Statement {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Statement {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
