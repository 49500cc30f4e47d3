use std::fmt;
use std::str::FromStr;

use super::{VersionError, parse_core};

const FORMAT: &str = "vMAJOR.MINOR.PATCH";

/// A plugin version: `vMAJOR.MINOR.PATCH`, ordered by `SemVer` precedence.
///
/// Pre-releases are valid; the policy decides whether they may be released
/// ([`PluginVersion::is_prerelease`]).
///
/// ```
/// use compass_manifest::version::PluginVersion;
///
/// let old: PluginVersion = "v0.9.0".parse()?;
/// let new: PluginVersion = "v0.10.0".parse()?;
/// assert!(new > old);
/// assert_eq!(new.to_string(), "v0.10.0");
/// # Ok::<(), compass_manifest::version::VersionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginVersion(semver::Version);

/// The number of a version that a bump increments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BumpLevel {
    /// The first number, for incompatible changes.
    Major,
    /// The second number, for new features.
    Minor,
    /// The third number, for fixes.
    Patch,
}

impl PluginVersion {
    /// Returns whether the version is a pre-release, such as `v1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// Returns the next version; `None` if a number overflows.
    ///
    /// The next version after a pre-release is its release if the level permits, as in other
    /// `SemVer` tools.
    ///
    /// ```
    /// use compass_manifest::version::{BumpLevel, PluginVersion};
    ///
    /// let next = |text: &str, level| Some(text.parse::<PluginVersion>().ok()?.next(level)?.to_string());
    /// assert_eq!(next("v0.9.3", BumpLevel::Minor).as_deref(), Some("v0.10.0"));
    /// assert_eq!(next("v1.0.0-rc.1", BumpLevel::Patch).as_deref(), Some("v1.0.0"));
    /// assert_eq!(next("v1.0.1-rc.1", BumpLevel::Minor).as_deref(), Some("v1.1.0"));
    /// ```
    #[must_use]
    pub fn next(&self, level: BumpLevel) -> Option<Self> {
        let semver::Version { major, minor, patch, .. } = self.0;
        let is_its_release = match level {
            BumpLevel::Major => (minor, patch) == (0, 0),
            BumpLevel::Minor => patch == 0,
            BumpLevel::Patch => true,
        };
        let one = u64::from(!(self.is_prerelease() && is_its_release));
        let (major, minor, patch) = match level {
            BumpLevel::Major => (major.checked_add(one)?, 0, 0),
            BumpLevel::Minor => (major, minor.checked_add(one)?, 0),
            BumpLevel::Patch => (major, minor, patch.checked_add(one)?),
        };
        Some(Self(semver::Version::new(major, minor, patch)))
    }
}

impl FromStr for PluginVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bare =
            text.strip_prefix('v').ok_or_else(|| VersionError::MissingPrefix(text.to_owned()))?;
        parse_core(text, bare, FORMAT).map(Self)
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BumpLevel, PluginVersion};

    #[test]
    fn next_of_prerelease_is_its_release() {
        for (version, level, next) in [
            ("v2.0.0-rc.1", BumpLevel::Major, "v2.0.0"),
            ("v2.1.0-rc.1", BumpLevel::Major, "v3.0.0"),
            ("v2.0.1-rc.1", BumpLevel::Major, "v3.0.0"),
            ("v2.1.0-rc.1", BumpLevel::Minor, "v2.1.0"),
            ("v2.1.1-rc.1", BumpLevel::Minor, "v2.2.0"),
            ("v2.1.1-rc.1", BumpLevel::Patch, "v2.1.1"),
            ("v2.1.1", BumpLevel::Patch, "v2.1.2"),
            ("v2.0.0", BumpLevel::Major, "v3.0.0"),
        ] {
            let written: PluginVersion = version.parse().unwrap();
            assert_eq!(written.next(level).unwrap().to_string(), next, "{version}");
        }
    }
}
