//! Opens a bundle and reads its parts.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, Platform, RawManifest,
    Repository, TagOrDigest, VerifiedBlob,
};
use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::content_stream::{content_stream, verified_content_stream};
use super::parser::{BundleParser, file_entry, read_content};
use super::source::{BufferedSource, BundleSource, LocalFile};
use crate::Error;
use crate::format::document::{BundleDocument, BundleKind, FILE_NAME};
use crate::format::member::Member;
use crate::manifest_lookup::find_manifest;
use crate::plan::BundlePlan;
use crate::plan::contents::{BundleContents, FileEntry};
use crate::plan::image::ArchiveImage;
use crate::plan::members::{Content, Origin};

/// The maximum size in bytes of a small file that is read into memory.
pub(crate) const MAX_FILE: u64 = 64 << 20;

/// The media type of files that are not blobs of images.
const FILE_MEDIA_TYPE: &str = "application/octet-stream";

/// A bundle that is read by offset.
///
/// Opening reads `bundle.json` and the image manifests, plans the bundle from them and compares the
/// result with `bundle.json` and the file, so that every offset of an open bundle is within the
/// file. Layers are not read; [`Bundle::verify`] reads them. As an [`ImageSource`] a bundle has the
/// images under their release references. Clones share the open file.
#[derive(Debug, Clone)]
pub struct Bundle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: BufferedSource,
    plan: BundlePlan,
    images: Vec<ArchiveImage>,
    files: HashMap<String, FilePlace>,
    blobs: HashMap<Digest, Member>,
}

/// The place of a small file in the content of a member.
#[derive(Debug, Clone, Copy)]
struct FilePlace {
    member: Member,
    start: u64,
    /// Index of the file in the plan.
    number: usize,
}

/// The gzip member of a bundle that holds a blob.
///
/// A program that can read ranges of a remote bundle gets the blob with any gzip decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobMember {
    /// The bytes of the bundle that the member occupies.
    pub range: Range<u64>,
    /// Whether the content is a gzip member itself, as in image archives. Then it is decompressed
    /// twice.
    pub is_nested: bool,
}

