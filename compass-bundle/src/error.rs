//! What can go wrong.

use std::path::{Path, PathBuf};

/// What can go wrong with bundles, by meaning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bundle cannot be built from this.
    #[error("{0}")]
    InvalidInput(String),
    /// The file is not a bundle that this crate writes.
    #[error("{path} is not a bundle: {reason}")]
    NotABundle {
        /// The file, or its address.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The bundle is not as it was written.
    #[error("{what}")]
    Damaged {
        /// What is wrong, and where.
        what: String,
    },
    /// The `.sha256` beside a bundle says nothing of it.
    #[error("{path} does not say what the SHA-256 of the bundle should be: {reason}")]
    InvalidChecksum {
        /// The `.sha256`, or its address.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The bundle holds no such file.
    #[error("the bundle has no file {path}")]
    NoSuchFile {
        /// The path below the bundle's directory.
        path: String,
    },
    /// The bundle holds no image of that name, or several.
    #[error("{} {name}", if *.several { "several images of the bundle are named" } else { "the bundle has no image" })]
    NoSuchImage {
        /// The name.
        name: String,
        /// Whether several fit.
        several: bool,
    },
    /// The disk is too small.
    #[error("{path} needs {needed} bytes, and the disk has {free}")]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes that are still to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Something else stands where the bundle should go.
    #[error("{path} is there already, with other content")]
    Conflict {
        /// The place.
        path: String,
    },
    /// Something has the name of what should be written.
    #[error("{path} is there already")]
    AlreadyExists {
        /// The place.
        path: String,
    },
    /// An address that leads nowhere.
    #[error("`{address}` is not an address to use here: {reason}")]
    InvalidAddress {
        /// The address.
        address: String,
        /// Why not.
        reason: String,
    },
    /// A store, or a server that a bundle is read from, failed.
    #[error("cannot {action} {address}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object.
        address: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process writes the same bundle.
    #[error("{path} is being written by another process")]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// Another user created what this process would take over.
    #[error("{path} belongs to another user (uid {owner})")]
    WrongOwner {
        /// The file or directory.
        path: PathBuf,
        /// The user's number.
        owner: u32,
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

    pub(crate) fn not_a_bundle(name: impl std::fmt::Display, reason: impl Into<String>) -> Self {
        Self::NotABundle { path: name.to_string(), reason: reason.into() }
    }

    pub(crate) fn invalid_checksum(
        path: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> Self {
        Self::InvalidChecksum { path: path.to_string(), reason: reason.into() }
    }

    #[cfg(feature = "store")]
    pub(crate) fn invalid_address(address: &str, reason: impl Into<String>) -> Self {
        Self::InvalidAddress { address: crate::store::redact_url(address), reason: reason.into() }
    }

    /// What was read in passing could not be read, or is not what it should be.
    pub(crate) fn reading(name: &str, error: std::io::Error) -> Self {
        match Self::is_of_source(&error) {
            true => Self::store("read", name, error),
            false => Self::damaged(format!("{name}: {error}")),
        }
    }

    /// As [`Self::reading`], where nobody knows yet what it is that is read.
    pub(crate) fn reading_anything(name: &str, error: std::io::Error) -> Self {
        match Self::is_of_source(&error) {
            true => Self::store("read", name, error),
            false => Self::not_a_bundle(name, error.to_string()),
        }
    }

    /// Whether the source could not be read, and nothing is said of its content.
    fn is_of_source(error: &std::io::Error) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(one) = cause {
            if one.is::<Self>() || one.downcast_ref().is_some_and(is_wrapped) {
                return true;
            }
            cause = one.source();
        }
        false
    }

    pub(crate) fn store(
        action: &'static str,
        address: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Store { action, address: address.to_owned(), source: source.into() }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// For what reads a bundle as it reads a registry.
    pub(crate) fn into_registry(self) -> compass_registry::Error {
        match self {
            Self::Registry(error) => error,
            Self::Io { action, path, source } => compass_registry::Error::Io {
                what: format!("cannot {action} {}", path.display()),
                source,
            },
            // Whoever reads there has tried it again already.
            Self::Store { action, address, source } => compass_registry::Error::Io {
                what: format!("cannot {action} {address}"),
                source: std::io::Error::other(source),
            },
            other => compass_registry::Error::InvalidContent {
                what: "the bundle".to_owned(),
                reason: other.to_string(),
            },
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } => Some("copy or download the bundle again, or package it again"),
            Self::InvalidChecksum { .. } => {
                Some("remove it, or write it anew: `sha256sum BUNDLE > BUNDLE.sha256`")
            }
            Self::AlreadyExists { .. } => Some("remove it, or choose another place with `-o`"),
            Self::Conflict { .. } => {
                Some("choose another place; or raise the version: what is published never changes")
            }
            Self::NoSpace { .. } => Some("free some space, or write to another disk"),
            Self::NoSuchFile { .. } | Self::NoSuchImage { .. } => {
                Some("`compass inspect` lists what it holds")
            }
            Self::Busy { .. } => Some("wait for it, or stop it"),
            Self::WrongOwner { .. } => Some("remove it, or write to a directory of your own"),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => {
                    Some("free some space, or write to another disk")
                }
                std::io::ErrorKind::PermissionDenied => Some("check who may write there"),
                _ => None,
            },
            Self::Registry(error) => error.hint(),
            #[cfg(feature = "store")]
            Self::Store { source, .. } if source.is::<crate::store::TooSlow>() => {
                Some("check the connection; `--min-speed` sets what is too slow")
            }
            _ => None,
        }
    }
}

/// Whether an error of reading holds one of ours, which `source` steps over.
fn is_wrapped(error: &std::io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Error>())
}
