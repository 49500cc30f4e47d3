use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{VersionError, parse_core};

const FORMAT: &str = "vMAJOR.MINOR.PATCH, also with -ga or -rc.N";

/// A product version, such as `v2.7.0`, `2.7.0`, `v2.7.1-GA` or `v2.8.0-rc.1`.
///
/// The order is `SemVer` precedence, except that `-ga` in any case is the release itself. Two
/// spellings of one version are ordered by their text, so that the order is total;
/// [`ProductVersion::is_same_release`] compares them as equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProductVersion {
    text: String,
    precedence: semver::Version,
}

impl ProductVersion {
    /// Returns whether two versions are spellings of the same release.
    pub fn is_same_release(&self, other: &Self) -> bool {
        self.precedence == other.precedence
    }

    /// Returns whether the version is a pre-release, such as `-rc.1`; `-ga` is not.
    pub fn is_prerelease(&self) -> bool {
        !self.precedence.pre.is_empty()
    }

    /// Returns the canonical spelling of the release.
    pub(crate) fn release(&self) -> String {
        self.precedence.to_string()
    }

    /// Returns the version as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ProductVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let mut precedence = parse_core(text, bare, FORMAT)?;
        if precedence.pre.as_str().eq_ignore_ascii_case("ga") {
            precedence.pre = semver::Prerelease::EMPTY;
        }
        Ok(Self { text: text.to_owned(), precedence })
    }
}

impl Ord for ProductVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.precedence.cmp(&other.precedence).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for ProductVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ProductVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
