//! The error type of this crate.

use std::ops::Range;
use std::path::{Path, PathBuf};

use compass_registry::Hint;

/// An error of building, reading, writing, installing or publishing packages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input cannot become a bundle, or be installed. The message says why.
    #[error("{0}")]
    InvalidInput(String),
    /// The file is neither a bundle nor a supported package.
    #[error("{path} is not a bundle: {reason}")]
    NotABundle {
        /// Path or URL of the file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The content does not match its description.
    #[error("{what}")]
    Damaged {
        /// What does not match, and where.
        what: String,
        /// The bytes of the file that do not match, if they are known.
        range: Option<Range<u64>>,
    },
    /// The `.sha256` file of a bundle is invalid, or is for another file.
    #[error("{path} does not contain the SHA-256 of the bundle: {reason}")]
    InvalidChecksum {
        /// Path or URL of the `.sha256` file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The package does not contain this file.
    #[error("the bundle has no file {path}")]
    NoSuchFile {
        /// Path below the package's directory.
        path: String,
    },
    /// The package does not contain this blob.
    #[error("the package has no blob {digest}")]
    NoSuchBlob {
        /// Digest of the blob.
        digest: compass_registry::Digest,
    },
    /// No image has this name, or several have.
    #[error("{} {name}", if *.several { "several images of the bundle match" } else { "the bundle has no image" })]
    NoSuchImage {
        /// The name.
        name: String,
        /// Whether several images match.
        several: bool,
    },
    /// The disk has too little free space.
    #[error("{path} needs {needed} bytes, but the disk has only {free}")]
    NoSpace {
        /// The file to write.
        path: PathBuf,
        /// Bytes that are left to write.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// Different content is published under the same name.
    #[error("{path} exists with different content")]
    Conflict {
        /// Path or URL of the published file.
        path: String,
    },
    /// The bucket has versioning, so that published bundles can be replaced.
    #[error("{address} has versioning, so its storage lets published bundles be replaced")]
    Versioned {
        /// URL of the store.
        address: String,
    },
    /// The target of a write exists.
    #[error("{path} already exists")]
    AlreadyExists {
        /// The path.
        path: String,
    },
    /// The URL is not valid or not supported.
    #[error("invalid URL `{address}`: {reason}")]
    InvalidAddress {
        /// The URL, without secrets.
        address: String,
        /// The reason.
        reason: String,
    },
    /// A request to a store or server failed.
    #[error("cannot {action} {address}")]
    Store {
        /// The operation, as a verb phrase.
        action: &'static str,
        /// URL of the object.
        address: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process writes the same file.
    #[error("{path} is being written by another process")]
    Busy {
        /// The incomplete file.
        path: PathBuf,
    },
    /// Another user owns a temporary file or directory that this process would use.
    #[error("{path} belongs to another user (uid {owner})")]
    WrongOwner {
        /// The file or directory.
        path: PathBuf,
        /// The owner's user ID.
        owner: u32,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// The operation, as a verb phrase.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A registry operation failed.
    #[error(transparent)]
    Registry(#[from] compass_registry::Error),
}

/// The cause of [`Error::Store`] for an object that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("it does not exist")]
pub(crate) struct NoSuchObject;

impl Error {
    /// Returns whether the file or object that was to be read does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::Store { source, .. } => source.is::<NoSuchObject>(),
            Self::Registry(error) => error.is_not_found(),
            _ => false,
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), range: None }
    }

    /// Creates the error for a file with another size than `bundle.json` implies.
    pub(crate) fn wrong_size(name: &str, size: u64, planned: u64) -> Self {
        let what = format!(
            "{name}: it has {size} bytes instead of {planned}: it was truncated, or bytes were appended"
        );
        Self::Damaged { what, range: Some(planned.min(size)..planned.max(size)) }
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

    /// Converts a read error of content that must be valid: an error of the source, or damage.
    pub(crate) fn reading(name: &str, error: std::io::Error) -> Self {
        match Self::is_of_source(&error) {
            true => Self::store("read", name, error),
            false => Self::damaged(format!("{name}: {error}")),
        }
    }

    /// As [`Self::reading`], for content that may have any format.
    pub(crate) fn reading_anything(name: &str, error: std::io::Error) -> Self {
        match Self::is_of_source(&error) {
            true => Self::store("read", name, error),
            false => Self::not_a_bundle(name, error.to_string()),
        }
    }

    /// Whether the source failed, as opposed to its content being invalid.
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

    /// Converts the error of a package that serves as an image source.
    pub(crate) fn into_registry(self) -> compass_registry::Error {
        match self {
            Self::Registry(error) => error,
            Self::Io { action, path, source } => compass_registry::Error::Io {
                what: format!("cannot {action} {}", path.display()),
                source,
            },
            // The source has retried already.
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

    /// A suggestion for the user.
    pub fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::Damaged { .. } => "copy or download the bundle again, or package it again",
            Self::InvalidChecksum { .. } => {
                "remove it, or create it again: `sha256sum BUNDLE > BUNDLE.sha256`"
            }
            Self::AlreadyExists { .. } => "remove it, or choose another path",
            Self::Conflict { .. } => {
                "choose another store, or increase the version: published bundles are immutable"
            }
            Self::Versioned { .. } => "choose a bucket without versioning",
            Self::NoSpace { .. } => "free some space, or write to another disk",
            Self::NoSuchFile { .. } | Self::NoSuchBlob { .. } | Self::NoSuchImage { .. } => {
                "`compass inspect` lists the contents"
            }
            Self::Busy { .. } => "wait until it ends, or stop it",
            Self::WrongOwner { .. } => "remove it, or write to a directory that you own",
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => "free some space, or write to another disk",
                std::io::ErrorKind::PermissionDenied => "check the permissions of the path",
                _ => return None,
            },
            Self::Registry(error) => return error.hint(),
            #[cfg(feature = "store")]
            Self::Store { source, .. } if source.is::<crate::store::TooSlow>() => {
                return Some(Hint::LowerMinSpeed);
            }
            _ => return None,
        };
        Some(Hint::Text(text))
    }
}

/// Whether an I/O error wraps one of this crate, which `source` skips.
fn is_wrapped(error: &std::io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Error>())
}
