//! Names of bundles and of their image archives (bundle format, "Names").

use std::collections::HashMap;

use compass_registry::{Digest, Platform, Reference};

use crate::Error;
use crate::format::document::{BundleDocument, BundleKind};

/// Suffix of image archives.
pub(crate) const ARCHIVE_SUFFIX: &str = "-image.tar.gz";

/// Checks a name that becomes part of a path. The name may come from an untrusted bundle.
pub(crate) fn validate_name(what: &str, text: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
        Ok(())
    } else {
        Err(Error::InvalidInput(format!(
            "`{}` is not a valid {what}: expected letters, digits, `.`, `_`, `-`",
            text.escape_debug()
        )))
    }
}

/// Checks that a path stays inside its directory on every operating system.
pub(crate) fn validate_portable_path(path: &str) -> Result<(), Error> {
    if path.contains(':') {
        return Err(outside(path));
    }
    validate_path(path)
}

/// Checks that a path stays inside the directory that it is unpacked to.
pub(crate) fn validate_path(path: &str) -> Result<(), Error> {
    match unsafe_path_reason(path) {
        Some(_) => Err(outside(path)),
        None => Ok(()),
    }
}

/// Returns why a path may leave its directory on some operating system.
///
/// Foreign packages may use colons in file names, but a colon after a single letter marks a drive.
pub(crate) fn unsafe_path_reason(path: &str) -> Option<&'static str> {
    if path.split('/').any(|step| matches!(step, "" | "." | "..")) {
        return Some("points outside");
    }
    if path.contains('\\') || path.find(':') == Some(1) {
        return Some("has a name that points outside on other systems");
    }
    path.chars().any(char::is_control).then_some("has a name with control characters")
}

fn outside(path: &str) -> Error {
    Error::InvalidInput(format!("`{}` is not a path inside a bundle", path.escape_debug()))
}

/// The file name of a bundle without `.tar.gz`.
///
/// `platforms` is [`BundleContents::platforms`](crate::BundleContents::platforms).
pub(crate) fn stem(kind: BundleKind, name: &str, version: &str, platforms: &[Platform]) -> String {
    let stem = match kind {
        BundleKind::Plugin => format!("compass-plugins-{name}-{version}"),
        BundleKind::Hotfix => format!("compass-hotfixes-{name}-{version}"),
        BundleKind::Product => format!("{name}-{version}"),
    };
    let platforms: Vec<_> = platforms.iter().map(platform_name).collect();
    if platforms.is_empty() { stem } else { format!("{stem}-{}", platforms.join("+")) }
}

impl BundleDocument {
    /// The file name without `.tar.gz`, which is also the directory in the bundle.
    pub(crate) fn stem(&self) -> String {
        stem(self.kind, &self.name, &self.version, &self.platforms)
    }
}

/// Formats a platform for a file name: `linux-arm64`, `windows-10.0.17763-amd64`.
fn platform_name(platform: &Platform) -> String {
    let Platform { os, architecture, variant, os_version, .. } = platform;
    let words = [Some(os), os_version.as_ref(), Some(architecture), variant.as_ref()];
    words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("-")
}

/// Checks that platforms can be part of a file name.
pub(crate) fn validate_platforms(platforms: &[Platform]) -> Result<(), Error> {
    platforms.iter().try_for_each(|one| validate_name("platform", &platform_name(one)))
}

