//! Opens a bundle, and gives what is in it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, Locator,
    MAX_MANIFEST_BYTES, Manifest, Platform, RawManifest, Reference, Repository,
};
use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::frames::Frames;
use super::source::{BundleSource, LocalFile, Windowed};
use crate::document::{BundleDocument, BundleFile, FILE_NAME, FORMAT_VERSION, Kind, PlacedBlob};
use crate::plan::contents::{BundleContents, ContentFile};
use crate::plan::entry;
use crate::plan::image::ArchiveImage;
use crate::plan::{BundlePlan, Content, Segment};
use crate::{Error, frame, naming};

/// The largest `bundle.json` that is read.
const MAX_DOCUMENT: u64 = 16 << 20;

/// The largest small file that is read into memory.
const MAX_FILE: u64 = 64 << 20;

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
        if document.kind != Kind::Product {
            images = archived;
        }
        let plan = plan_again(&document, files, images.clone(), archives)?;
        if *plan.document() != document || plan.length() != opening.frames.length() {
            let (name, what) = (file.source().name(), "bundle.json does not fit what it holds");
            return Err(Error::damaged(format!("{name}: {what}")));
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
        small.map(|file| BundleEntry { path: &file.path, size: file.size, mode: mode(file) })
    }

    /// Reads a small file, and proves it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] where the bundle has none of that path; [`Error::Damaged`].
    pub async fn file(&self, path: &str) -> Result<Bytes, Error> {
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

/// Bytes of a tar.
async fn read_tar(file: &Windowed, frames: Frames, range: Range<u64>) -> Result<Bytes, Error> {
    if range.start > range.end || range.end > frames.length() {
        return Err(Error::not_a_bundle(file.source().name(), "it points beyond its own end"));
    }
    let framed = file.read(frames.file_range(range.clone())).await?;
    Ok(frames.unframe(range.start, &framed)?.into())
}

/// A bundle of which the structure is not known yet.
struct Opening<'f> {
    file: &'f Windowed,
    frames: Frames,
}

impl<'f> Opening<'f> {
    async fn begin(file: &'f Windowed) -> Result<Self, Error> {
        let (name, size) = (file.source().name(), file.source().size());
        let not = |reason: &str| Error::not_a_bundle(&name, reason);
        let header = file.read(0..size.min(frame::HEADER.len() as u64)).await?;
        if header[..] != frame::HEADER {
            return Err(not("it was not written by this tool"));
        }
        let length = frame::unframed_size(size)
            .ok_or_else(|| not("its size is not that of a bundle: it may be cut off"))?;
        Ok(Self { file, frames: Frames::outer(length) })
    }

    fn not(&self, reason: impl Into<String>) -> Error {
        Error::not_a_bundle(self.file.source().name(), reason)
    }

    async fn tar(&self, range: Range<u64>) -> Result<Bytes, Error> {
        read_tar(self.file, self.frames, range).await
    }

    /// The document, and where the entry after it begins.
    async fn document(&self) -> Result<(BundleDocument, u64), Error> {
        let without = |_| self.not("it has no bundle.json");
        let header = self.tar(0..entry::BLOCK).await?;
        let header = tokio_tar::Header::from_byte_slice(&header);
        let path = header.path().map_err(without)?;
        let size = header.raw_entry_size().map_err(without)?;
        if !path.ends_with(FILE_NAME) || size > MAX_DOCUMENT {
            return Err(self.not("it does not begin with bundle.json"));
        }
        let text = self.tar(entry::BLOCK..entry::BLOCK + size).await?;
        let unreadable = |error| self.not(format!("bundle.json is not readable: {error}"));
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
        if value["formatVersion"] != FORMAT_VERSION {
            let version = &value["formatVersion"];
            let reason = format!("its format version {version} is not known to this version");
            return Err(self.not(reason));
        }
        let document: BundleDocument = serde_json::from_value(value).map_err(unreadable)?;
        let stem = naming::stem(document.kind, &document.name, &document.version);
        if *path != *Path::new(&stem).join(FILE_NAME) {
            return Err(self.not(format!("bundle.json is that of {stem}")));
        }
        Ok((document, entry::BLOCK + size.next_multiple_of(entry::BLOCK)))
    }

    /// Where the entry after another begins.
    fn after(
        &self,
        document: &BundleDocument,
        path: &str,
        at: u64,
        size: u64,
    ) -> Result<u64, Error> {
        let end = bytes_at(document, path, at)?.checked_add(size);
        let end = end.and_then(|end| end.checked_next_multiple_of(entry::BLOCK));
        end.filter(|end| *end <= self.frames.length())
            .ok_or_else(|| self.not("it points beyond its own end"))
    }

