//! What differs between two bundles.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use compass_registry::{Descriptor, Digest, ImageSourceExt as _};

use crate::Error;
use crate::plan::image::ArchiveImage;
use crate::read::Bundle;

/// What differs between two bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The sizes of the files in bytes.
    pub sizes: (u64, u64),
    /// Small files that differ, or that only one has.
    pub files: Vec<FileChange>,
    /// Images that differ, or that only one has.
    pub images: Vec<ImageChange>,
    /// The images that are the same.
    pub same_images: usize,
    /// Bytes of blobs that both have.
    pub shared_bytes: u64,
    /// Bytes of blobs that only the second has.
    pub new_bytes: u64,
}

/// A small file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The path below the bundle's directory.
    pub path: String,
    /// The bytes in the first bundle.
    pub old: Option<Bytes>,
    /// The bytes in the second.
    pub new: Option<Bytes>,
}

/// An image that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The repository.
    pub name: String,
    /// The image in the first bundle.
    pub old: Option<ImageSide>,
    /// The image in the second.
    pub new: Option<ImageSide>,
    /// Layers that both have.
    pub shared: Vec<Descriptor>,
    /// Layers that only the first has.
    pub removed: Vec<Descriptor>,
    /// Layers that only the second has.
    pub added: Vec<Descriptor>,
}

/// An image in one of two bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSide {
    /// The release registry's reference.
    pub reference: String,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// The configuration, of the platform that tools see which know only single images.
    pub config: Bytes,
}

/// Compares two bundles. Only manifests, configurations and small files are read.
///
/// # Errors
/// Where one of them cannot be read.
pub async fn compare(old: &Bundle, new: &Bundle) -> Result<Comparison, Error> {
    let (old_images, new_images) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old_images.keys().chain(new_images.keys()).collect();
    let (mut images, mut same_images) = (Vec::new(), 0);
    for name in names {
        let sides = (old_images.get(name).copied(), new_images.get(name).copied());
        if let (Some(one), Some(other)) = sides
            && one.root.digest() == other.root.digest()
            && one.reference == other.reference
        {
            same_images += 1;
            continue;
        }
        images.push(image_change(name, (old, sides.0), (new, sides.1)).await?);
    }
    let (old_blobs, new_blobs) = (blobs(old), blobs(new));
    let (shared, added): (Vec<_>, Vec<_>) =
        new_blobs.iter().partition(|(digest, _)| old_blobs.contains_key(*digest));
    let sum = |blobs: &[(&Digest, &u64)]| blobs.iter().map(|(_, size)| **size).sum();
    Ok(Comparison {
        sizes: (old.size(), new.size()),
        files: file_changes(old, new).await?,
        images,
        same_images,
        shared_bytes: sum(&shared),
        new_bytes: sum(&added),
    })
}

/// Images by their repository; where a bundle has several of one, with their tags.
fn by_name(bundle: &Bundle) -> BTreeMap<String, &ArchiveImage> {
    let name = |image: &ArchiveImage| image.reference.repository().to_string();
    let named = bundle.images().iter().map(|image| {
        let alone = bundle.images().iter().filter(|other| name(other) == name(image)).count() == 1;
        let key = match alone {
            true => name(image),
            false => format!("{}:{}", name(image), image.reference.locator()),
        };
        (key, image)
    });
    named.collect()
}

async fn image_change(
    name: &str,
    (old, old_image): (&Bundle, Option<&ArchiveImage>),
    (new, new_image): (&Bundle, Option<&ArchiveImage>),
) -> Result<ImageChange, Error> {
    let (old, old_layers) = side(old, old_image).await?.unzip();
    let (new, new_layers) = side(new, new_image).await?.unzip();
    let (old_layers, new_layers) = (old_layers.unwrap_or_default(), new_layers.unwrap_or_default());
    let has = |layers: &[Descriptor], layer: &Descriptor| {
        layers.iter().any(|other| other.digest == layer.digest)
    };
    let (shared, added): (Vec<_>, Vec<_>) =
        new_layers.into_iter().partition(|layer| has(&old_layers, layer));
    let removed: Vec<_> = old_layers.into_iter().filter(|layer| !has(&shared, layer)).collect();
    Ok(ImageChange { name: name.to_owned(), old, new, shared, removed, added })
}

async fn side(
    bundle: &Bundle,
    image: Option<&ArchiveImage>,
) -> Result<Option<(ImageSide, Vec<Descriptor>)>, Error> {
    let Some(image) = image else { return Ok(None) };
    let (config, layers) = image.single(&bundle.single_platform())?;
    let side = ImageSide {
        reference: image.reference.to_string(),
        digest: image.root.digest(),
        config: bundle.read(image.reference.repository(), &config).await?,
    };
    Ok(Some((side, layers)))
}

async fn file_changes(old: &Bundle, new: &Bundle) -> Result<Vec<FileChange>, Error> {
    let digests = |bundle: &Bundle| -> BTreeMap<String, Option<Digest>> {
        let small = bundle.document().files.iter().filter(|file| file.image.is_none());
        small.map(|file| (file.path.clone(), file.digest)).collect()
    };
    let (olds, news) = (digests(old), digests(new));
    let mut changes = Vec::new();
    for path in olds.keys().chain(news.keys()).collect::<BTreeSet<_>>() {
        if olds.get(path) == news.get(path) {
            continue;
        }
        let (mut before, mut after) = (None, None);
        if olds.contains_key(path) {
            before = Some(old.file(path).await?);
        }
        if news.contains_key(path) {
            after = Some(new.file(path).await?);
        }
        changes.push(FileChange { path: path.clone(), old: before, new: after });
    }
    Ok(changes)
}

fn blobs(bundle: &Bundle) -> BTreeMap<Digest, u64> {
    let blobs = bundle.plan().blobs().iter();
    blobs.map(|blob| (blob.descriptor.digest, blob.descriptor.size)).collect()
}