impl Bundle {
    /// Opens a local bundle.
    ///
    /// # Errors
    /// [`Error::NotABundle`] for other files, [`Error::Damaged`] if the file does not match
    /// `bundle.json`, [`Error::Io`] if the file cannot be read.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let opened = spawn_blocking(move || LocalFile::open(&path)).await;
        let file = opened.map_err(|error| Error::damaged(error.to_string()))??;
        Self::read(Arc::new(file)).await
    }

    /// Opens a bundle from any source.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let file = BufferedSource::new(source);
        let (mut parser, document) = BundleParser::begin(&file).await?;
        let mut files = Vec::new();
        for small in document.files.iter().filter(|file| file.image.is_none()) {
            files.push(file_entry(small).ok_or_else(|| parser.invalid("a file has no digest"))?);
            parser.skip_file(&document, small)?;
        }
        let mut images = parser.stored_images(&document).await?;
        let archived = parser.archived_images(&document).await?;
        let include_archives = !archived.is_empty();
        if document.kind != BundleKind::Product {
            images = archived;
        }
        let plan = replan(&document, files, images.clone(), include_archives)?;
        let (name, size) = (file.source().name(), file.source().size());
        if *plan.document() != document || plan.size() != size {
            return Err(match plan.size() {
                planned if planned != size => Error::wrong_size(&name, size, planned),
                _ => Error::damaged(format!("{name}: bundle.json does not match the content")),
            });
        }
        let (files, blobs) = places(&plan);
        Ok(Self(Arc::new(Inner { file, plan, images, files, blobs })))
    }

    /// The content of `bundle.json`.
    pub fn document(&self) -> &BundleDocument {
        self.0.plan.document()
    }

    /// The images, under their release references.
    pub fn images(&self) -> &[ArchiveImage] {
        &self.0.images
    }

    /// The small files, in order, without their content.
    pub fn files(&self) -> &[FileEntry] {
        self.plan().files()
    }

    /// The gzip member that holds a configuration or layer; `None` if the bundle does not contain it.
    pub fn blob_member(&self, blob: &Digest) -> Option<BlobMember> {
        let member = self.0.blobs.get(blob)?;
        Some(BlobMember { range: member.file_range(), is_nested: member.nested })
    }

    /// Reads a small file, or `bundle.json`, and compares its digest.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if the bundle has no file with this path, [`Error::Damaged`] if its digest
    /// differs.
    pub async fn file(&self, path: &str) -> Result<Bytes, Error> {
        if path == FILE_NAME {
            // Its checksum was compared when the bundle was opened.
            return Ok(self.document().to_bytes().into());
        }
        let (place, file) = self.find_file(path)?;
        if file.size > MAX_FILE {
            return Err(Error::damaged(format!("{path} is too large to be read into memory")));
        }
        let range = place.start..place.start + file.size;
        let bytes = read_content(&self.0.file, place.member, range).await?;
        if Digest::of(&bytes) != file.digest {
            return Err(Error::damaged(format!("{}: {path} is damaged", self.name())));
        }
        Ok(bytes)
    }

    /// Opens a small file, or `bundle.json`, as a verified stream.
    pub(crate) fn open_file(&self, path: &str) -> Result<VerifiedBlob, Error> {
        let what = format!("{path} in {}", self.name());
        if path == FILE_NAME {
            let document = Bytes::from(self.document().to_bytes());
            let descriptor = Descriptor::of(FILE_MEDIA_TYPE, &document);
            let bytes = stream::iter([Ok(document)]).boxed();
            return Ok(VerifiedBlob::new(what, descriptor, bytes));
        }
        let (place, file) = self.find_file(path)?;
        let range = place.start..place.start + file.size;
        let bytes = content_stream(self.source(), place.member, range);
        Ok(VerifiedBlob::new(what, file_descriptor(file.size, file.digest), bytes))
    }

    fn find_file(&self, path: &str) -> Result<(FilePlace, &FileEntry), Error> {
        let place = self.0.files.get(path);
        let place = *place.ok_or_else(|| Error::NoSuchFile { path: path.to_owned() })?;
        Ok((place, &self.files()[place.number]))
    }

    /// The digest of `bundle.json`, which determines every byte of the bundle.
    pub fn digest(&self) -> Digest {
        self.plan().digest()
    }

    /// The path or URL of the bundle.
    pub fn name(&self) -> String {
        self.source().name()
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.0.plan.size()
    }

    /// The plan of the bundle, without the bytes of its small files.
    pub fn plan(&self) -> &BundlePlan {
        &self.0.plan
    }

    /// The platform of the image that tools without index support load.
    pub(crate) fn default_platform(&self) -> Platform {
        self.document().default_platform()
    }

    /// Reads a range of a blob, up to its end at most.
    ///
    /// If the range is the whole blob, the stream compares the CRC-32 that gzip stores. Its cost is
    /// small compared to that of a digest, which is compared if the file is remote, or has changed.
    pub(crate) fn blob_stream(&self, blob: &Digest, range: Range<u64>) -> Option<ByteStream> {
        let member = *self.0.blobs.get(blob)?;
        let range = range.start..range.end.min(member.size);
        let source = self.source();
        if range != (0..member.size) {
            return Some(content_stream(source, member, range));
        }
        let content = verified_content_stream(source, member);
        if source.local().is_some_and(LocalFile::is_unchanged) {
            return Some(content);
        }
        // Another bundle may be in the place of the one that was opened, with correct checksums.
        let what = format!("{blob} in {}", source.name());
        Some(VerifiedBlob::new(what, file_descriptor(member.size, *blob), content).boxed())
    }

    /// The size of a blob in bytes; `None` if the bundle does not contain it.
    pub(crate) fn blob_size(&self, blob: &Digest) -> Option<u64> {
        self.0.blobs.get(blob).map(|member| member.size)
    }

    pub(crate) fn source(&self) -> &Arc<dyn BundleSource> {
        self.0.file.source()
    }

    /// Reads all bytes of a blob. Returns `None` if the bundle does not contain it, or it is
    /// damaged.
    pub(super) async fn stored_blob(&self, blob: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(member) = self.0.blobs.get(blob) else { return Ok(None) };
        match read_content(&self.0.file, *member, 0..member.size).await {
            Ok(bytes) => Ok(Some(bytes)),
            // Verification of the member reports the damage.
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Describes a file that is not a blob of an image.
pub(crate) fn file_descriptor(size: u64, digest: Digest) -> Descriptor {
    Descriptor { media_type: FILE_MEDIA_TYPE.to_owned(), digest, size, platform: None }
}

fn replan(
    document: &BundleDocument,
    files: Vec<FileEntry>,
    images: Vec<ArchiveImage>,
    include_archives: bool,
) -> Result<BundlePlan, Error> {
    let (name, version) = (&*document.name, &*document.version);
    let contents = BundleContents::new(document.kind, name, version, document.default_platform())
        .base_version(document.base_version.clone())
        .commit(document.commit.clone())
        .modified(document.modified)
        .files(files)
        .images(images)
        .platforms(document.platforms.clone())
        .include_archives(include_archives);
    BundlePlan::new(&contents)
}

/// The places of the small files and of the blobs.
fn places(plan: &BundlePlan) -> (HashMap<String, FilePlace>, HashMap<Digest, Member>) {
    let (mut files, mut blobs) = (HashMap::new(), HashMap::new());
    for member in plan.members() {
        match &member.content {
            Content::Run(pieces) => {
                let mut start = 0;
                for piece in pieces {
                    if let Origin::File(number) = piece.origin {
                        let path = plan.files()[number].path.clone();
                        files.insert(path, FilePlace { member: member.place, start, number });
                    }
                    start += piece.size;
                }
            }
            Content::Blob { blob, .. } => {
                blobs.entry(plan.blobs()[*blob].descriptor.digest).or_insert(member.place);
            }
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
        let member = self.0.blobs.get(&descriptor.digest);
        let member = *member.ok_or_else(|| RegistryError::NotFound { what: what() })?;
        Ok(content_stream(self.source(), member, range.start..range.end.min(member.size)))
    }
}
