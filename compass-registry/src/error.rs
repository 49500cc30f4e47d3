//! What can go wrong.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::Digest;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with images and registries, by meaning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is not what it should be.
    #[error("`{}` is not a valid {what}: {}", excerpt(&without_password(.text)), excerpt(.reason))]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// What was read.
        text: String,
        /// Why it is not.
        reason: String,
    },
    /// Something is not there.
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
    #[error("{what} is not readable: {}", excerpt(.reason))]
    BadContent {
        /// Whose content.
        what: String,
        /// Why.
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
    #[error("{what} has several images for {wanted}: {}", excerpt(.available))]
    AmbiguousPlatform {
        /// Which image index.
        what: String,
        /// The wanted platform.
        wanted: String,
        /// The platforms of these images.
        available: String,
    },
    /// The registry answered with an error.
    #[error("{host} answered {status} to {request}{}{}", detail(.message), pause(*.retry_after))]
    Refused {
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
    /// A tag was moved while the image that it named was copied.
    #[error("{what} was moved from {was} to {is} meanwhile")]
    TagMoved {
        /// The tag.
        what: String,
        /// The image it named first.
        was: Box<Digest>,
        /// The image it names now.
        is: Box<Digest>,
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

/// What servers answer whose disk is full (RFC 4918, § 11.5).
const INSUFFICIENT_STORAGE: u16 = 507;

impl Error {
    pub(crate) fn invalid(what: &'static str, text: &str, reason: impl Into<String>) -> Self {
        // What may be shown in one form is shown in all of them.
        Self::Invalid { what, text: without_password(text).into_owned(), reason: reason.into() }
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
            // A certificate is as wrong the next moment.
            Self::Unreachable { source, .. } => !is_about_certificate(&**source),
            Self::Refused { status, .. } => may_pass(*status),
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// How long a registry asks us to wait before we try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Blob { source, .. } | Self::Image { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether something that was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Blob { source, .. } | Self::Image { source, .. } => source.is_not_found(),
            _ => false,
        }
    }

    /// Whether a registry refuses a manifest because it lacks one of its blobs.
    pub(crate) fn is_blob_unknown(&self) -> bool {
        match self {
            Self::Refused { status: 400 | 404, message, .. } => message.contains("BLOB_UNKNOWN"),
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

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => {
                Some("check the name and tag, and whether the image has been pushed")
            }
            Self::Unauthorized { .. } => Some(
                "log in with `docker login` or `skopeo login`, with an account that may do this",
            ),
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                Some("the registry holds or sends damaged content: push the image again")
            }
            Self::NoSuchPlatform { available, .. } if available.is_empty() => {
                Some("take the whole of it, with `--platform all`")
            }
            Self::NoSuchPlatform { .. } | Self::AmbiguousPlatform { .. } => {
                Some("choose one of these platforms with `--platform`")
            }
            Self::Unreachable { source, .. } if source.is::<Elapsed>() => Some(
                "it is there and does not answer: check the address and port, and whether a proxy or firewall stands between",
            ),
            Self::Unreachable { source, .. } if says(&**source, "UnknownIssuer") => Some(
                "name the file of its certificate authority under `registries.hosts`, as `ca: FILE`, in the policy",
            ),
            Self::Unreachable { source, .. } if is_about_certificate(&**source) => Some(
                "its certificate is not one for this host now: look at its names, its dates and who signed it",
            ),
            Self::Unreachable { .. } => Some(
                "check the host name, the network and the proxy settings; a registry without TLS needs `plain_http: true` in the policy",
            ),
            Self::TagMoved { .. } => Some("someone pushed it just now: run the command again"),
            Self::Refused { status: INSUFFICIENT_STORAGE, .. } => {
                Some("free some space where the registry keeps its images")
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some space, or write to another disk")
            }
            Self::Blob { source, .. } | Self::Image { source, .. } => source.hint(),
            _ => None,
        }
    }
}

fn available_platforms(available: &str) -> String {
    match available {
        "" => "it names no platforms, so only all of it can be taken".to_owned(),
        some => format!("it has {}", excerpt(some)),
    }
}

/// Whether the TLS library refuses the certificate of whoever was asked.
fn is_about_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    says(error, "invalid peer certificate")
}

/// Whether an error or one of its causes says this. The TLS library's own types are hidden in those
/// of others.
fn says(error: &(dyn std::error::Error + 'static), text: &str) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().contains(text) {
            return true;
        }
        next = error.source();
    }
    false
}

/// A pause that a registry asks for.
fn pause(asked: Option<Duration>) -> String {
    asked.map_or_else(String::new, |pause| format!("; it asks to wait {} s", pause.as_secs()))
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", excerpt(message)) }
}

/// Characters of a text from elsewhere that are shown.
const SHOWN: usize = 500;

/// A text from elsewhere as it may be shown: a terminal obeys some characters, and a reader does
/// not want megabytes.
fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        match character {
            _ if count == SHOWN => return shown + "…",
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

/// Whether a server that answers with this HTTP status may answer otherwise the next moment.
pub fn may_pass(status: u16) -> bool {
    // 501 and 505 say what a server cannot do, and 507 that its disk is full.
    matches!(status, 408 | 429 | 500 | 502..=504 | 520..=599)
}

/// The password of a text that begins as `user:password@host`, where it has one: people write that
/// although registries are named without it, and it is not to be shown.
pub fn password_in(text: &str) -> Option<&str> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (login, place) = rest.rsplit_once('@')?;
    let (_, password) = login.split_once(':')?;
    // `app:v1@sha256:…` is an image.
    let is_digest = place.starts_with("sha256:") || place.starts_with("sha512:");
    (!is_digest && !password.is_empty()).then_some(password)
}

fn without_password(text: &str) -> Cow<'_, str> {
    match password_in(text) {
        Some(password) => text.replacen(&format!(":{password}@"), ":…@", 1).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawManifest;

    #[test]
    fn a_password_is_not_shown() {
        for (text, password) in [
            ("me:secret@host:5000/project", Some("secret")),
            ("https://me:se:cr@et@host/project", Some("se:cr@et")),
            ("--from=me:secret@host", Some("secret")),
            ("app:v1@sha256:00", None),
            ("host:5000/project/app:v1@sha256:00", None),
            ("me:se/cr+et=@host/project", Some("se/cr+et=")),
            ("me@host", None),
        ] {
            assert_eq!(password_in(text), password, "{text}");
        }
        let (text, reason) = ("me:secret@host/project".to_owned(), "it is not".to_owned());
        let error = Error::Invalid { what: "registry", text, reason };
        assert_eq!(error.to_string(), "`me:…@host/project` is not a valid registry: it is not");
    }

    #[test]
    fn what_a_registry_says_is_shown_in_few_words_that_no_terminal_obeys() {
        let evil = format!("a\u{1b}]0;gone\u{7}{}", "b".repeat(4 << 20));
        let manifest = RawManifest::new(evil.clone(), "{}").parse().unwrap_err();
        let index = Error::NoSuchPlatform {
            what: "a:v1".to_owned(),
            wanted: "linux/amd64".to_owned(),
            available: evil.clone(),
        };
        let reference = evil.parse::<crate::Reference>().unwrap_err();
        for error in [manifest, index, reference] {
            let shown = error.to_string();
            assert!(shown.len() < 1000 && !shown.contains('\u{1b}'), "{shown}");
            assert!(shown.contains("a\\u{1b}]0;gone"), "{shown}");
        }
    }
}
