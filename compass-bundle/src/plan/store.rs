//! The image store of a product bundle (bundle format, "Image store").
//!
//! It is an OCI image layout that contains every blob once.

use std::collections::BTreeSet;

use compass_registry::{Platform, media_type};
use serde_json::json;

use super::archive::{OCI_LAYOUT, index_entry};
use super::image::ArchiveImage;
use super::tar::{Part, TarLayout};
use crate::Error;
use crate::format::document::ImageStore;
use crate::format::tar_entry;

/// The directory of the store in a bundle.
pub(crate) const PATH: &str = "images";

/// The entries of a store and its description in `bundle.json`.
pub(crate) struct Store {
    pub(crate) parts: Vec<Part>,
    pub(crate) described: ImageStore,
}

/// Lays out a store. Tools without index support load the images for `platform`.
pub(crate) fn layout(
    stem: &str,
    images: &[ArchiveImage],
    platform: &Platform,
    modified: u64,
) -> Result<Store, Error> {
    let mut tar = TarLayout::new(format!("{stem}/{PATH}/"), modified);
    tar.directory("")?;
    tar.file("oci-layout", tar_entry::FILE_MODE, OCI_LAYOUT)?;
    tar.file("index.json", tar_entry::FILE_MODE, &index(images))?;
    tar.directory("blobs/")?;
    tar.directory("blobs/sha256/")?;

    let (mut blobs, mut seen) = (Vec::new(), BTreeSet::new());
    for manifest in images.iter().flat_map(ArchiveImage::manifests) {
        if seen.insert(manifest.digest()) {
            blobs.push(tar.manifest(manifest)?);
        }
    }
    // Configurations precede all layers, so that readers know the images early.
    let all = images.iter().map(ArchiveImage::blobs).collect::<Result<Vec<_>, _>>()?;
    let is_config = |blob: &&compass_registry::Descriptor| !is_layer(&blob.media_type);
    let configs = all.iter().flatten().filter(is_config);
    let layers = all.iter().flatten().filter(|blob| is_layer(&blob.media_type));
    for descriptor in configs.chain(layers) {
        if seen.insert(descriptor.digest) {
            blobs.push(tar.blob(descriptor)?);
        }
    }
    let images = images.iter().map(|image| image.described(platform));
    let described = ImageStore { path: PATH.to_owned(), images: images.collect(), blobs };
    Ok(Store { parts: tar.into_parts()?, described })
}

fn is_layer(kind: &str) -> bool {
    kind.contains("layer") || kind.contains("rootfs")
}

fn index(images: &[ArchiveImage]) -> Vec<u8> {
    let entry = |image: &ArchiveImage| index_entry(image, &image.reference.to_string());
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": images.iter().map(entry).collect::<Vec<_>>(),
    });
    index.to_string().into_bytes()
}
