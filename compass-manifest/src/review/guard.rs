//! Defines guards: the conditions of the steps of a queue.

use std::fmt;
use std::str::FromStr;

use crate::escape::quote;
use crate::named_enum::named_enum;

use super::statement::Statement;

named_enum! {
    /// A condition of a step.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum Guard {
        /// The body has `/kind` with one of the queue's kinds.
        Kind => "kind",
        /// The body requests the step.
        AskedInBody => "asked-in-body",
        /// The body has a release note.
        ReleaseNote => "release-note",
        /// The body has a `/cc` for every account of the queue and for an owner of each target,
        /// except the author.
        Cc => "cc",
        /// `check` finds no error.
        CheckClean => "check-clean",
        /// The listed images are equal to those of the release manifests.
        ImagesListed => "images-listed",
        /// Every image is in the source registry.
        ImagesInSource => "images-in-source",
        /// Every image is in the release registry with the source's digest.
        ImagesInRelease => "images-in-release",
        /// The bundle is in the store and verifies.
        BundlePublished => "bundle-published",
        /// An account with a role of the step listed the uploaded packages.
        PackagesListed => "packages-listed",
    }

    /// Returns the name in policies and reports.
    pub fn name;
}

/// The result of a guard in three-valued logic, which has no further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The condition holds.
    Holds,
    /// The condition does not hold.
    Fails,
    /// A fact that the guard needs is unknown.
    Unknown,
}

/// A guard with its result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct GuardReport {
    /// The name of the guard ([`Guard::name`]).
    pub guard: &'static str,
    /// The result.
    pub verdict: Verdict,
    /// The reason for the result, in English.
    pub explanation: String,
    /// The reason for the result, as data.
    #[serde(skip)]
    pub finding: Statement,
    /// How to satisfy the guard; empty if it holds.
    pub help: String,
}

/// The error for a text that is not the name of a guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a guard", quote(.0))]
pub struct GuardNameError(pub String);

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Guard {
    type Err = GuardNameError;

    fn from_str(name: &str) -> Result<Self, GuardNameError> {
        let guard = Self::ALL.iter().find(|guard| guard.name() == name);
        guard.copied().ok_or_else(|| GuardNameError(name.to_owned()))
    }
}
