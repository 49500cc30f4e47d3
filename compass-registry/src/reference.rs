//! Image references: registry host, repository, tag and digest.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::error::find_password;
use crate::{Algorithm, Digest, Error, RegistryPrefix};

/// The path of a repository, such as `release/compass-plugins-gpu`. The OCI distribution
/// specification, § Pulling manifests, defines its form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A tag or digest that identifies a manifest in a repository. The OCI distribution specification
/// calls it `<reference>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagOrDigest {
    /// A tag, which may move.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

/// An image in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.
///
/// The host is mandatory. Without tag and digest, the tag is `latest`; if both are given, the
/// digest takes precedence.
///
/// ```
/// use compass_registry::Reference;
///
/// let image: Reference = "localhost:5000/release/web:v1.2.0".parse()?;
/// assert_eq!(image.host(), "localhost:5000");
/// assert_eq!(image.repository().as_str(), "release/web");
/// assert_eq!(image.tag_or_digest().to_string(), "v1.2.0");
/// # Ok::<(), compass_registry::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Repository {
    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last element of the path.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Replaces the project of the path. `project` may have several elements. If it is empty, the
    /// path is unchanged.
    ///
    /// # Errors
    /// [`Error::Parse`] if the project is not a path.
    pub fn in_project(&self, project: &str) -> Result<Self, Error> {
        if project.is_empty() {
            Ok(self.clone())
        } else {
            format!("{project}/{}", self.name()).parse()
        }
    }
}

impl Tag {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// Creates a reference without a digest.
    pub fn new(host: impl Into<String>, repository: Repository, tag: Option<Tag>) -> Self {
        Self { host: host.into(), repository, tag, digest: None }
    }

    /// Returns the password in a text that starts with `user:password@host`.
    ///
    /// A reference cannot contain a user and password. If one is given by mistake, messages must
    /// not show the password.
    pub fn find_password(text: &str) -> Option<&str> {
        find_password(text)
    }

    /// Returns the registry's host, with its port if there is one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the tag, if there is one.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Adds the tag `latest` if the reference has neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(&self) -> Self {
        let is_bare = self.tag.is_none() && self.digest.is_none();
        let tag = if is_bare { Some(Tag("latest".to_owned())) } else { self.tag.clone() };
        Self { tag, ..self.clone() }
    }

    /// Returns the digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the digest or else the tag, which defaults to `latest`.
    pub fn tag_or_digest(&self) -> TagOrDigest {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => TagOrDigest::Digest(*digest),
            (None, Some(tag)) => TagOrDigest::Tag(tag.clone()),
            (None, None) => TagOrDigest::Tag(Tag("latest".to_owned())),
        }
    }

    /// Replaces the digest, if the reference has one.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: self.digest.map(|_| digest), ..self.clone() }
    }

    /// Replaces the registry host, and the project if the prefix has one.
    ///
    /// # Errors
    /// [`Error::Parse`] if the project is not a path.
    pub fn rebase(&self, place: &RegistryPrefix) -> Result<Self, Error> {
        Ok(Self {
            host: place.host.clone(),
            repository: self.repository.in_project(&place.project)?,
            tag: self.tag.clone(),
            digest: self.digest,
        })
    }
}

impl From<Tag> for TagOrDigest {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl TagOrDigest {
    /// Returns the algorithm of the digest, or the default algorithm for a tag.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Tag(_) => Algorithm::default(),
            Self::Digest(digest) => digest.algorithm(),
        }
    }
}

impl From<Digest> for TagOrDigest {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let valid = !text.is_empty() && text.len() <= 255 && text.split('/').all(is_path_element);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "repository",
                text,
                "expected lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            ))
        }
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        let valid = (1..=128).contains(&bytes.len())
            && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("tag", text, "expected up to 128 letters, digits, `_`, `.` or `-`"))
        }
    }
}

impl FromStr for TagOrDigest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') {
            text.parse().map(Self::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |reason| Error::invalid("image reference", text, reason);
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (host, path) =
            rest.split_once('/').ok_or_else(|| invalid("the registry host is missing"))?;
        if !is_host(host) {
            return Err(invalid("the part before the first `/` is not a registry host"));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.parse()?)),
            None => (path, None),
        };
        Ok(Self { host: host.to_owned(), repository: repository.parse()?, tag, digest })
    }
}

fn is_path_element(element: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let dashes = |separator: &str| separator.bytes().all(|b| b == b'-');
    element.starts_with(alphanumeric)
        && element.ends_with(alphanumeric)
        && element.split(alphanumeric).all(|s| matches!(s, "." | "_" | "__") || dashes(s))
}

fn is_host(host: &str) -> bool {
    let (name, port) = split_port(host);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let named = name.contains('.') || name == "localhost" || port.is_some();
    (is_ipv6(name) || (named && name.split('.').all(label)))
        && port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok())
}

/// Splits a host into its name or address, and its port.
pub(crate) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Whether a name is an IPv6 address in brackets (RFC 3986, § 3.2.2).
fn is_ipv6(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reference_accepted_text_round_trips(text in "[ -~é]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn reference_display_parses_back(
            text in "[a-z]{1,5}\\.[a-z]{2}(:[1-9][0-9]{0,3})?(/[a-z0-9]{1,8}){1,4}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?"
        ) {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn reference_display_round_trips() {
        for text in [
            "localhost/a",
            "127.0.0.1:5000/a/b-c/d__e:v1",
            "harbor.example/release/web:v1.0.0-rc.1",
            "[::1]:5000/release/web:v1",
            "[2001:db8::1]/release/web",
            "harbor.example/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn reference_invalid_is_rejected() {
        for text in [
            "",
            "web",
            "web:v1",
            "release/web:v1",
            "a.b/Web",
            "a.b/../c",
            "a.b/x:",
            "a.b:x/y",
            "::1/x",
            "[::1/x",
            "[::1]x/y",
            "[::1]:x/y",
            "[a.b]/x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn with_digest_replaces_existing_digest_only() {
        let of = |text: &str| Digest::of(text.as_bytes());
        let image = format!("a.example/web:v1@{}", of("old")).parse::<Reference>().unwrap();
        let other = image.with_digest(of("new")).to_string();
        assert_eq!(other, format!("a.example/web:v1@{}", of("new")));
        let image: Reference = "a.example/web:v1".parse().unwrap();
        assert_eq!(image.with_digest(of("new")), image);
    }

    #[test]
    fn rebase_replaces_project_if_given() {
        let image: Reference = "dev.example/caicloud/web:v1".parse().unwrap();
        let moved = |place: &str| image.rebase(&place.parse().unwrap()).unwrap().to_string();
        assert_eq!(moved("site.example:5000/compass"), "site.example:5000/compass/web:v1");
        assert_eq!(moved("localhost:5000"), "localhost:5000/caicloud/web:v1");
    }
}
