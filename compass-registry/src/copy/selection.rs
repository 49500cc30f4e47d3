//! Selects the images of an index to copy.

use std::collections::HashSet;

use crate::{CopyOptions, Descriptor, Error, Manifest, Platform, RawManifest, index_images};

/// The part of a manifest to copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The manifest as it is.
    Whole,
    /// One image of the index.
    One(Descriptor),
    /// An index of some of its images.
    Subset(RawManifest),
}

/// Selects the images for [`CopyOptions::platforms`], or all images if there are none.
///
/// `images` are the images of the index and of the indexes in it
/// ([`ImageSourceExt::images_of`](crate::ImageSourceExt::images_of)). If
/// [`CopyOptions::available`] is set, images with other digests are ignored. A single image is
/// always selected whole.
///
/// # Errors
/// [`Error::NoSuchPlatform`] if the index has no image for one of the platforms;
/// [`Error::AmbiguousPlatform`] if it has several for the only one; [`Error::InvalidContent`] if an
/// index of indexes would have to be split.
pub(super) fn select(
    what: &str,
    manifest: &RawManifest,
    images: &[Descriptor],
    options: &CopyOptions,
) -> Result<Selection, Error> {
    let CopyOptions { platforms, available, .. } = options;
    if platforms.is_empty() && available.is_none() {
        return Ok(Selection::Whole);
    }
    let Manifest::Index(all) = manifest.parse()? else { return Ok(Selection::Whole) };
    let is_available = |image: &&Descriptor| {
        available.as_ref().is_none_or(|digests| digests.contains(&image.digest))
    };
    let selected = match &platforms[..] {
        [] => all.iter().filter(is_available).cloned().collect(),
        platforms => {
            let images: Vec<_> = images.iter().filter(is_available).cloned().collect();
            select_by_platform(what, &images, platforms)?
        }
    };
    let is_direct = selected.iter().all(|one| contains(&all, one));
    match &selected[..] {
        [one] if all.len() > 1 || !platforms.is_empty() => Ok(Selection::One(one.clone())),
        _ if is_direct && selected.len() == all.len() => Ok(Selection::Whole),
        _ if is_direct => subset(manifest, &selected).map(Selection::Subset),
        _ => Err(Error::InvalidContent {
            what: what.to_owned(),
            reason: "it is an index of indexes, from which several platforms cannot be selected: \
                     select one platform, or all"
                .to_owned(),
        }),
    }
}

fn contains(entries: &[Descriptor], image: &Descriptor) -> bool {
    entries.iter().any(|entry| entry.digest == image.digest)
}

/// Returns the images that match each platform best, without duplicates.
/// With several platforms, all versions of an operating system are kept, because the host that
/// pulls the index chooses between them.
fn select_by_platform(
    what: &str,
    images: &[Descriptor],
    platforms: &[Platform],
) -> Result<Vec<Descriptor>, Error> {
    let mut selected: Vec<Descriptor> = Vec::new();
    for platform in platforms {
        let best = match (platform.best_of(images), platforms.len()) {
            (best, 2..) if !best.is_empty() => best,
            _ => vec![index_images::select_image(what, images, platform)?],
        };
        for image in best {
            if !contains(&selected, image) {
                selected.push(image.clone());
            }
        }
    }
    Ok(selected)
}

