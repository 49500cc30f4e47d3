//! What can go wrong.

pub(crate) mod connection;
mod hint;
mod sanitize;

use std::fmt;
use std::time::Duration;

pub use self::hint::Hint;
use self::hint::is_certificate_error;
pub(crate) use self::sanitize::find_password;
use self::sanitize::{redact_password, sanitize};
use crate::connect_retry::ConnectRefused;
use crate::min_speed::TooSlow;
use crate::{Digest, RetryPolicy};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with images and registries, by meaning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is not what it should be.
    #[error("`{}` is not a valid {what}: {}", sanitize(&redact_password(.text)), sanitize(.reason))]
    Parse {
        /// What it should be.
        what: &'static str,
        /// What was read.
        text: String,
        /// Why it is not.
        reason: String,
    },
    /// Something does not exist. A registry says so with [`Error::Status`] and status 404, for which
    /// [`Error::is_not_found`] holds as well.
    #[error("{what} is not there")]
    NotFound {
        /// What, and where.
        what: String,
    },
    /// The registry wants other credentials, or these may not do that.
    #[error("{host} refuses: {reason}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What it said.
        reason: String,
    },
    /// Bytes do not have the digest that was promised.
    #[error("{what}: the content has digest {actual}, and not {expected}")]
    DigestMismatch {
        /// Whose bytes.
        what: String,
        /// The promised digest.
        expected: Box<Digest>,
        /// The digest of what came.
        actual: Box<Digest>,
    },
    /// Content is longer or shorter than was promised.
    #[error("{what}: the content has {actual} bytes, and not {expected}")]
    SizeMismatch {
        /// Whose bytes.
        what: String,
        /// The promised size in bytes.
        expected: u64,
        /// How many bytes came.
        actual: u64,
    },
    /// An image manifest or index cannot be read.
    #[error("{what} is not readable: {}", sanitize(.reason))]
    InvalidContent {
        /// Whose content.
        what: String,
        /// Why.
        reason: String,
    },
    /// A registry or token service sent an answer that cannot be used.
    #[error("{what} is not readable: {}", sanitize(.reason))]
    InvalidResponse {
        /// Which answer, of which host.
        what: String,
        /// Why.
        reason: String,
    },
    /// The host answers, but is not a registry.
    #[error("{host} is no registry: {}", sanitize(.reason))]
    NotARegistry {
        /// Who answers.
        host: String,
        /// How that is known.
        reason: String,
    },
    /// There is no image for the wanted platform.
    #[error("{what} has no image for {wanted}; {}", available_platforms(.available))]
    NoSuchPlatform {
        /// Which image index.
        what: String,
        /// The wanted platform.
        wanted: String,
        /// The platforms there are.
        available: String,
    },
    /// There are several images for the wanted platform, of which only one can be taken.
    #[error("{what} has several images for {wanted}: {}", sanitize(.available))]
    AmbiguousPlatform {
        /// Which image index.
        what: String,
        /// The wanted platform.
        wanted: String,
        /// The platforms of these images.
        available: String,
    },
    /// The registry answered with an error.
    #[error("{host} answered {status} to {request}{}{}", message_suffix(.message), retry_after_suffix(*.retry_after))]
    Status {
        /// The registry.
        host: String,
        /// What was asked, without secrets.
        request: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        message: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The destination has another image under the tag, and tags do not move.
    #[error("{what} exists with digest {existing}, and would become {new}")]
    TagExists {
        /// The tag.
        what: String,
        /// The image that it names.
        existing: Box<Digest>,
        /// The image that was to be copied.
        new: Box<Digest>,
    },
    /// A tag was moved while the image that it named was copied.
    #[error("{what} was moved from {old} to {new} meanwhile")]
    TagMoved {
        /// The tag.
        what: String,
        /// The image it named first.
        old: Box<Digest>,
        /// The image it names now.
        new: Box<Digest>,
    },
    /// The registry could not be reached, or the connection broke.
    #[error("{host} cannot be reached for {request}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What was asked, without secrets.
        request: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// A file operation failed.
    #[error("{what}")]
    Io {
        /// What was tried on which file.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Copying one blob of an image failed.
    #[error("{image}: blob {digest}")]
    Blob {
        /// The image that the blob belongs to.
        image: String,
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Copying an image failed.
    #[error("{image}")]
    Image {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn invalid(what: &'static str, text: &str, reason: impl Into<String>) -> Self {
        // What may be shown in one form is shown in all of them.
        Self::Parse { what, text: redact_password(text).into_owned(), reason: reason.into() }
    }

    /// A failed file operation; `what` says which, on which file.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Names the image that an error is about.
    #[must_use]
    pub fn in_image(self, image: impl fmt::Display) -> Self {
        match self {
            Self::Blob { digest, source, .. } => {
                Self::Blob { image: image.to_string(), digest, source }
            }
            other => Self::Image { image: image.to_string(), source: Box::new(other) },
        }
    }

    /// Names the blob that an error is about, and the image it belongs to.
    #[must_use]
    pub fn in_blob(self, image: impl fmt::Display, digest: Digest) -> Self {
        match self {
            Self::Blob { .. } => self,
            other => Self::Blob { image: image.to_string(), digest, source: Box::new(other) },
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            // A certificate is as wrong the next moment, and the others have been waited for.
            Self::Unreachable { source, .. } => {
                !(is_certificate_error(&**source)
                    || source.is::<ConnectRefused>()
                    || source.is::<TooSlow>())
            }
            Self::Status { status, .. } => RetryPolicy::is_transient_status(*status),
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// How long a registry asks us to wait before we try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Blob { source, .. } | Self::Image { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether something that was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            // To a push, it says that the project or the upload does not exist.
            Self::Status { request, status: 404, .. } => {
                ["GET ", "HEAD ", "DELETE "].iter().any(|method| request.starts_with(method))
            }
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_not_found(),
            _ => false,
        }
    }

    /// Whether a registry refuses a manifest because it lacks one of its blobs.
    pub(crate) fn is_blob_unknown(&self) -> bool {
        match self {
            Self::Status { status: 400 | 404, message, .. } => message.contains("BLOB_UNKNOWN"),
            _ => false,
        }
    }

    /// Whether content was other than promised.
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
        "" => "it names no platforms, so only all of it can be taken".to_owned(),
        some => format!("it has {}", sanitize(some)),
    }
}

/// A pause that a registry asks for.
fn retry_after_suffix(asked: Option<Duration>) -> String {
    asked.map_or_else(String::new, |pause| format!("; it asks to wait {} s", pause.as_secs()))
}

fn message_suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", sanitize(message)) }
}
