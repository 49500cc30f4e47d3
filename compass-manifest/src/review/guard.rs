//! What must hold before a pull request moves on.

use std::fmt;
use std::str::FromStr;

use crate::escape::quote;

/// Something that must hold before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Guard {
    /// The body has `/kind` with one of the queue's kinds.
    Kind,
    /// The body itself asks for the step.
    AskedInBody,
    /// The body has a release note.
    ReleaseNote,
    /// The body tells everybody whom the queue names.
    Cc,
    /// `check` finds no error.
    CheckClean,
    /// The listed images are exactly those of the release manifests.
    ImagesListed,
    /// Every image is in the source registry.
    ImagesInSource,
    /// Every image is in the release registry with the source's digest.
    ImagesInRelease,
    /// The bundle is in the store and verifies.
    BundlePublished,
    /// Somebody who may ask for the step listed the uploaded packages.
    PackagesListed,
}

/// What became of a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// Not enough is known.
    Unknown,
}

/// A guard, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GuardReport {
    /// Its name, as [`Guard::name`] gives it.
    pub guard: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub explanation: String,
    /// How to satisfy it; empty where it holds.
    pub help: String,
}

/// A text names no guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a guard", quote(.0))]
pub struct GuardNameError(pub String);

impl Guard {
    /// All guards.
    pub const ALL: &'static [Self] = &[
        Self::Kind,
        Self::AskedInBody,
        Self::ReleaseNote,
        Self::Cc,
        Self::CheckClean,
        Self::ImagesListed,
        Self::ImagesInSource,
        Self::ImagesInRelease,
        Self::BundlePublished,
        Self::PackagesListed,
    ];

    /// Its name in policies and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::AskedInBody => "asked-in-body",
            Self::ReleaseNote => "release-note",
            Self::Cc => "cc",
            Self::CheckClean => "check-clean",
            Self::ImagesListed => "images-listed",
            Self::ImagesInSource => "images-in-source",
            Self::ImagesInRelease => "images-in-release",
            Self::BundlePublished => "bundle-published",
            Self::PackagesListed => "packages-listed",
        }
    }
}

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
