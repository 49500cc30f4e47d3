//! The error type of this crate.

pub(crate) mod connection;
mod hint;
mod sanitize;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::hint::Hint;
#[cfg(feature = "http")]
pub(crate) use self::hint::NO_CERTIFICATES;
use self::hint::is_certificate_error;
pub(crate) use self::sanitize::find_password;
use self::sanitize::{redact_password, sanitize};
use crate::connect_retry::ConnectRefused;
use crate::min_speed::TooSlow;
use crate::{Digest, RetryPolicy};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error of images or registries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text has the wrong form.
    #[error("`{}` is not a valid {what}: {}", sanitize(&redact_password(.text)), sanitize(.reason))]
    Parse {
        /// What the text should be.
        what: &'static str,
        /// The text.
        text: String,
        /// The expected form.
        reason: String,
    },
    /// An option of a client is invalid.
    #[error("cannot use {what}: {}", sanitize(.reason))]
    InvalidOption {
        /// The option.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// Content does not exist. Registries report that as [`Error::Status`] with status 404;
    /// [`Error::is_not_found`] is true for both.
    #[error("{what} does not exist")]
    NotFound {
        /// The content, and its location.
        what: String,
    },
    /// The registry rejects the credentials or does not permit the request.
    #[error("{host} refuses: {reason}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// The request and the registry's message.
        reason: String,
    },
    /// The digest of content differs from the expected one.
    #[error("{what}: the content has digest {actual} instead of {expected}")]
    DigestMismatch {
        /// The content.
        what: String,
        /// The expected digest.
        expected: Box<Digest>,
        /// The actual digest.
        actual: Box<Digest>,
    },
    /// The size of content differs from the expected one.
    #[error("{what}: the content has {actual} bytes instead of {expected}")]
    SizeMismatch {
        /// The content.
        what: String,
        /// The expected size in bytes.
        expected: u64,
        /// The actual size in bytes, or a lower bound if reading stopped early.
        actual: u64,
    },
    /// Content is malformed, too large, or not supported.
    #[error("cannot read {what}: {}", sanitize(.reason))]
    InvalidContent {
        /// The content.
        what: String,
        /// The reason.
        reason: String,
    },
    /// A registry or token service sent an invalid response.
    #[error("cannot use {what}: {}", sanitize(.reason))]
    InvalidResponse {
        /// The response.
        what: String,
        /// The reason.
        reason: String,
    },
    /// The host responds but is not a registry.
    #[error("{host} is not a registry: {}", sanitize(.reason))]
    NotARegistry {
        /// The host.
        host: String,
        /// A description of its response.
        reason: String,
    },
    /// An index has no image for the platform.
    #[error("{what} has no image for {wanted}; {}", available_platforms(.available))]
    NoSuchPlatform {
        /// The index.
        what: String,
        /// The requested platform.
        wanted: String,
        /// The available platforms.
        available: String,
    },
    /// An index has several images for the platform, of which only one can be used.
    #[error("{what} has several images for {wanted}: {}", sanitize(.available))]
    AmbiguousPlatform {
        /// The index.
        what: String,
        /// The requested platform.
        wanted: String,
        /// The platforms of these images.
        available: String,
    },
    /// The registry responded with an error status.
    #[error("{host} answered {status} to {request}{}{}", message_suffix(.message), retry_after_suffix(*.retry_after))]
    Status {
        /// The registry.
        host: String,
        /// The request, without secrets.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The registry's message.
        message: String,
        /// The delay that the registry asks for.
        retry_after: Option<Duration>,
    },
    /// The tag at the destination names another image, and must not be moved.
    #[error("{what} exists with digest {existing}, and would become {new}")]
    TagExists {
        /// The tag.
        what: String,
        /// The image that the tag names.
        existing: Box<Digest>,
        /// The image to copy.
        new: Box<Digest>,
    },
    /// The source's tag changed during the copy.
    #[error("{what} changed from {old} to {new} during the copy")]
    TagMoved {
        /// The tag.
        what: String,
        /// The image that the tag named before.
        old: Box<Digest>,
        /// The image that the tag names now.
        new: Box<Digest>,
    },
    /// The registry is unreachable, or the connection broke.
    #[error("{host} cannot be reached for {request}")]
    Unreachable {
        /// The registry.
        host: String,
        /// The request, without secrets.
        request: String,
        /// The cause.
        #[source]
        source: Source,
    },
    /// The registry behind a pull-through cache failed.
    #[error("the upstream registry failed")]
    Upstream {
        /// The cause. Requests that waited for the same content share it.
        #[source]
        source: Arc<Error>,
    },
    /// A file operation failed.
    #[error("{what}")]
    Io {
        /// The operation and the file.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Copying a blob failed.
    #[error("{image}: blob {digest}")]
    Blob {
        /// The image.
        image: String,
        /// The blob.
        digest: Digest,
        /// The cause.
        #[source]
        source: Box<Error>,
    },
    /// Copying an image failed.
    #[error("{image}")]
    Image {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn invalid(what: &'static str, text: &str, reason: impl Into<String>) -> Self {
        // Redact the text here, because `Debug` shows it, too.
        Self::Parse { what, text: redact_password(text).into_owned(), reason: reason.into() }
    }

    /// Creates an error of a file operation; `what` describes the operation and the file.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Adds the image that the error is about.
    #[must_use]
    pub fn in_image(self, image: impl fmt::Display) -> Self {
        match self {
            Self::Blob { digest, source, .. } => {
                Self::Blob { image: image.to_string(), digest, source }
            }
            other => Self::Image { image: image.to_string(), source: Box::new(other) },
        }
    }

    /// Adds the blob that the error is about, and its image.
    #[must_use]
    pub fn in_blob(self, image: impl fmt::Display, digest: Digest) -> Self {
        match self {
            Self::Blob { .. } => self,
            other => Self::Blob { image: image.to_string(), digest, source: Box::new(other) },
        }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            // An invalid certificate stays invalid. `ConnectRefused` and `TooSlow` occur after a
            // time limit.
            Self::Unreachable { source, .. } => {
                !(is_certificate_error(&**source)
                    || source.is::<ConnectRefused>()
                    || source.is::<TooSlow>())
            }
            Self::Status { status, .. } => RetryPolicy::is_transient_status(*status),
            Self::Upstream { source } => source.is_transient(),
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// Returns the delay that a registry asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Blob { source, .. } | Self::Image { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether the requested content does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            // In response to a push, 404 means that the project or the upload session does not
            // exist.
            Self::Status { request, status: 404, .. } => {
                ["GET ", "HEAD ", "DELETE "].iter().any(|method| request.starts_with(method))
            }
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_not_found(),
            _ => false,
        }
    }

    /// Whether a registry rejects a manifest because one of its blobs is missing.
    pub(crate) fn is_blob_unknown(&self) -> bool {
        match self {
            Self::Status { status: 400 | 404, message, .. } => message.contains("BLOB_UNKNOWN"),
            _ => false,
        }
    }

    /// Whether the size or digest of content differs from the expected one.
    pub fn is_mismatch(&self) -> bool {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => true,
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_mismatch(),
            _ => false,
        }
    }
}

fn available_platforms(available: &str) -> String {
    match available {
        "" => "it names no platforms, so it can only be used as a whole".to_owned(),
        some => format!("it has {}", sanitize(some)),
    }
}

/// Formats the delay that a registry asks for.
fn retry_after_suffix(asked: Option<Duration>) -> String {
    asked.map_or_else(String::new, |pause| format!("; retry after {} s", pause.as_secs()))
}

fn message_suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", sanitize(message)) }
}
