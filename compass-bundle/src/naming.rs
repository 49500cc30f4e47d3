//! Names of bundles and of the image archives in them (bundle format, "Names").

use std::collections::HashMap;

use compass_registry::Reference;

use crate::Error;
use crate::document::Kind;

/// What the names of image archives end in.
pub(crate) const ARCHIVE_END: &str = "-image.tar.gz";

/// Names become parts of paths, also of bundles that come from elsewhere.
pub(crate) fn require_plain(what: &str, text: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
        Ok(())
    } else {
        Err(Error::Unplannable(format!(
            "`{}` is not a {what}: expected letters, digits, `.`, `_`, `-`",
            text.escape_debug()
        )))
    }
}

/// Paths of files that are written into bundles stay inside, on every system.
pub(crate) fn require_portable(path: &str) -> Result<(), Error> {
    if path.contains(':') {
        return Err(outside(path));
    }
    require_inside(path)
}

/// Paths of files stay inside the directory that they are unpacked to. Others name files with
/// colons, as images are, though not after one letter: that is a drive.
pub(crate) fn require_inside(path: &str) -> Result<(), Error> {
    let bad = |step: &str| matches!(step, "" | "." | "..") || step.contains('\\');
    let has_drive = path.find(':') == Some(1);
    if has_drive || path.split('/').any(bad) || path.chars().any(char::is_control) {
        return Err(outside(path));
    }
    Ok(())
}

fn outside(path: &str) -> Error {
    Error::Unplannable(format!("`{}` is no path inside a bundle", path.escape_debug()))
}

/// The file name of a bundle without `.tar.gz`.
pub fn stem(kind: Kind, name: &str, version: &str) -> String {
    match kind {
        Kind::Plugin => format!("compass-plugins-{name}-{version}"),
        Kind::Hotfix => format!("compass-hotfixes-{name}-{version}"),
        Kind::Product => format!("{name}-{version}"),
    }
}

/// The names of the image archives of a package, in the order of its images: the last element of
/// the repository; where two images share it, the path below the project; where even that is equal,
/// followed by the tag.
pub fn archive_names(package: &str, version: &str, images: &[Reference]) -> Vec<String> {
    let name = |image: &Reference| image.repository().name().to_owned();
    let path = |image: &Reference| {
        let path = image.repository().as_str();
        path.split_once('/').map_or(path, |(_, below)| below).replace('/', "-")
    };
    let tagged =
        |image: &Reference| format!("{}-{}", path(image), image.locator()).replace(':', "-");
    let forms = [counted(images, name), counted(images, path), counted(images, tagged)];
    let chosen = (0..images.len()).map(|image| {
        let distinct = forms.iter().find(|(names, counts)| counts[&names[image]] == 1);
        let (names, _) = distinct.unwrap_or(&forms[2]);
        format!("{package}-{}-{version}{ARCHIVE_END}", names[image])
    });
    chosen.collect()
}

/// The names of all images in one form, and how many have each.
fn counted(
    images: &[Reference],
    form: impl Fn(&Reference) -> String,
) -> (Vec<String>, HashMap<String, usize>) {
    let names: Vec<_> = images.iter().map(form).collect();
    let mut counts = HashMap::new();
    for name in &names {
        *counts.entry(name.clone()).or_default() += 1;
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
    fn a_name_that_would_lead_elsewhere_is_refused() {
        for bad in ["", ".", "..", "../x", "/etc", "a/b", "a b", "-x", "a\n", "\u{4e2d}"] {
            assert!(require_plain("version", bad).is_err(), "{bad:?}");
        }
        assert!(require_plain("version", "v1.0.0-rc.1").is_ok());
    }

    #[test]
    fn colons_are_read_and_never_written() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "C:a", "C:/a", "a\\b", "a\0"] {
            assert!(require_inside(bad).is_err(), "{bad:?}");
            assert!(require_portable(bad).is_err(), "{bad:?}");
        }
        assert!(require_inside("gpu/redis:4.0.yaml").is_ok());
        assert!(require_portable("gpu/redis:4.0.yaml").is_err());
        assert!(require_portable("gpu/redis-4.0.yaml").is_ok());
    }

    #[test]
    fn an_archive_is_named_by_as_little_of_its_image_as_tells_it_apart() {
        assert_eq!(names(&["h.x/release/web:v1", "h.x/release/api:v1"]), ["web", "api"]);
        assert_eq!(names(&["h.x/release/a/web:v1", "h.x/release/b/web:v1"]), ["a-web", "b-web"]);
        assert_eq!(names(&["h.x/release/web:v1", "h.x/release/web:v2"]), ["web-v1", "web-v2"]);
    }
}
