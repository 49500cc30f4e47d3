//! Descriptors: media type, digest and size of content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Algorithm, Digest, Error};

/// What content is, and how to prove it (OCI image specification, "Descriptor").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
    /// The platform an image is for, where an image index says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A platform that an image runs on, written `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The processor architecture.
    pub architecture: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Descriptor {
    /// Describes bytes at hand, by their SHA-256 digest.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::with(media_type, bytes, Algorithm::Sha256)
    }

    pub(crate) fn with(media_type: impl Into<String>, bytes: &[u8], algorithm: Algorithm) -> Self {
        Self {
            media_type: media_type.into(),
            digest: algorithm.digest(bytes),
            size: bytes.len() as u64,
            platform: None,
        }
    }
}

impl Descriptor {
    /// Whether this is a layer that registries need not hold, such as a base layer of Windows:
    /// whoever runs the image fetches it from its owner (OCI image specification,
    /// § Non-Distributable Layers).
    pub fn is_held_elsewhere(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }
}

impl Platform {
    /// Whether an image for `self` serves where `wanted` is asked for. A variant counts only where
    /// it is asked for.
    pub fn serves(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.version() == wanted.version())
    }

    /// The variant; `arm64` is `v8` where nothing else is said, as containerd has it.
    fn version(&self) -> Option<&str> {
        let usual = (self.architecture == "arm64").then_some("v8");
        self.variant.as_deref().or(usual)
    }

    /// Reads what an image configuration names; nothing where that is no platform: words of letters
    /// and digits.
    pub(crate) fn of_config(config: &[u8]) -> Option<Self> {
        let mut named: Self = serde_json::from_slice(config).ok()?;
        // Some tools write an empty one.
        named.variant = named.variant.filter(|variant| !variant.is_empty());
        named.is_plain().then_some(named)
    }

    fn is_plain(&self) -> bool {
        let plain = |word: &String| {
            let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            !word.is_empty() && word.len() <= 64 && word.bytes().all(letters)
        };
        plain(&self.os) && plain(&self.architecture) && self.variant.iter().all(plain)
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if !os.is_empty() && !architecture.is_empty() && variant.as_deref() != Some("") =>
            {
                Ok(Self { os, architecture, variant })
            }
            _ => Err(Error::invalid("platform", text, "expected `os/architecture[/variant]`")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn arm64_is_v8_unless_it_says_otherwise() {
        for (is, wanted, serves) in [
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64/v9", "linux/arm64/v8", false),
            ("linux/arm", "linux/arm/v7", false),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/amd64", "linux/arm64", false),
        ] {
            let [is, asked]: [Platform; 2] = [is, wanted].map(|text| text.parse().unwrap());
            assert_eq!(is.serves(&asked), serves, "{is}, {wanted}");
        }
    }

    #[test]
    fn a_configuration_names_a_platform_or_none() {
        for (config, platform) in [
            (
                r#"{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{}}"#,
                "linux/arm64/v8",
            ),
            (r#"{"os":"linux","architecture":"amd64","variant":""}"#, "linux/amd64"),
        ] {
            let named = Platform::of_config(config.as_bytes()).map(|named| named.to_string());
            assert_eq!(named.as_deref(), Some(platform));
        }
        for config in [
            "{}",
            "not JSON",
            r#"{"os":"","architecture":"amd64"}"#,
            r#"{"os":"linux","architecture":"amd64/v1"}"#,
            r#"{"os":"lin\u001bux","architecture":"amd64"}"#,
        ] {
            assert_eq!(Platform::of_config(config.as_bytes()), None, "{config}");
        }
    }
}
