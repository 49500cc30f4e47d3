//! Opens a bundle, and gives what is in it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, Platform, RawManifest,
    Repository, TagOrDigest,
};
use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::frames::Frames;
use super::opening::{Opening, content_file, read_tar};
use super::source::{BundleSource, LocalFile, Windowed};
use crate::Error;
use crate::document::{BundleDocument, BundleKind, FILE_NAME};
use crate::package::find_manifest;
use crate::plan::contents::{BundleContents, ContentFile};
use crate::plan::image::ArchiveImage;
use crate::plan::{BundlePlan, Content, Segment};

/// The largest small file that is read into memory.
pub(crate) const MAX_FILE: u64 = 64 << 20;

/// Bytes that are read at once from a file at hand.
const READ: u64 = 512 << 10;

/// Bytes that are read at once from far away, where every read is a request.
const REMOTE_READ: u64 = 4 << 20;

/// A bundle that is read by offset.
///
/// Opening it reads the small things at its beginning, plans the bundle from them once more, and
/// compares: what is open has the structure that this crate writes, and every offset lies within.
/// Layers are not read; [`Bundle::verify`] does that. As an [`ImageSource`] it has the images under
/// their release references.
#[derive(Debug, Clone)]
pub struct Bundle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Windowed,
    plan: BundlePlan,
    images: Vec<ArchiveImage>,
    /// The segments of files and blobs, by number.
    files: HashMap<String, usize>,
    blobs: HashMap<Digest, usize>,
}

/// A small file of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleEntry<'b> {
    /// The path below the bundle's directory.
    pub path: &'b str,
    /// Bytes.
    pub size: u64,
    /// Permissions, such as 0o755.
    pub mode: u32,
}

