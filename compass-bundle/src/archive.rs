//! The image archive: one image as an OCI layout and a docker archive at once
//! (bundle format, "Image archive").

use bytes::Bytes;
use compass_registry::{Descriptor, Platform, RawManifest, media_type};
use serde_json::json;

use crate::document::{BundleImage, PlacedBlob};
use crate::image::ArchiveImage;
use crate::{Error, entry};

/// The tar of an image archive, before gzip.
pub(crate) struct Archive {
    pub(crate) parts: Vec<Part>,
    pub(crate) length: u64,
    pub(crate) image: BundleImage,
}

pub(crate) enum Part {
    Bytes(Bytes),
    Blob(Descriptor),
}

impl Part {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(descriptor) => descriptor.size,
        }
    }
}

/// Lays out an archive. `platform` is the one that tools see which know only single images.
pub(crate) fn lay_out(
    image: &ArchiveImage,
    platform: &Platform,
    modified: u64,
) -> Result<Archive, Error> {
    let mut tar = Layout { modified, parts: Vec::new(), literal: Vec::new(), position: 0 };
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.file("index.json", index(image).to_string().as_bytes())?;
    tar.file("manifest.json", docker_manifest(image, platform)?.to_string().as_bytes())?;
    tar.literal(&entry::directory("blobs/", modified)?);
    tar.literal(&entry::directory("blobs/sha256/", modified)?);

    let mut blobs = Vec::new();
    for manifest in std::iter::once(&image.root).chain(&image.children) {
        let offset = tar.blob_header(manifest.descriptor())?;
        blobs.push(PlacedBlob { descriptor: manifest.descriptor().clone(), offset });
        tar.literal(manifest.bytes());
        tar.literal(entry::padding(manifest.descriptor().size));
    }
    for descriptor in image.blobs()? {
        let offset = tar.blob_header(&descriptor)?;
        let size = descriptor.size;
        tar.blob(descriptor.clone());
        tar.literal(entry::padding(size));
        blobs.push(PlacedBlob { descriptor, offset });
    }
    tar.literal(&[0; entry::END]);
    tar.end_literal();
    let image = BundleImage {
        reference: image.reference.to_string(),
        digest: image.root.digest(),
        platform: image.platform.clone(),
        single_platform: platform.clone(),
        blobs,
    };
    Ok(Archive { parts: tar.parts, length: tar.position, image })
}

struct Layout {
    modified: u64,
    parts: Vec<Part>,
    literal: Vec<u8>,
    position: u64,
}

impl Layout {
    fn literal(&mut self, bytes: &[u8]) {
        self.literal.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.literal(&entry::file(path, size, self.modified)?);
        self.literal(bytes);
        self.literal(entry::padding(size));
        Ok(())
    }

    /// Begins the entry of a blob, and says where its bytes stand.
    fn blob_header(&mut self, blob: &Descriptor) -> Result<u64, Error> {
        let header = entry::file(&blob_path(blob), blob.size, self.modified)?;
        self.literal(&header);
        Ok(self.position)
    }

    fn blob(&mut self, descriptor: Descriptor) {
        self.end_literal();
        self.position += descriptor.size;
        self.parts.push(Part::Blob(descriptor));
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Bytes(std::mem::take(&mut self.literal).into()));
        }
    }
}

fn blob_path(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex())
}

fn index(image: &ArchiveImage) -> serde_json::Value {
    let mut entry = descriptor_json(&image.root);
    if let Some(platform) = &image.platform {
        entry["platform"] = json!(platform);
    }
    entry["annotations"] = json!({
        "io.containerd.image.name": image.reference.to_string(),
        "org.opencontainers.image.ref.name": image.reference.locator().to_string(),
    });
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry]})
}

fn descriptor_json(manifest: &RawManifest) -> serde_json::Value {
    let descriptor = manifest.descriptor();
    json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    })
}

/// What `docker load` reads.
fn docker_manifest(image: &ArchiveImage, platform: &Platform) -> Result<serde_json::Value, Error> {
    let (config, layers) = image.single(platform)?;
    let layers: Vec<String> = layers.iter().map(blob_path).collect();
    let tags: Vec<String> =
        image.reference.tag().map(|_| image.reference.to_string()).into_iter().collect();
    Ok(json!([{"Config": blob_path(&config), "RepoTags": tags, "Layers": layers}]))
}