/// Returns the index with these images only. All other fields are kept.
fn subset(index: &RawManifest, selected: &[Descriptor]) -> Result<RawManifest, Error> {
    let invalid = |reason: String| Error::InvalidContent {
        what: format!("index {}", index.digest()),
        reason,
    };
    let mut value: serde_json::Value =
        serde_json::from_slice(index.bytes()).map_err(|error| invalid(error.to_string()))?;
    let digests: HashSet<_> = selected.iter().map(|image| image.digest.to_string()).collect();
    let images = value.get_mut("manifests").and_then(serde_json::Value::as_array_mut);
    let images = images.ok_or_else(|| invalid("it has no `manifests`".to_owned()))?;
    images.retain(|image| image["digest"].as_str().is_some_and(|own| digests.contains(own)));
    Ok(RawManifest::new(index.descriptor().media_type.clone(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
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

    fn options(platforms: &[&str]) -> CopyOptions {
        let platforms = platforms.iter().map(|name| name.parse().unwrap());
        CopyOptions::default().platforms(platforms.collect())
    }

    /// Selects from an index without nested indexes.
    fn select_flat(
        index: &RawManifest,
        wanted: &[&str],
        available: Option<HashSet<Digest>>,
    ) -> Result<Selection, Error> {
        let Manifest::Index(images) = index.parse().unwrap() else { panic!("an index") };
        select("a:v1", index, &images, &options(wanted).available(available))
    }

    #[test]
    fn select_all_platforms_is_whole_index() {
        let whole = index(&["linux/amd64", "linux/arm64"]);
        let select = |wanted: &[&str]| select_flat(&whole, wanted, None);
        assert_eq!(select(&[]).unwrap(), Selection::Whole);
        assert_eq!(select(&["linux/arm64", "linux/amd64"]).unwrap(), Selection::Whole);
    }

    #[test]
    fn select_one_platform_is_one_image() {
        let whole = index(&["linux/amd64", "linux/arm64"]);
        let Selection::One(image) = select_flat(&whole, &["linux/arm64"], None).unwrap() else {
            panic!("one")
        };
        assert_eq!(image.digest, Digest::of(b"linux/arm64"));
    }

    #[test]
    fn select_unknown_platform_lists_platforms() {
        let whole = index(&["linux/amd64", "linux/arm64"]);
        let error = select_flat(&whole, &["linux/s390x"], None).unwrap_err().to_string();
        assert!(error.contains("linux/s390x; it has linux/amd64, linux/arm64"), "{error}");
    }

    #[test]
    fn select_several_platforms_keeps_other_fields() {
        let whole = index(&["linux/amd64", "linux/arm64", "windows/amd64"]);
        let wanted = ["linux/amd64", "linux/arm64"];
        let Selection::Subset(subset) = select_flat(&whole, &wanted, None).unwrap() else {
            panic!("several")
        };
        assert_eq!(subset, index(&["linux/amd64", "linux/arm64"]));
    }

    #[test]
    fn select_available_leaves_out_the_rest() {
        let whole = index(&["linux/amd64", "linux/arm64", "windows/amd64"]);
        let select = |available: &[&str]| {
            let available = available.iter().map(|image| Digest::of(image.as_bytes())).collect();
            select_flat(&whole, &[], Some(available)).unwrap()
        };
        assert_eq!(select(&["linux/amd64", "linux/arm64", "windows/amd64"]), Selection::Whole);
        let subset = Selection::Subset(index(&["linux/arm64", "windows/amd64"]));
        assert_eq!(select(&["windows/amd64", "linux/arm64"]), subset);
        let Selection::One(one) = select(&["linux/arm64"]) else { panic!("one") };
        assert_eq!(one.digest, Digest::of(b"linux/arm64"));
    }

    #[test]
    fn select_nested_index_allows_one_platform() {
        let whole = index(&["linux/amd64"]);
        let inner: Vec<_> = ["linux/arm64", "linux/s390x"]
            .map(|platform| Descriptor {
                platform: Some(platform.parse().unwrap()),
                ..Descriptor::of(OCI_MANIFEST, platform.as_bytes())
            })
            .into();
        let select = |wanted: &[&str]| select("a:v1", &whole, &inner, &options(wanted));
        let Selection::One(one) = select(&["linux/s390x"]).unwrap() else { panic!("one") };
        assert_eq!(one.digest, Digest::of(b"linux/s390x"));
        let error = select(&["linux/s390x", "linux/arm64"]).unwrap_err().to_string();
        assert!(error.contains("index of indexes"), "{error}");
    }
}
