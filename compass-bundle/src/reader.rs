//! Reads a bundle by offset: nothing is unpacked.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, Locator, RawManifest,
    Reference, Repository,
};
use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;

use crate::document::{BundleDocument, BundleFile, BundleImage, FILE_NAME, FORMAT_VERSION};
use crate::frame;
use crate::image::ArchiveImage;
use crate::plan::{BundlePlan, Content, PluginContents};
use crate::raw::{Nested, RawTar};
use crate::{Error, entry};

/// The largest `bundle.json` that is read.
const MAX_DOCUMENT: u64 = 16 << 20;

/// The largest other small file that is read: the limit of release manifests.
const MAX_FILE: u64 = 4 << 20;

/// Bytes of a blob that are read at once.
const READ: u64 = 512 << 10;

/// A bundle on disk.
///
/// Opening it reads the small things at its beginning, plans the bundle from them once more, and
/// compares: what is open has the structure that this crate writes, and every offset lies within.
/// Layers are not read; [`Bundle::verify`] does that. As an [`ImageSource`] it has the images under
/// their release references.
#[derive(Debug, Clone)]
pub struct Bundle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tar: RawTar,
    plan: BundlePlan,
    images: Vec<ArchiveImage>,
    manifest: Bytes,
    blobs: HashMap<Digest, (Nested, u64)>,
}

impl Bundle {
    /// Opens a bundle.
    ///
    /// # Errors
    /// [`Error::NotABundle`] for other files, [`Error::Damaged`] where its parts contradict each
    /// other.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let tar = RawTar::open(path)?;
        let (document, mut position) = read_document(&tar)?;
        let mut manifest = None;
        let mut images = Vec::new();
        for file in &document.files {
            let start = position + entry::BLOCK;
            if file.size > tar.length() {
                return Err(Error::not_a_bundle(path, "it points beyond its own end"));
            }
            match &file.image {
                Some(image) => images.push(read_image(&tar, start, file, image)?),
                None if file.size <= MAX_FILE && manifest.is_none() => {
                    manifest = Some(Bytes::from(tar.read(start..start + file.size)?));
                }
                None => return Err(Error::not_a_bundle(path, "it holds unknown files")),
            }
            position += entry::size(file.size);
        }
        let manifest =
            manifest.ok_or_else(|| Error::not_a_bundle(path, "it holds no release manifest"))?;
        let plan = plan_again(&document, &manifest, &images)?;
        if *plan.document() != document || plan.length() != tar.length() {
            let what = "bundle.json does not fit what the bundle holds";
            return Err(Error::damaged(format!("{}: {what}", path.display())));
        }
        let blobs = place_blobs(&plan);
        Ok(Self(Arc::new(Inner { tar, plan, images, manifest, blobs })))
    }

    /// What `bundle.json` says.
    pub fn document(&self) -> &BundleDocument {
        self.0.plan.document()
    }

    /// The release manifest.
    pub fn manifest(&self) -> &Bytes {
        &self.0.manifest
    }

    /// The images, under their release references.
    pub fn images(&self) -> &[ArchiveImage] {
        &self.0.images
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.0.plan.size()
    }

    /// The plan that the bundle was written by.
    pub fn plan(&self) -> &BundlePlan {
        &self.0.plan
    }

    pub(crate) fn tar(&self) -> &RawTar {
        &self.0.tar
    }
}

fn read_document(tar: &RawTar) -> Result<(BundleDocument, u64), Error> {
    let not = |reason: &str| Error::not_a_bundle(tar.path(), reason);
    let header = tar.read(0..entry::BLOCK).map_err(|_| not("it has no bundle.json"))?;
    let header = tokio_tar::Header::from_byte_slice(&header);
    let path = header.path().map_err(|_| not("it has no bundle.json"))?;
    let size = header.raw_entry_size().map_err(|_| not("it has no bundle.json"))?;
    if !path.ends_with(FILE_NAME) || size > MAX_DOCUMENT {
        return Err(not("it does not begin with bundle.json"));
    }
    let text = tar.read(entry::BLOCK..entry::BLOCK + size)?;
    let value: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| not(&format!("bundle.json is not readable: {error}")))?;
    if value["formatVersion"] != FORMAT_VERSION {
        let version = &value["formatVersion"];
        return Err(not(&format!("its format version {version} is not known to this version")));
    }
    let document = serde_json::from_value(value)
        .map_err(|error| not(&format!("bundle.json is not readable: {error}")))?;
    Ok((document, entry::size(size)))
}

