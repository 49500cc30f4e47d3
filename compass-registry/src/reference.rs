//! Names of images: registry host, repository, tag and digest.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::error::find_password;
use crate::{Algorithm, Digest, Error};

/// A repository's path below its registry, as `release/compass-plugins-gpu`
/// (OCI distribution specification, § Pulling manifests).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagOrDigest {
    /// By a tag, which may move.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

/// An image in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.
///
/// The host is never guessed. Where neither tag nor digest is written, the tag is `latest`; where
/// both are, the digest counts.
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
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last element of the path.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The same name in another project; `project` may be several elements, or empty.
    ///
    /// # Errors
    /// [`Error::Parse`] where the project is not a path.
    pub fn in_project(&self, project: &str) -> Result<Self, Error> {
        if project.is_empty() {
            Ok(self.clone())
        } else {
            format!("{project}/{}", self.name()).parse()
        }
    }
}

impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// Names an image.
    pub fn new(host: impl Into<String>, repository: Repository, tag: Option<Tag>) -> Self {
        Self { host: host.into(), repository, tag, digest: None }
    }

    /// The password in a text that begins `user:password@host`, if it has one. References have no
    /// user, but people write one, and the password must not be shown.
    pub fn find_password(text: &str) -> Option<&str> {
        find_password(text)
    }

    /// The registry's host, with its port where one is written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where one is written.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The same image with the tag that is meant: `latest` where neither tag nor digest is written.
    #[must_use]
    pub fn with_default_tag(&self) -> Self {
        let is_bare = self.tag.is_none() && self.digest.is_none();
        let tag = if is_bare { Some(Tag("latest".to_owned())) } else { self.tag.clone() };
        Self { tag, ..self.clone() }
    }

    /// The digest, where one is written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for.
    pub fn tag_or_digest(&self) -> TagOrDigest {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => TagOrDigest::Digest(*digest),
            (None, Some(tag)) => TagOrDigest::Tag(tag.clone()),
            (None, None) => TagOrDigest::Tag(Tag("latest".to_owned())),
        }
    }

    /// The same name, for other content: where the reference has a digest, it has this one.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: self.digest.map(|_| digest), ..self.clone() }
    }

    /// The same image at another registry; with a project there, in that project.
    ///
    /// # Errors
    /// [`Error::Parse`] where the project is not a path.
    pub fn rebase(&self, place: &RegistryPrefix) -> Result<Self, Error> {
        Ok(Self {
            host: place.host.clone(),
            repository: self.repository.in_project(&place.project)?,
            tag: self.tag.clone(),
            digest: self.digest,
        })
    }
}

/// A registry, or one project of it: `HOST[:PORT][/PROJECT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPrefix {
    /// The host, with its port where one is written.
    pub host: String,
    /// The project, or nothing where images keep their own.
    pub project: String,
}

impl FromStr for RegistryPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (host, project) = text.trim_end_matches('/').split_once('/').unwrap_or((text, ""));
        let host = host.trim_end_matches('/');
        let probe = if project.is_empty() { "x".to_owned() } else { format!("{project}/x") };
        format!("{host}/{probe}").parse::<Reference>().map_err(|_| {
            Error::invalid("registry", text, "expected `HOST[:PORT]` or `HOST[:PORT]/PROJECT`")
        })?;
        Ok(Self { host: host.to_owned(), project: project.to_owned() })
    }
}

impl fmt::Display for RegistryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.project.is_empty() { Ok(()) } else { write!(f, "/{}", self.project) }
    }
}

impl From<Tag> for TagOrDigest {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl TagOrDigest {
    /// The algorithm of the digest that is expected.
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
            rest.split_once('/').ok_or_else(|| invalid("it names no registry host"))?;
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

/// The name or address of a host, and the port where one is written.
pub(crate) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// An address as URLs have it (RFC 3986, § 3.2.2).
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
        fn any_text_is_read_or_refused(text in "[ -~é]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn what_displays_is_read_back(
            text in "[a-z]{1,5}\\.[a-z]{2}(:[1-9][0-9]{0,3})?(/[a-z0-9]{1,8}){1,4}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?"
        ) {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn references_display_as_they_were_written() {
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
    fn what_is_not_a_reference_is_refused() {
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
    fn other_content_changes_the_digest_and_a_name_without_one_stays() {
        let of = |text: &str| Digest::of(text.as_bytes());
        let image = format!("a.example/web:v1@{}", of("old")).parse::<Reference>().unwrap();
        let other = image.with_digest(of("new")).to_string();
        assert_eq!(other, format!("a.example/web:v1@{}", of("new")));
        let image: Reference = "a.example/web:v1".parse().unwrap();
        assert_eq!(image.with_digest(of("new")), image);
    }

    #[test]
    fn a_project_replaces_the_references_own_and_a_bare_host_keeps_it() {
        let image: Reference = "dev.example/caicloud/web:v1".parse().unwrap();
        let moved = |place: &str| image.rebase(&place.parse().unwrap()).unwrap().to_string();
        assert_eq!(moved("site.example:5000/compass"), "site.example:5000/compass/web:v1");
        assert_eq!(moved("localhost:5000"), "localhost:5000/caicloud/web:v1");
    }
}
