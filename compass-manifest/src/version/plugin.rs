use std::fmt;
use std::str::FromStr;

use super::{VersionError, parse_core};

const FORM: &str = "vMAJOR.MINOR.PATCH";

/// A plugin's VERSION: `vMAJOR.MINOR.PATCH`, ordered by `SemVer` precedence.
///
/// A pre-release parses; whether it may be released is for the policy to say
/// (see [`PluginVersion::is_prerelease`]).
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

impl PluginVersion {
    /// Whether the version carries a pre-release part, as `v1.0.0-rc.1` does.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for PluginVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bare =
            text.strip_prefix('v').ok_or_else(|| VersionError::MissingPrefix(text.to_owned()))?;
        parse_core(text, bare, FORM).map(Self)
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}