/// Reads the manifests of an image.
fn read_image(
    tar: &RawTar,
    start: u64,
    file: &BundleFile,
    image: &BundleImage,
) -> Result<ArchiveImage, Error> {
    let not = |reason: &str| Error::not_a_bundle(tar.path(), format!("{}: {reason}", file.path));
    let length = frame::unframed_size(file.size).ok_or_else(|| not("its size cannot be"))?;
    let nested = Nested { start, length };
    let mut manifests = Vec::new();
    for blob in &image.blobs {
        let descriptor = &blob.descriptor;
        let is_manifest = RawManifest::is_manifest_type(&descriptor.media_type);
        if !is_manifest {
            break;
        }
        let end = blob.offset.checked_add(descriptor.size).filter(|end| *end <= length);
        let end = end.ok_or_else(|| not("a manifest lies beyond its end"))?;
        if descriptor.size > compass_registry::MAX_MANIFEST_BYTES {
            return Err(not("a manifest is too large"));
        }
        let bytes = tar.read_nested(nested, blob.offset..end)?;
        let manifest = RawManifest::new(descriptor.media_type.clone(), bytes);
        if manifest.digest() != descriptor.digest {
            return Err(Error::damaged(format!(
                "{}: {}: the image manifest has digest {}, and not {}",
                tar.path().display(),
                image.reference,
                manifest.digest(),
                descriptor.digest
            )));
        }
        manifests.push(manifest);
    }
    let reference: Reference = image.reference.parse()?;
    let mut manifests = manifests.into_iter();
    let root = manifests.next().ok_or_else(|| not("it holds no image manifest"))?;
    Ok(ArchiveImage {
        repository: reference.repository().clone(),
        reference,
        platform: image.platform.clone(),
        root,
        children: manifests.collect(),
    })
}

fn plan_again(
    document: &BundleDocument,
    manifest: &Bytes,
    images: &[ArchiveImage],
) -> Result<BundlePlan, Error> {
    let platforms = document.files.iter().filter_map(|file| file.image.as_ref());
    let platform = platforms.map(|image| image.single_platform.clone()).next();
    BundlePlan::plugin(&PluginContents {
        name: document.name.clone(),
        version: document.version.clone(),
        commit: document.commit.clone(),
        modified: document.modified,
        manifest: manifest.clone(),
        images: images.to_vec(),
        platform: platform.map_or_else(|| "linux/amd64".parse(), Ok)?,
    })
}

fn place_blobs(plan: &BundlePlan) -> HashMap<Digest, (Nested, u64)> {
    let placed = plan.segments().iter().filter_map(|segment| match &segment.content {
        Content::Blob(descriptor) => {
            let archive = plan.archive(segment.archive?);
            let nested = Nested { start: archive.start, length: archive.length };
            Some((descriptor.digest, (nested, segment.position)))
        }
        _ => None,
    });
    placed.collect()
}

#[async_trait]
impl ImageSource for Bundle {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<RawManifest, RegistryError> {
        let own = self.0.images.iter().filter(|image| image.reference.repository() == repository);
        let found = own.into_iter().find_map(|image| match locator {
            Locator::Tag(tag) => (image.reference.tag() == Some(tag)).then_some(&image.root),
            Locator::Digest(digest) => {
                let mut all = std::iter::once(&image.root).chain(&image.children);
                all.find(|manifest| manifest.digest() == *digest)
            }
        });
        let what = || format!("{repository}:{locator} in {}", self.tar().path().display());
        found.cloned().ok_or_else(|| RegistryError::NotFound { what: what() })
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let what = || format!("{repository}@{}", descriptor.digest);
        let placed = self.0.blobs.get(&descriptor.digest).copied();
        let (nested, start) = placed.ok_or_else(|| RegistryError::NotFound { what: what() })?;
        let (bundle, end) = (self.clone(), start + range.end.min(descriptor.size));
        let chunks = stream::try_unfold(start + range.start, move |position| {
            let bundle = bundle.clone();
            async move {
                if position >= end {
                    return Ok(None);
                }
                let next = end.min(position + READ);
                let read = spawn_blocking(move || bundle.tar().read_nested(nested, position..next));
                let bytes = read.await.map_err(|error| unreadable(&error.to_string()))?;
                let bytes = bytes.map_err(|error| unreadable(&error.to_string()))?;
                Ok(Some((Bytes::from(bytes), next)))
            }
        });
        Ok(chunks.boxed())
    }
}

fn unreadable(reason: &str) -> RegistryError {
    RegistryError::BadContent { what: "the bundle".to_owned(), reason: reason.to_owned() }
}
