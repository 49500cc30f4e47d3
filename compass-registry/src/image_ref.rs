//! Images within a source or a sink, without a registry host.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error, Reference, Repository, Tag, TagOrDigest};

/// An image in a repository of a source: `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
///
/// ```
/// use compass_registry::{ImageRef, Reference, Repository, Tag};
///
/// let (repository, tag): (Repository, Tag) = ("team/web".parse()?, "v1.2.0".parse()?);
/// let image = ImageRef::new(repository, tag);
/// assert_eq!(image.to_string(), "team/web:v1.2.0");
/// assert_eq!(image, "team/web:v1.2.0".parse()?);
/// assert_eq!(image, ImageRef::from(&"localhost:5000/team/web:v1.2.0".parse::<Reference>()?));
/// # Ok::<(), compass_registry::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// The repository.
    pub repository: Repository,
    /// The tag or digest of the image.
    pub reference: TagOrDigest,
}

/// The destination of an image in a sink: `REPOSITORY` or `REPOSITORY:TAG`.
///
/// Without a tag, the image can be read by its digest only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The repository.
    pub repository: Repository,
    /// The tag to write.
    pub tag: Option<Tag>,
}

impl ImageRef {
    /// Creates a reference from a repository, and a tag or digest.
    pub fn new(repository: Repository, reference: impl Into<TagOrDigest>) -> Self {
        Self { repository, reference: reference.into() }
    }
}

impl Destination {
    /// Creates a destination from a repository, and a tag if there is one.
    pub fn new(repository: Repository, tag: impl Into<Option<Tag>>) -> Self {
        Self { repository, tag: tag.into() }
    }
}

impl From<&Reference> for ImageRef {
    fn from(reference: &Reference) -> Self {
        Self::new(reference.repository().clone(), reference.tag_or_digest())
    }
}

impl From<&Reference> for Destination {
    fn from(reference: &Reference) -> Self {
        Self::new(reference.repository().clone(), reference.tag().cloned())
    }
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_separator = |c| matches!(c, ':' | '@');
        let (repository, rest) = match text.split_once(is_separator) {
            Some((repository, rest)) => (repository.parse()?, rest),
            None => return Err(Error::invalid("image", text, "the tag or digest is missing")),
        };
        Ok(match text.contains('@') {
            true => Self::new(repository, rest.parse::<Digest>()?),
            false => Self::new(repository, rest.parse::<Tag>()?),
        })
    }
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text.split_once(':') {
            Some((repository, tag)) => Self::new(repository.parse()?, tag.parse::<Tag>()?),
            None => Self::new(text.parse()?, None),
        })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.reference, TagOrDigest::Tag(_)) { ':' } else { '@' };
        write!(f, "{}{separator}{}", self.repository, self.reference)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_ref_display_round_trips() {
        for text in ["a/b:v1".to_owned(), format!("a/b@{}", Digest::of(b"x"))] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
        for text in ["a/b", "a/b:", "a/b@v1", ":v1", "a/b:v1@sha256:00", "a.b:5000/c:v1"] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn destination_display_round_trips() {
        for text in ["a/b:v1", "a/b"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for text in ["", "a/b:", "a/b@sha256:00", "a.b:5000/c:v1"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