/// The file names of the image archives of a package, in the order of its images.
///
/// A name is the first of these forms that is unique among the images: the last component of the
/// repository; or the path below the project; or that path with the tag; or the whole repository
/// with the tag; or the latter with a prefix of the reference's digest.
pub(crate) fn archive_names(package: &str, version: &str, images: &[Reference]) -> Vec<String> {
    let name = |image: &Reference| image.repository().name().to_owned();
    let path = |image: &Reference| {
        let path = image.repository().as_str();
        path.split_once('/').map_or(path, |(_, below)| below).replace('/', "-")
    };
    let tagged =
        |image: &Reference| format!("{}-{}", path(image), image.tag_or_digest()).replace(':', "-");
    let whole = |image: &Reference| {
        format!("{}-{}", image.repository(), image.tag_or_digest()).replace(['/', ':'], "-")
    };
    let hashed = |image: &Reference| {
        format!("{}-{}", whole(image), &Digest::of(image.to_string().as_bytes()).hex()[..12])
    };
    let forms = [
        counted(images, name),
        counted(images, path),
        counted(images, tagged),
        counted(images, whole),
    ];
    let chosen: Vec<_> = (0..images.len())
        .map(|image| {
            let distinct = |form: &&Counted| form.1[&form.0[image].to_lowercase()] == 1;
            forms
                .iter()
                .find(distinct)
                .map_or_else(|| hashed(&images[image]), |(names, _)| names[image].clone())
        })
        .collect();
    // A name that is unique in its own form may equal a longer form of another image.
    let (chosen, counts) = counted(&chosen, Clone::clone);
    let names = chosen.into_iter().zip(images).map(|(name, image)| {
        let name = if counts[&name.to_lowercase()] == 1 { name } else { hashed(image) };
        format!("{package}-{name}-{version}{ARCHIVE_SUFFIX}")
    });
    names.collect()
}

/// Names, and how often each of them occurs in lower case.
type Counted = (Vec<String>, HashMap<String, usize>);

/// Formats all names, and counts them.
fn counted<T>(all: &[T], form: impl Fn(&T) -> String) -> Counted {
    let names: Vec<_> = all.iter().map(form).collect();
    let mut counts = HashMap::new();
    for name in &names {
        // Some file systems are case-insensitive.
        *counts.entry(name.to_lowercase()).or_default() += 1;
    }
    (names, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(images: &[&str]) -> Vec<String> {
        let images: Vec<Reference> = images.iter().map(|image| image.parse().unwrap()).collect();
        let short =
            |name: String| name["gpu-".len()..name.len() - "-v1-image.tar.gz".len()].to_owned();
        archive_names("gpu", "v1", &images).into_iter().map(short).collect()
    }

    #[test]
    fn validate_name_rejects_path_characters() {
        for bad in ["", ".", "..", "../x", "/etc", "a/b", "a b", "-x", "a\n", "\u{4e2d}"] {
            assert!(validate_name("version", bad).is_err(), "{bad:?}");
        }
        assert!(validate_name("version", "v1.0.0-rc.1").is_ok());
    }

    #[test]
    fn validate_path_accepts_colon_only_for_reading() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "C:a", "C:/a", "a\\b", "a\0"] {
            assert!(validate_path(bad).is_err(), "{bad:?}");
            assert!(validate_portable_path(bad).is_err(), "{bad:?}");
        }
        assert!(validate_path("gpu/redis:4.0.yaml").is_ok());
        assert!(validate_portable_path("gpu/redis:4.0.yaml").is_err());
        assert!(validate_portable_path("gpu/redis-4.0.yaml").is_ok());
    }

    #[test]
    fn archive_names_use_shortest_unique_form() {
        assert_eq!(names(&["h.x/release/web:v1", "h.x/release/api:v1"]), ["web", "api"]);
        assert_eq!(names(&["h.x/release/a/web:v1", "h.x/release/b/web:v1"]), ["a-web", "b-web"]);
        assert_eq!(names(&["h.x/release/web:v1", "h.x/release/web:v2"]), ["web-v1", "web-v2"]);
        let projects = names(&["h.x/release/web:v1", "h.x/library/web:v1"]);
        assert_eq!(projects, ["release-web-v1", "library-web-v1"]);
    }

    #[test]
    fn archive_names_are_unique() {
        for images in [
            &["h.x/release/a/b-c/web:v1", "h.x/release/a-b/c/web:v1"][..],
            &["h.x/release/web-v1:x", "h.x/release/web:v1", "h.x/release/web:v2"],
            &["h.x/release/web:v1", "h.x/release/web:V1"],
            &["h.x/release/web:v1", "g.x/release/web:v1"],
        ] {
            let names: Vec<_> = names(images).iter().map(|name| name.to_lowercase()).collect();
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), images.len(), "{names:?}");
        }
    }
}
