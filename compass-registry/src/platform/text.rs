//! Platforms as text and in image configurations.

use std::fmt;
use std::str::FromStr;

use super::Platform;
use crate::Error;

/// The maximum length of a word of a platform, in bytes.
const MAX_WORD: usize = 64;

impl Platform {
    /// Reads the platform of an image configuration. Returns `None` if its fields contain
    /// characters other than letters, digits, `.`, `_` and `-`.
    pub(crate) fn from_config(config: &[u8]) -> Option<Self> {
        let named: PlatformFields = serde_json::from_slice(config).ok()?;
        named.platform().filter(Self::has_valid_words)
    }

    fn has_valid_words(&self) -> bool {
        let words = [&self.os, &self.architecture];
        let more = self.variant.iter().chain(&self.os_version).chain(&self.os_features);
        words.into_iter().chain(more).all(|word| is_word(word))
    }
}

/// The fields of a platform. Each may be missing, null or empty: Go writes empty ones, and old
/// tools omit the operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub(crate) struct PlatformFields {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
}

impl PlatformFields {
    /// Returns the platform, if both operating system and architecture are named.
    pub(crate) fn platform(self) -> Option<Platform> {
        let given = |word: Option<String>| word.filter(|word| !word.is_empty());
        Some(Platform {
            os: given(self.os)?,
            architecture: given(self.architecture)?,
            variant: given(self.variant),
            os_version: given(self.os_version),
            os_features: self.os_features.unwrap_or_default(),
        })
    }
}

fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(plain)
}

impl FromStr for Platform {
    type Err = Error;

    /// Parses `os/architecture[/variant]`. The OS version and features may follow the OS as
    /// `(version+feature)` (containerd), or the version may follow at the end as `:version`
    /// (crane).
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            let form = "expected `os/architecture[/variant]`, as `linux/arm64` or `windows(10.0.17763)/amd64`";
            Error::invalid("platform", text, form)
        };
        let (rest, suffix) = match text.split_once(':') {
            Some((rest, version)) => (rest, Some(version)),
            None => (text, None),
        };
        let mut parts = rest.split('/');
        let (Some(system), Some(architecture), variant, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let (os, options) = match system.split_once('(') {
            Some((os, options)) => (os, options.strip_suffix(')').ok_or_else(bad)?),
            None => (system, ""),
        };
        let mut options = options.split('+');
        let version = options.next().filter(|version| !version.is_empty());
        if version.is_some() && suffix.is_some() {
            return Err(bad());
        }
        let platform = Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: version.or(suffix).map(str::to_owned),
            os_features: options.map(str::to_owned).collect(),
        };
        if platform.has_valid_words() { Ok(platform) } else { Err(bad()) }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if self.os_version.is_some() || !self.os_features.is_empty() {
            write!(f, "({}", self.os_version.as_deref().unwrap_or_default())?;
            self.os_features.iter().try_for_each(|feature| write!(f, "+{feature}"))?;
            f.write_str(")")?;
        }
        write!(f, "/{}", self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}
