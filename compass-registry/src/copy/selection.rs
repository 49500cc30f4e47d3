//! Which of an index's images are wanted.

use std::collections::HashSet;

use crate::{Descriptor, Digest, Error, Manifest, Platform, RawManifest, index_images};

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

/// Chooses the images for these platforms; all of them if there are none. If digests are given, the
/// source has no others than these. `images` are those of the index, and of the indexes in it
/// ([`ImageSourceExt::images_of`](crate::ImageSourceExt::images_of)).
///
/// # Errors
/// [`Error::NoSuchPlatform`] if the index has no image for one of them, and
/// [`Error::AmbiguousPlatform`] if it has several for the only one.
pub(super) fn select(
    what: &str,
    manifest: &RawManifest,
    images: &[Descriptor],
    (platforms, only): (&[Platform], Option<&HashSet<Digest>>),
) -> Result<Selection, Error> {
    if platforms.is_empty() && only.is_none() {
        return Ok(Selection::Whole);
    }
    let Manifest::Index(all) = manifest.parse()? else { return Ok(Selection::Whole) };
    let available = |image: &&Descriptor| only.is_none_or(|only| only.contains(&image.digest));
    let wanted = match platforms {
        [] => all.iter().filter(available).cloned().collect(),
        platforms => {
            let images: Vec<_> = images.iter().filter(available).cloned().collect();
            suitable(what, &images, platforms)?
        }
    };
    match &wanted[..] {
        [one] if all.len() > 1 || !platforms.is_empty() => Ok(Selection::One(one.clone())),
        _ if wanted.len() == all.len() && wanted.iter().all(|one| is_in(&all, one)) => {
            Ok(Selection::Whole)
        }
        _ if wanted.iter().all(|one| is_in(&all, one)) => {
            reduced(manifest, &wanted).map(Selection::Some)
        }
        _ => Err(Error::InvalidContent {
            what: what.to_owned(),
            reason:
                "it is an index of indexes, of which several platforms cannot be taken: take one \
                     (`--platform`), or all"
                    .to_owned(),
        }),
    }
}

fn is_in(entries: &[Descriptor], image: &Descriptor) -> bool {
    entries.iter().any(|entry| entry.digest == image.digest)
}

/// For each platform the images that suit it best, each once. Of an index for several platforms, all
/// versions of an operating system are kept, as its user chooses between them.
fn suitable(
    what: &str,
    images: &[Descriptor],
    platforms: &[Platform],
) -> Result<Vec<Descriptor>, Error> {
    let mut wanted: Vec<Descriptor> = Vec::new();
    for platform in platforms {
        let best = match (platform.best_of(images), platforms.len()) {
            (best, 2..) if !best.is_empty() => best,
            _ => vec![index_images::choose(what, images, platform)?],
        };
        for image in best {
            if !is_in(&wanted, image) {
                wanted.push(image.clone());
            }
        }
    }
    Ok(wanted)
}

/// The index with these images only, and whatever else it says.
fn reduced(index: &RawManifest, wanted: &[Descriptor]) -> Result<RawManifest, Error> {
    let bad = |reason: String| Error::InvalidContent {
        what: format!("index {}", index.digest()),
        reason,
    };
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

    /// Selects of an index whose entries are all of its images.
    fn selected(
        index: &RawManifest,
        wanted: &[&str],
        only: Option<&HashSet<Digest>>,
    ) -> Result<Selection, Error> {
        let Manifest::Index(images) = index.parse().unwrap() else { panic!("an index") };
        select("a:v1", index, &images, (&platforms(wanted), only))
    }

    #[test]
    fn one_platform_is_one_image_and_all_of_them_are_the_index() {
        let whole = index(&["linux/amd64", "linux/arm64"]);
        let select = |wanted: &[&str]| selected(&whole, wanted, None);
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
        let wanted = ["linux/amd64", "linux/arm64"];
        let Selection::Some(some) = selected(&whole, &wanted, None).unwrap() else {
            panic!("several")
        };
        assert_eq!(some, index(&["linux/amd64", "linux/arm64"]));
    }

    #[test]
    fn of_an_index_of_which_not_everything_is_there_the_rest_is_left_out() {
        let whole = index(&["linux/amd64", "linux/arm64", "windows/amd64"]);
        let select = |there: &[&str]| {
            let there = there.iter().map(|image| Digest::of(image.as_bytes())).collect();
            selected(&whole, &[], Some(&there)).unwrap()
        };
        assert_eq!(select(&["linux/amd64", "linux/arm64", "windows/amd64"]), Selection::Whole);
        let some = Selection::Some(index(&["linux/arm64", "windows/amd64"]));
        assert_eq!(select(&["windows/amd64", "linux/arm64"]), some);
        let Selection::One(one) = select(&["linux/arm64"]) else { panic!("one") };
        assert_eq!(one.digest, Digest::of(b"linux/arm64"));
    }

    #[test]
    fn images_of_inner_indexes_are_taken_alone() {
        let whole = index(&["linux/amd64"]);
        let inner: Vec<_> = ["linux/arm64", "linux/s390x"]
            .map(|platform| Descriptor {
                platform: Some(platform.parse().unwrap()),
                ..Descriptor::of(OCI_MANIFEST, platform.as_bytes())
            })
            .into();
        let select = |wanted: &[&str]| select("a:v1", &whole, &inner, (&platforms(wanted), None));
        let Selection::One(one) = select(&["linux/s390x"]).unwrap() else { panic!("one") };
        assert_eq!(one.digest, Digest::of(b"linux/s390x"));
        let error = select(&["linux/s390x", "linux/arm64"]).unwrap_err().to_string();
        assert!(error.contains("index of indexes"), "{error}");
    }
}