impl Bundle {
    /// Opens a bundle on this machine.
    ///
    /// # Errors
    /// [`Error::NotABundle`] for other files, [`Error::Damaged`] where its parts contradict each
    /// other.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let opened = spawn_blocking(move || LocalFile::open(&path)).await;
        let file = opened.map_err(|error| Error::damaged(error.to_string()))??;
        Self::read(Arc::new(file)).await
    }

    /// Opens a bundle wherever it is.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let file = Windowed::new(source);
        let opening = Opening::begin(&file).await?;
        let (document, mut position) = opening.document().await?;
        let mut files = Vec::new();
        for small in document.files.iter().filter(|file| file.image.is_none()) {
            files.push(content_file(small).ok_or_else(|| opening.not("a file has no digest"))?);
            position = opening.after(&document, &small.path, position, small.size)?;
        }
        let mut images = opening.stored_images(&document, position).await?;
        let archived = opening.archived_images(&document, position).await?;
        let archives = !archived.is_empty();
        if document.kind != BundleKind::Product {
            images = archived;
        }
        let plan = plan_again(&document, files, images.clone(), archives)?;
        if *plan.document() != document || plan.length() != opening.frames.length() {
            let (name, size) = (file.source().name(), file.source().size());
            return Err(Error::damaged(match plan.size() {
                planned if planned != size => format!(
                    "{name}: it has {size} bytes, and {planned} were written: it was cut off, or \
                     something was added"
                ),
                _ => format!("{name}: bundle.json does not fit what it holds"),
            }));
        }
        let (files, blobs) = places(&plan);
        Ok(Self(Arc::new(Inner { file, plan, images, files, blobs })))
    }

    /// What `bundle.json` says.
    pub fn document(&self) -> &BundleDocument {
        self.0.plan.document()
    }

    /// The images, under their release references.
    pub fn images(&self) -> &[ArchiveImage] {
        &self.0.images
    }

    /// The small files, in order.
    pub fn entries(&self) -> impl Iterator<Item = BundleEntry<'_>> {
        let small = self.document().files.iter().filter(|file| file.image.is_none());
        small.map(|file| BundleEntry {
            path: &file.path,
            size: file.size,
            mode: file.permissions(),
        })
    }

    /// Reads a small file, or `bundle.json`, and proves it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] where the bundle has none of that path; [`Error::Damaged`].
    pub async fn file(&self, path: &str) -> Result<Bytes, Error> {
        if path == FILE_NAME {
            // It was compared when the bundle was opened.
            return Ok(self.document().to_bytes().into());
        }
        let missing = || Error::NoSuchFile { path: path.to_owned() };
        let segment = self.0.files.get(path).ok_or_else(missing)?;
        let segment = &self.plan().segments()[*segment];
        if segment.size > MAX_FILE {
            return Err(Error::damaged(format!("{path} is too large to be read at once")));
        }
        let bytes = self.content(segment.archive, segment.position, 0..segment.size).await?;
        match segment.content {
            Content::File(number) if Digest::of(&bytes) == self.plan().files()[number].digest => {
                Ok(bytes)
            }
            _ => Err(Error::damaged(format!("{}: {path} is damaged", self.name()))),
        }
    }

    /// What people know the bundle by.
    pub fn name(&self) -> String {
        self.source().name()
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.0.plan.size()
    }

    /// The plan that the bundle was written by.
    pub fn plan(&self) -> &BundlePlan {
        &self.0.plan
    }

    /// The platform that tools see which know only single images.
    pub(crate) fn single_platform(&self) -> Platform {
        self.document().single_platform()
    }

    pub(crate) fn source(&self) -> &Arc<dyn BundleSource> {
        self.0.file.source()
    }

    /// The first segment that holds a blob.
    pub(super) fn segment_of(&self, blob: &Digest) -> Option<usize> {
        self.0.blobs.get(blob).copied()
    }

    /// All bytes of a blob, if the bundle has it.
    pub(super) async fn stored_blob(&self, blob: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(segment) = self.segment_of(blob) else { return Ok(None) };
        let Segment { archive, position, size, .. } = self.plan().segments()[segment];
        match self.content(archive, position, 0..size).await {
            Ok(bytes) => Ok(Some(bytes)),
            // The proof of the blob says so.
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of a segment.
    async fn content(
        &self,
        archive: Option<usize>,
        position: u64,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let frames = Frames::of(self.plan(), archive);
        read_tar(&self.0.file, frames, position + range.start..position + range.end).await
    }
}

fn plan_again(
    document: &BundleDocument,
    files: Vec<ContentFile>,
    images: Vec<ArchiveImage>,
    archives: bool,
) -> Result<BundlePlan, Error> {
    BundlePlan::new(&BundleContents {
        kind: document.kind,
        name: document.name.clone(),
        version: document.version.clone(),
        base: document.base.clone(),
        commit: document.commit.clone(),
        modified: document.modified,
        files,
        images,
        platform: document.single_platform(),
        platforms: document.platforms.clone(),
        archives,
    })
}

/// The segments of the small files and of the blobs.
fn places(plan: &BundlePlan) -> (HashMap<String, usize>, HashMap<Digest, usize>) {
    let (mut files, mut blobs) = (HashMap::new(), HashMap::new());
    for (number, segment) in plan.segments().iter().enumerate() {
        match segment.content {
            Content::File(file) => {
                files.insert(plan.files()[file].path.clone(), number);
            }
            Content::Blob(blob) => {
                blobs.entry(plan.blobs()[blob].descriptor.digest).or_insert(number);
            }
            _ => {}
        }
    }
    (files, blobs)
}

#[async_trait]
impl ImageSource for Bundle {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        let own = self.0.images.iter().filter(|image| image.reference.repository() == repository);
        let own = own.map(|image| (&image.reference, &image.root, &image.children[..]));
        find_manifest(locator, own, || format!("{repository}:{locator} in {}", self.name()))
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let what = || format!("{repository}@{} in {}", descriptor.digest, self.name());
        let segment = self.0.blobs.get(&descriptor.digest);
        let segment = *segment.ok_or_else(|| RegistryError::NotFound { what: what() })?;
        let end = range.end.min(self.plan().segments()[segment].size);
        let step = if self.source().local().is_some() { READ } else { REMOTE_READ };
        let begin = (self.clone(), range.start);
        let chunks = stream::try_unfold(begin, move |(bundle, position)| async move {
            if position >= end {
                return Ok(None);
            }
            let next = end.min(position + step);
            let Segment { archive, position: start, .. } = bundle.plan().segments()[segment];
            let bytes = bundle.content(archive, start, position..next).await;
            let bytes = bytes.map_err(Error::into_registry)?;
            Ok(Some((bytes, (bundle, next))))
        });
        Ok(chunks.boxed())
    }
}
