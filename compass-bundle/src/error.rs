//! What can go wrong.

use std::path::{Path, PathBuf};

/// What can go wrong with bundles, by meaning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bundle cannot be built from this.
    #[error("{0}")]
    Unplannable(String),
    /// The file is not a bundle that this crate writes.
    #[error("{path} is not a bundle: {reason}")]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The bundle is not as it was written.
    #[error("{what}")]
    Damaged {
        /// What is wrong, and where.
        what: String,
    },
    /// Something else stands where the bundle should go.
    #[error("{path} is there already, with other content")]
    Conflict {
        /// The place.
        path: PathBuf,
    },
    /// Another process writes the same bundle.
    #[error("{path} is being written by another process")]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] compass_registry::Error),
}

impl Error {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    pub(crate) fn not_a_bundle(path: &Path, reason: impl Into<String>) -> Self {
        Self::NotABundle { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } => Some("copy or download the bundle again, or package it again"),
            Self::Conflict { .. } => Some("published bundles never change: raise the version"),
            Self::Busy { .. } => Some("wait for it, or stop it"),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => {
                    Some("free some space, or write to another disk")
                }
                std::io::ErrorKind::PermissionDenied => Some("check who may write there"),
                _ => None,
            },
            Self::Registry(error) => error.hint(),
            _ => None,
        }
    }
}
