//! Platforms that images are built for, and which images a platform can run. Follows the OCI image
//! specification ("Image Index", § `platform`) and containerd's rules for variants.

mod compatibility;
mod text;

use serde::{Deserialize, Serialize};

use self::compatibility::Suitability;
pub(crate) use self::text::PlatformFields;
use crate::Descriptor;

/// A platform, written `os/architecture[/variant]`.
///
/// The version and features of the operating system follow its name in parentheses:
/// `windows(10.0.17763+feature)/amd64`.
///
/// ```
/// use compass_registry::Platform;
///
/// let wanted: Platform = "linux/arm64".parse()?;
/// assert!("linux/arm64/v8".parse::<Platform>()?.satisfies(&wanted));
/// assert!(!"linux/arm64/v9".parse::<Platform>()?.satisfies(&wanted));
/// # Ok::<(), compass_registry::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The processor architecture.
    pub architecture: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The OS version that the image was built for, as `10.0.17763.1879`.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// The OS features that the image needs.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

impl Platform {
    /// Creates a platform without variant, version and features.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: None,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// Whether the operating system is Windows. Some tools write its name in upper case.
    pub(crate) fn is_windows(&self) -> bool {
        self.os.eq_ignore_ascii_case("windows")
    }

    /// Whether an image for this platform runs on `wanted`. The operating system and architecture
    /// must be the same, and `wanted` must support the variant and have all features.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        Suitability::of(self, wanted).is_some()
    }

    /// Returns the images that suit this platform best, in the order of the index.
    ///
    /// Several images are returned if the index names a platform more than once, or if it has
    /// images for several OS versions and this platform names no version.
    pub fn best_of<'i>(&self, images: &'i [Descriptor]) -> Vec<&'i Descriptor> {
        let suitable = images
            .iter()
            .filter_map(|image| Some((Suitability::of(image.platform.as_ref()?, self)?, image)));
        let suitable: Vec<_> = suitable.collect();
        let best = suitable.iter().map(|(suitability, _)| suitability).max().cloned();
        let best =
            suitable.into_iter().filter(|(suitability, _)| Some(suitability) == best.as_ref());
        best.map(|(_, image)| image).collect()
    }
}

#[cfg(test)]
mod tests;