    async fn stored_images(
        &self,
        document: &BundleDocument,
        start: u64,
    ) -> Result<Vec<ArchiveImage>, Error> {
        let Some(store) = &document.store else { return Ok(Vec::new()) };
        let manifests = self.manifests(self.frames, start, &store.blobs).await?;
        let images = store.images.iter().map(|image| {
            let root = manifests.get(&image.digest);
            let root = root.ok_or_else(|| self.not(format!("{} is missing", image.reference)))?;
            let mut children = Vec::new();
            if let Manifest::Index(entries) = root.parse()? {
                let present = entries.iter().filter_map(|entry| manifests.get(&entry.digest));
                children = present.cloned().collect();
            }
            let (platform, absent) = (image.platform.clone(), image.absent.clone());
            archive_image(&image.reference, platform, absent, root.clone(), children)
        });
        images.collect()
    }

    async fn archived_images(
        &self,
        document: &BundleDocument,
        start: u64,
    ) -> Result<Vec<ArchiveImage>, Error> {
        let stored = document.store.as_ref().and_then(|store| store.blobs.last());
        let mut at = match stored {
            None => start,
            Some(last) => {
                let end = start.checked_add(last.offset);
                let end = end.and_then(|end| end.checked_add(last.descriptor.size));
                let end = end.and_then(|end| end.checked_next_multiple_of(entry::BLOCK));
                end.ok_or_else(|| self.not("it points beyond its own end"))?
            }
        };
        let mut images = Vec::new();
        for file in document.archives() {
            let Some(image) = &file.image else { continue };
            let not = |reason: &str| self.not(format!("{}: {reason}", file.path));
            let length =
                frame::unframed_size(file.size).ok_or_else(|| not("its size cannot be"))?;
            let bytes_at = bytes_at(document, &file.path, at)?;
            at = self.after(document, &file.path, at, file.size)?;
            let frames = self.frames.nested(bytes_at, length);
            let manifests = self.manifests(frames, 0, &image.blobs).await?;
            let all = image.blobs.iter();
            let mut all = all.filter_map(|blob| manifests.get(&blob.descriptor.digest)).cloned();
            let root = all.next().ok_or_else(|| not("it holds no image manifest"))?;
            let (platform, absent) = (image.platform.clone(), image.absent.clone());
            images.push(archive_image(&image.reference, platform, absent, root, all.collect())?);
        }
        Ok(images)
    }

    /// Reads the manifests among blobs whose offsets count from `start`.
    async fn manifests(
        &self,
        frames: Frames,
        start: u64,
        blobs: &[PlacedBlob],
    ) -> Result<HashMap<Digest, RawManifest>, Error> {
        let mut manifests = HashMap::new();
        for PlacedBlob { descriptor, offset } in blobs {
            if !RawManifest::is_manifest_type(&descriptor.media_type) {
                break;
            }
            if descriptor.size > MAX_MANIFEST_BYTES {
                return Err(self.not("an image manifest is too large"));
            }
            let from = start.checked_add(*offset);
            let range = from.and_then(|from| Some(from..from.checked_add(descriptor.size)?));
            let range = range.ok_or_else(|| self.not("it points beyond its own end"))?;
            let bytes = read_tar(self.file, frames, range).await?;
            let manifest = RawManifest::new(descriptor.media_type.clone(), bytes);
            if manifest.digest() != descriptor.digest {
                return Err(Error::damaged(format!(
                    "{}: an image manifest has digest {}, and not {}",
                    self.file.source().name(),
                    manifest.digest(),
                    descriptor.digest
                )));
            }
            manifests.insert(descriptor.digest, manifest);
        }
        Ok(manifests)
    }
}

/// Where the bytes of an entry begin.
fn bytes_at(document: &BundleDocument, path: &str, at: u64) -> Result<u64, Error> {
    let stem = naming::stem(document.kind, &document.name, &document.version);
    let header = entry::file(&format!("{stem}/{path}"), entry::FILE_MODE, 0, 0)?;
    Ok(at + header.len() as u64)
}

fn content_file(file: &BundleFile) -> Option<ContentFile> {
    let (path, size, digest) = (file.path.clone(), file.size, file.digest?);
    Some(ContentFile { path, mode: mode(file), size, digest, bytes: None })
}

/// What is not octal is found out when the plan is compared.
fn mode(file: &BundleFile) -> u32 {
    let mode = file.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    mode.unwrap_or(entry::FILE_MODE)
}

fn archive_image(
    reference: &str,
    platform: Option<Platform>,
    absent: Vec<Platform>,
    root: RawManifest,
    children: Vec<RawManifest>,
) -> Result<ArchiveImage, Error> {
    let reference: Reference = reference.parse()?;
    let repository = reference.repository().clone();
    Ok(ArchiveImage { reference, repository, platform, root, children, absent })
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
        commit: document.commit.clone(),
        modified: document.modified,
        files,
        images,
        platform: document.single_platform(),
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
        locator: &Locator,
    ) -> Result<RawManifest, RegistryError> {
        let own = self.0.images.iter().filter(|image| image.reference.repository() == repository);
        let found = own.into_iter().find_map(|image| match locator {
            Locator::Tag(tag) => (image.reference.tag() == Some(tag)).then_some(&image.root),
            Locator::Digest(digest) => {
                image.manifests().find(|manifest| manifest.digest() == *digest)
            }
        });
        let what = || format!("{repository}:{locator} in {}", self.name());
        found.cloned().ok_or_else(|| RegistryError::NotFound { what: what() })
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
