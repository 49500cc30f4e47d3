//! Which of an index's images are wanted.

use std::collections::HashSet;

use crate::{Descriptor, Digest, Error, Manifest, Platform, RawManifest};

/// What of a manifest is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it.
    Whole,
    /// One image of the index.
    One(Descriptor),
    /// Some images of the index, as an index of its own.
    Some(RawManifest),
}

/// Chooses the images for these platforms; all of them where there are none. Where digests are
/// given, there are no others than these.
///
/// # Errors
/// [`Error::NoSuchPlatform`] where the index has no image for one of them.
pub(super) fn select(
    what: &str,
    manifest: &RawManifest,
    platforms: &[Platform],
    only: Option<&HashSet<Digest>>,
) -> Result<Selection, Error> {
    if platforms.is_empty() && only.is_none() {
        return Ok(Selection::Whole);
    }
    let Manifest::Index(all) = manifest.parse()? else { return Ok(Selection::Whole) };
    let there = |image: &&Descriptor| only.is_none_or(|only| only.contains(&image.digest));
    let images: Vec<_> = all.iter().filter(there).cloned().collect();
    let wanted = if platforms.is_empty() { images } else { serving(what, &images, platforms)? };
    match &wanted[..] {
        [one] if all.len() > 1 || !platforms.is_empty() => Ok(Selection::One(one.clone())),
        _ if wanted.len() == all.len() => Ok(Selection::Whole),
        _ => reduced(manifest, &wanted).map(Selection::Some),
    }
}

/// For each platform the first image that serves it, each once.
fn serving(
    what: &str,
    images: &[Descriptor],
    platforms: &[Platform],
) -> Result<Vec<Descriptor>, Error> {
    let mut wanted = Vec::new();
    for platform in platforms {
        let serves =
            |image: &&Descriptor| image.platform.as_ref().is_some_and(|own| own.serves(platform));
        let image = images.iter().find(serves).ok_or_else(|| no_such(what, platform, images))?;
        if !wanted.contains(image) {
            wanted.push(image.clone());
        }
    }
    Ok(wanted)
}

fn no_such(what: &str, wanted: &Platform, images: &[Descriptor]) -> Error {
    let available = images.iter().filter_map(|image| image.platform.as_ref());
    let available: Vec<_> = available.map(ToString::to_string).collect();
    Error::NoSuchPlatform {
        what: what.to_owned(),
        wanted: wanted.to_string(),
        available: available.join(", "),
    }
}

/// The index with these images only, and whatever else it says.
fn reduced(index: &RawManifest, wanted: &[Descriptor]) -> Result<RawManifest, Error> {
    let bad =
        |reason: String| Error::BadContent { what: format!("index {}", index.digest()), reason };
    let mut value: serde_json::Value =
        serde_json::from_slice(index.bytes()).map_err(|error| bad(error.to_string()))?;
    let digests: HashSet<_> = wanted.iter().map(|image| image.digest.to_string()).collect();
    let images = value.get_mut("manifests").and_then(serde_json::Value::as_array_mut);
    let images = images.ok_or_else(|| bad("it has no `manifests`".to_owned()))?;
    images.retain(|image| image["digest"].as_str().is_some_and(|own| digests.contains(own)));
    Ok(RawManifest::new(index.descriptor().media_type.clone(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::{OCI_INDEX, OCI_MANIFEST};

    fn index(platforms: &[&str]) -> RawManifest {
        let images = platforms.iter().map(|platform| {
            let (os, architecture) = platform.split_once('/').unwrap();
            serde_json::json!({
                "mediaType": OCI_MANIFEST, "size": 2, "digest": Digest::of(platform.as_bytes()),
                "platform": {"os": os, "architecture": architecture},
            })
        });
        let images: Vec<_> = images.collect();
        let text = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images,
            "annotations": {"kept": "yes"},
        });
        RawManifest::new(OCI_INDEX, text.to_string())
    }

    fn platforms(names: &[&str]) -> Vec<Platform> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn one_platform_is_one_image_and_all_of_them_are_the_index() {
        let whole = index(&["linux/amd64", "linux/arm64"]);
        let select = |wanted: &[&str]| select("a:v1", &whole, &platforms(wanted), None);
        assert_eq!(select(&[]).unwrap(), Selection::Whole);
        assert_eq!(select(&["linux/arm64", "linux/amd64"]).unwrap(), Selection::Whole);
        let Selection::One(image) = select(&["linux/arm64"]).unwrap() else { panic!("one") };
        assert_eq!(image.digest, Digest::of(b"linux/arm64"));
        let error = select(&["linux/s390x"]).unwrap_err().to_string();
        assert!(error.contains("linux/s390x; it has linux/amd64, linux/arm64"), "{error}");
    }

    #[test]
    fn several_platforms_are_an_index_that_keeps_everything_else() {
        let whole = index(&["linux/amd64", "linux/arm64", "windows/amd64"]);
        let wanted = platforms(&["linux/amd64", "linux/arm64"]);
        let Selection::Some(some) = select("a:v1", &whole, &wanted, None).unwrap() else {
            panic!("several")
        };
        assert_eq!(some, index(&["linux/amd64", "linux/arm64"]));
    }

    #[test]
    fn of_an_index_of_which_not_everything_is_there_the_rest_is_left_out() {
        let whole = index(&["linux/amd64", "linux/arm64", "windows/amd64"]);
        let select = |there: &[&str]| {
            let there = there.iter().map(|image| Digest::of(image.as_bytes())).collect();
            select("a:v1", &whole, &[], Some(&there)).unwrap()
        };
        assert_eq!(select(&["linux/amd64", "linux/arm64", "windows/amd64"]), Selection::Whole);
        let some = Selection::Some(index(&["linux/arm64", "windows/amd64"]));
        assert_eq!(select(&["windows/amd64", "linux/arm64"]), some);
        let Selection::One(one) = select(&["linux/arm64"]) else { panic!("one") };
        assert_eq!(one.digest, Digest::of(b"linux/arm64"));
    }
}
