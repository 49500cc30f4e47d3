//! An image archive (bundle format, "Image archive").
//!
//! It is an OCI image layout and a docker archive at once. An archive in a bundle contains one image;
//! one that is extracted for a container runtime may contain several.

use std::collections::HashSet;

use compass_registry::{ANNOTATION_REF_NAME, Descriptor, Platform, RawManifest, media_type};
use serde_json::json;

use super::image::ArchiveImage;
use super::tar::{Part, TarLayout, blob_path};
use crate::Error;
use crate::format::document::BundleImage;
use crate::format::gzip;
use crate::format::tar_entry;

/// The content of the file `oci-layout` (OCI image layout, "oci-layout file").
pub(crate) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The tar of an image archive, before gzip.
pub(crate) struct Archive {
    pub(crate) parts: Vec<Part>,
    pub(crate) image: BundleImage,
}

impl Archive {
    /// The size of the file in bytes. Every part is a gzip member.
    pub(crate) fn size(&self) -> u64 {
        let sizes = self.parts.iter().map(|part| gzip::member_size(part.size()));
        sizes.fold(0, u64::saturating_add)
    }
}

/// Lays out an archive. Tools without index support load the image for `platform`.
pub(crate) fn layout(
    image: &ArchiveImage,
    platform: &Platform,
    modified: u64,
) -> Result<Archive, Error> {
    let mut tar = TarLayout::new("", modified);
    let tag = image.reference.tag_or_digest().to_string();
    add_lists(&mut tar, &[index_entry(image, &tag)], &[docker_manifest(image, platform)?])?;

    let mut blobs = Vec::new();
    for manifest in image.manifests() {
        blobs.push(tar.manifest(manifest)?);
    }
    for descriptor in image.blobs()? {
        blobs.push(tar.blob(&descriptor)?);
    }
    Ok(Archive { parts: tar.end()?, image: BundleImage { blobs, ..image.described(platform) } })
}

/// Lays out an uncompressed archive of several images up to the first configuration or layer.
///
/// `images` has each image with the platform that tools without index support load. Returns the
/// parts, and the configurations and layers that follow, each once.
pub(crate) fn begin_set(
    images: &[(ArchiveImage, Platform)],
    modified: u64,
) -> Result<(Vec<Part>, Vec<Descriptor>), Error> {
    let mut tar = TarLayout::new("", modified);
    let entry =
        |(image, _): &(ArchiveImage, Platform)| index_entry(image, &image.reference.to_string());
    let oci: Vec<_> = images.iter().map(entry).collect();
    let docker = images.iter().map(|(image, platform)| docker_manifest(image, platform));
    add_lists(&mut tar, &oci, &docker.collect::<Result<Vec<_>, _>>()?)?;
    let (mut blobs, mut seen) = (Vec::new(), HashSet::new());
    for (image, _) in images {
        for manifest in image.manifests() {
            if seen.insert(manifest.digest()) {
                tar.manifest(manifest)?;
            }
        }
    }
    for (image, _) in images {
        blobs.extend(image.blobs()?.into_iter().filter(|blob| seen.insert(blob.digest)));
    }
    Ok((tar.into_parts()?, blobs))
}

/// Adds the files that list the images, and the directories of the blobs.
fn add_lists(
    tar: &mut TarLayout,
    oci: &[serde_json::Value],
    docker: &[serde_json::Value],
) -> Result<(), Error> {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": oci,
    });
    tar.file("oci-layout", tar_entry::FILE_MODE, OCI_LAYOUT)?;
    tar.file("index.json", tar_entry::FILE_MODE, index.to_string().as_bytes())?;
    let docker = json!(docker).to_string();
    tar.file("manifest.json", tar_entry::FILE_MODE, docker.as_bytes())?;
    tar.directory("blobs/")?;
    tar.directory("blobs/sha256/")
}

/// The entry of an image in `index.json`, with a reference name.
pub(crate) fn index_entry(image: &ArchiveImage, name: &str) -> serde_json::Value {
    let mut entry = descriptor_json(&image.root);
    if let Some(platform) = &image.platform {
        entry["platform"] = json!(platform);
    }
    entry["annotations"] = json!({
        "io.containerd.image.name": image.reference.to_string(),
        ANNOTATION_REF_NAME: name,
    });
    entry
}

fn descriptor_json(manifest: &RawManifest) -> serde_json::Value {
    let descriptor = manifest.descriptor();
    json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    })
}

/// The entry of an image in the `manifest.json` that `docker load` reads.
fn docker_manifest(image: &ArchiveImage, platform: &Platform) -> Result<serde_json::Value, Error> {
    let (config, layers) = image.default_image(platform)?;
    if let Some(missing) = layers.iter().find(|layer| !image.is_available(layer)) {
        return Err(Error::InvalidInput(format!(
            "{} cannot be packaged as an archive: the registry does not have its non-distributable \
             layer {}, and only its publisher distributes it",
            image.reference, missing.digest
        )));
    }
    let layers: Vec<String> = layers.iter().map(blob_path).collect();
    let reference = image.reference.with_default_tag();
    let tags: Vec<String> = reference.tag().map(|_| reference.to_string()).into_iter().collect();
    Ok(json!({"Config": blob_path(&config), "RepoTags": tags, "Layers": layers}))
}
