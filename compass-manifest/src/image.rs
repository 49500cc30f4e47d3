//! Parses image references with a registry host.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::escape::quote;

/// An image reference with a registry host: `HOST[:PORT]/PATH[:TAG][@DIGEST]`.
///
/// Short names are not expanded: release manifests contain full references.
///
/// ```
/// use compass_manifest::image::ImageReference;
///
/// let image: ImageReference = "harbor.example/release/compass-plugins-gpu:v0.1.1".parse()?;
/// assert_eq!(image.host(), "harbor.example");
/// assert_eq!(image.repository(), "release/compass-plugins-gpu");
/// assert_eq!(image.tag(), Some("v0.1.1"));
/// # Ok::<(), compass_manifest::image::ImageReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// The error for a text that is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not an image reference: {reason}", quote(text))]
pub struct ImageReferenceError {
    text: String,
    reason: &'static str,
}

impl ImageReference {
    /// Returns the registry host, with its port if the reference has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the repository path, including the project.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, if the reference has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the reference has one.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Returns the last element of the repository path.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// Returns the reference without tag and digest.
    pub fn without_version(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let error = |reason| ImageReferenceError { text: text.to_owned(), reason };
        let (rest, digest) = split_suffix(text, '@');
        let (host, path) = rest.split_once('/').ok_or_else(|| error("it has no registry host"))?;
        if text.len() > MAX_LENGTH {
            return Err(error("it is longer than 512 characters"));
        }
        if !is_host(host) {
            return Err(error("the part before the first `/` is not a registry host"));
        }
        let (repository, tag) = split_suffix(path, ':');
        if !is_repository(repository) {
            return Err(error(
                "the repository path must be lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(
                "the tag must be 1 to 128 letters, digits, `_`, `.` or `-`, and not begin with `.` or `-`",
            ));
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(error("the digest must be `sha256:` and 64 lower-case hex digits"));
        }
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Splits a text at the first separator; the suffix is `None` if the text has no separator.
pub(crate) fn split_suffix(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(text, suffix)| (text, Some(suffix)))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // A port does not end with `]`: the last colon is in the brackets of an IPv6 address.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let named = name.contains('.') || name == "localhost" || port.is_some();
    let valid_name = name.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    let valid_port = port
        .is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    (is_ipv6(name) || (named && valid_name)) && valid_port
}

/// Returns whether a host is an IPv6 address in brackets (RFC 3986, § 3.2.2).
fn is_ipv6(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// The maximum length of a reference in bytes.
///
/// A reference has up to 255 bytes of host and repository, a tag, and a digest.
const MAX_LENGTH: usize = 512;
/// The maximum length of a repository path in bytes, as in the distribution registry.
const MAX_REPOSITORY: usize = 255;

/// Returns whether a text is a repository path of one or more elements.
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY && text.split('/').all(is_path_element)
}

/// Returns whether a text is a path element of a repository.
///
/// Follows the grammar of the distribution specification.
fn is_path_element(element: &str) -> bool {
    let bytes = element.as_bytes();
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !edge(bytes.first()) || !edge(bytes.last()) {
        return false;
    }
    element.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

pub(crate) fn is_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    (1..=128).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

pub(crate) fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_ipv6_host_needs_brackets() {
        for (text, host) in
            [("[::1]:5000/release/web:v1", "[::1]:5000"), ("[fd00::1]/a", "[fd00::1]")]
        {
            assert_eq!(text.parse::<ImageReference>().unwrap().host(), host);
        }
        for text in ["::1/a", "[::1/a", "[::1]x/a", "[::1]:x/a", "[a.example]/a"] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
