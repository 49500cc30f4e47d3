//! Decides which images a platform can run, and which of them it prefers.

use std::cmp::Ordering;

use super::Platform;

/// How well an image suits a platform. Greater is better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Suitability {
    variant: Level,
    os_version: OsVersion,
    features: usize,
}

/// The instruction set of an image, by its variant. A higher level is better if the platform
/// supports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// The baseline of the architecture: the image names no variant.
    Baseline,
    /// A numbered variant: `v8.1` is 8 and 1.
    Numbered(u32, u32),
    /// A variant that matches only itself.
    Exact,
}

/// How close the OS version of an image is to that of the platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum OsVersion {
    /// The image has no version, or none is requested.
    Any,
    /// A version that the platform can run. Later ones are better.
    Runs(Vec<u64>),
    /// The same version.
    Same,
}

impl Suitability {
    /// Returns how well an image for `image` suits `wanted`, or `None` if it does not run.
    pub(super) fn of(image: &Platform, wanted: &Platform) -> Option<Self> {
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        if !same(os_of(image), os_of(wanted)) {
            return None;
        }
        let (image_cpu, wanted_cpu) = (Cpu::of(image), Cpu::of(wanted));
        let variant = wanted_cpu.runs(&image_cpu)?;
        let os_version = os_version(image, wanted)?;
        let features: Vec<_> = features_of(image).collect();
        let known = |feature: &&str| wanted.os_features.iter().any(|known| known == feature);
        features.iter().all(known).then_some(Self { variant, os_version, features: features.len() })
    }
}

/// A processor architecture by its normalized name, and its variant.
#[derive(Debug, PartialEq, Eq)]
struct Cpu {
    architecture: String,
    variant: Option<String>,
}

impl Cpu {
    /// Normalizes names as containerd does (containerd/platforms, `normalizeArch`).
    fn of(platform: &Platform) -> Self {
        let lower = |text: &String| text.to_ascii_lowercase();
        let (architecture, variant) = (lower(&platform.architecture), &platform.variant);
        let variant = variant.as_ref().map(lower).filter(|variant| !variant.is_empty());
        let (architecture, variant) = match architecture.as_str() {
            "i386" => ("386", None),
            "x86_64" | "x86-64" => ("amd64", variant),
            "aarch64" => ("arm64", variant),
            "armhf" => ("arm", Some("v7".to_owned())),
            "armel" => ("arm", Some("v6".to_owned())),
            other => (other, variant),
        };
        Self { architecture: architecture.to_owned(), variant }
    }

    /// Returns the variant as a number, for architectures with numbered variants. Without a
    /// variant, the default of the architecture applies.
    fn number(&self) -> Option<(u32, u32)> {
        let usual = match self.architecture.as_str() {
            "amd64" => (1, 0),
            "arm" => (7, 0),
            "arm64" => (8, 0),
            _ => return None,
        };
        let Some(variant) = &self.variant else { return Some(usual) };
        let digits = variant.strip_prefix('v').unwrap_or(variant);
        let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
        let known = Some((major.parse().ok()?, minor.parse().ok()?));
        // Only arm64 has minor versions, of one digit.
        known.filter(
            |(_, minor)| if self.architecture == "arm64" { *minor < 10 } else { *minor == 0 },
        )
    }

    /// Returns the level at which this processor runs an image, or `None` if it cannot.
    fn runs(&self, image: &Self) -> Option<Level> {
        if self.architecture != image.architecture {
            return None;
        }
        let (Some(own), Some(needed)) = (self.number(), image.number()) else {
            let exact = (self.variant == image.variant).then_some(Level::Exact);
            // Every variant runs images of the plain architecture.
            return exact.or_else(|| image.variant.is_none().then_some(Level::Baseline));
        };
        let runs = match self.architecture.as_str() {
            // 32-bit ARM before version 5 has another instruction set.
            "arm" => needed == own || (needed.0 >= 5 && needed <= own),
            // Version 9.x includes version 8.(x+5).
            "arm64" if own.0 == 9 && needed.0 == 8 => needed.1 <= own.1 + 5,
            "arm64" => needed.0 == own.0 && needed.1 <= own.1,
            _ => needed <= own,
        };
        runs.then_some(Level::Numbered(needed.0, needed.1))
    }
}

fn os_of(platform: &Platform) -> &str {
    match platform.os.as_str() {
        macos if macos.eq_ignore_ascii_case("macos") => "darwin",
        other => other,
    }
}

/// Returns the OS features that an image needs, except `win32k`, which every Windows has.
fn features_of(image: &Platform) -> impl Iterator<Item = &str> {
    let is_windows = image.is_windows();
    let features = image.os_features.iter().map(String::as_str);
    features.filter(move |feature| !(feature.is_empty() || is_windows && *feature == "win32k"))
}

/// Compares the OS versions; `None` if the image does not run.
fn os_version(image: &Platform, wanted: &Platform) -> Option<OsVersion> {
    let given = |version: &'_ Option<String>| version.clone().filter(|version| !version.is_empty());
    let (Some(own), Some(asked)) = (given(&image.os_version), given(&wanted.os_version)) else {
        // An image without a version runs on every version. If no version is requested, all images
        // are equally good.
        return Some(OsVersion::Any);
    };
    if own == asked {
        return Some(OsVersion::Same);
    }
    let (own, asked) = (numbers(&own)?, numbers(&asked)?);
    let runs = match image.is_windows() {
        true => windows_runs(&asked, &own),
        false => false,
    };
    runs.then_some(OsVersion::Runs(own))
}

fn numbers(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|number| number.parse().ok()).collect()
}

/// The builds of long-term releases of Windows Server that later hosts can run. See Microsoft,
/// "Windows container version compatibility", and containerd/platforms.
const STABLE: [u64; 2] = [20348, 26100];

/// Whether a Windows host runs images of another version. A host up to Server 2022 runs only images
/// of its own build. A later host also runs images of all builds since the previous long-term
/// release.
fn windows_runs(host: &[u64], image: &[u64]) -> bool {
    let ([major, minor, host, ..], [image_major, image_minor, image, ..]) = (host, image) else {
        // A version with fewer numbers matches all versions that start with it.
        let common = host.len().min(image.len());
        return host[..common].cmp(&image[..common]) == Ordering::Equal;
    };
    if (major, minor) != (image_major, image_minor) {
        return false;
    }
    if *host < STABLE[0] {
        return host == image;
    }
    let earliest = STABLE.into_iter().rfind(|stable| stable < host).unwrap_or(STABLE[0]);
    (earliest..=*host).contains(image)
}
