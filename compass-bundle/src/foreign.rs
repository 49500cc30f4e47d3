//! Packages of other tools, read from start to end: the output of `docker save`, `tar` and release
//! scripts.
//!
//! Formats are detected from the content; file names are only hints.

mod archive;
pub(crate) mod compression;
mod contents;
mod decoder;
pub(crate) mod decompress;
mod decompressor;
mod entry_content;
mod entry_path;
mod files;
mod hashing_reader;
pub(crate) mod images;
pub(crate) mod limits;
mod manifest_format;
mod padding;
mod probe;
pub(crate) mod reader;
mod scan;
pub(crate) mod sequential_blobs;
mod sparse;
pub(crate) mod tar_entries;
mod zstd_frame;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, RawManifest, Repository,
    TagOrDigest,
};
use tokio::io::AsyncReadExt as _;

use self::contents::{BlobLocation, Contents};
use self::decompress::{
    Decoded, Decompressed, decode, decompress, undecodable, unsupported_reason,
};
use self::hashing_reader::HashingReader;
pub use self::images::ForeignImage;
use self::limits::Limits;
use self::reader::{Reader, byte_stream, reader_of};
use self::scan::Scan;
use self::tar_entries::TarEntries;
use crate::Error;
use crate::format::document::FILE_NAME;
use crate::manifest_lookup::find_manifest;
use crate::read::BundleSource;

/// A package that another tool wrote.
///
/// Opening it reads the file once and computes the digest of every layer. As an [`ImageSource`], it
/// finds a layer by reading the file from the start again; operations that need many layers, such
/// as an installation, read the file in one pass instead.
#[derive(Debug, Clone)]
pub struct ForeignPackage(Arc<Contents>);

/// A file of a package that is not an image archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignFile {
    /// Path in the package. Bytes that are not UTF-8 are escaped as `\xNN`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the content.
    pub digest: Digest,
    /// The content, if it is YAML of at most 4 MiB.
    pub yaml: Option<Bytes>,
}

/// A reason why a package cannot be installed or unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageProblem {
    /// The file in the package, or `None` if the whole package is affected.
    pub file: Option<String>,
    /// The reference of the affected image, if it is only one.
    pub image: Option<String>,
    /// Description of the problem, without its subject.
    pub what: String,
}

impl ForeignPackage {
    /// Reads a package once, from start to end.
    ///
    /// # Errors
    /// [`Error::NotABundle`] if the file is not a tar archive (compressed or not), is empty, or is
    /// damaged; [`Error::Store`] if the source cannot be read.
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let name = source.name();
        let not = |error| Error::reading_anything(&name, error);
        let file = HashingReader::new(reader_of(Arc::clone(&source)));
        file.start_hashing(compass_registry::Algorithm::Sha256, 0);
        let limits = Limits::for_package();
        let reader = limits.count_input_of(file.reader());
        let tar = decompress(reader, &limits).await.map_err(not)?.into_tar(&name)?;
        let scan = Scan::read(tar, limits).await.map_err(not)?;
        let passed = file.finish();
        let digest = (passed.size == source.size()).then_some(passed.sha256);
        let contents = Contents::new(source, digest, scan)?;
        if contents.is_empty() {
            return Err(Error::not_a_bundle(&name, "it is empty"));
        }
        Ok(Self(Arc::new(contents)))
    }

    /// The name of the source, for messages.
    pub fn name(&self) -> String {
        self.0.source.name()
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.0.source.size()
    }

    /// Digest of the file, or `None` if the archive ends before the file does.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest
    }

    /// The files that are not image archives.
    pub fn files(&self) -> &[ForeignFile] {
        &self.0.files
    }

    /// Returns why the package contains no image. Call it only if there is none.
    pub(crate) fn no_image_reason(&self) -> &'static str {
        match self.is_archived_product() {
            true => {
                "its images are in a directory, as in a product bundle that was archived or compressed \
                 anew: take the bundle as it was published"
            }
            false => "it contains no image",
        }
    }

    /// Whether this is a product bundle that was unpacked and archived again.
    pub(crate) fn is_archived_product(&self) -> bool {
        self.0.is_archived_product
    }

    /// All problems of the package and its images.
    ///
    /// A package without problems can be installed and unpacked completely.
    pub fn problems(&self) -> Vec<PackageProblem> {
        let of_images = self.images().iter().flat_map(|image| {
            image.problems.iter().map(|what| PackageProblem {
                file: Some(image.archive.clone()),
                image: Some(image.reference.to_string()),
                what: what.clone(),
            })
        });
        self.0.problems.iter().cloned().chain(of_images).collect()
    }

    /// Facts that are not problems, such as platforms that the package omits and blobs that no
    /// image uses.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.0.notes.clone();
        for image in self.images() {
            // An image with several names is listed once for each name.
            for note in &image.notes {
                if !notes.contains(note) {
                    notes.push(note.clone());
                }
            }
        }
        notes
    }

    /// Returns one sentence for each non-distributable layer that the package does not contain.
    pub fn unavailable_layers(&self) -> Vec<String> {
        let layers = self.images().iter().flat_map(|image| {
            image.unavailable.iter().map(move |(layer, address)| {
                let from = address.as_ref().map_or_else(|| "its owner".to_owned(), Clone::clone);
                format!(
                    "{}: the package does not contain its non-distributable layer {layer}; the \
                     container runtime has to fetch it from {from}",
                    image.reference
                )
            })
        });
        layers.collect()
    }

    /// Adds a problem if the package contains `bundle.json`: then it is a bundle that was changed.
    pub(crate) fn with_altered_bundle_problem(self) -> Self {
        let document = self.files().iter().find(|file| is_bundle_document(&file.path));
        let Some(document) = document else { return self };
        let mut problems = vec![PackageProblem {
            file: Some(document.path.clone()),
            image: None,
            what: "it describes a bundle, but the file does not match that bundle byte for byte"
                .to_owned(),
        }];
        problems.extend_from_slice(&self.0.problems);
        Self(Arc::new(Contents { problems, ..(*self.0).clone() }))
    }

    /// Returns an error if the package has problems.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the first problem and the number of further problems.
    pub fn require_whole(&self) -> Result<(), Error> {
        let problems = self.problems();
        let Some(first) = problems.first() else { return Ok(()) };
        let place = match &first.file {
            Some(file) if !first.what.starts_with(file) => format!("{}: ", file.escape_debug()),
            _ => String::new(),
        };
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more: `compass verify` lists them)"),
        };
        Err(Error::damaged(format!("{place}{}{more}", first.what)))
    }

    /// The top-level directory that contains all entries, if there is exactly one.
    pub(crate) fn directory(&self) -> Option<&str> {
        let files = self.files().iter().map(|file| file.path.as_str());
        let archives = self.images().iter().map(|image| image.archive.as_str());
        let mut tops = files.chain(archives).map(|path| path.split_once('/').map(|(top, _)| top));
        let first = tops.next().flatten()?;
        tops.all(|top| top == Some(first)).then_some(first)
    }

    /// The images, one for each name.
    pub fn images(&self) -> &[ForeignImage] {
        &self.0.images
    }

    /// Whether the package contains a blob.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        self.0.blobs.contains_key(digest)
    }

    /// The path of the file that a path names: the path itself, or the target of a link.
    pub(crate) fn target_of<'p>(&'p self, path: &'p str) -> &'p str {
        self.0.links.get(path).map_or(path, String::as_str)
    }

    pub(crate) fn source(&self) -> Arc<dyn BundleSource> {
        Arc::clone(&self.0.source)
    }

    /// Opens a blob or file by reading the package from its start; `what` describes it in errors.
    async fn open(&self, location: &BlobLocation, what: &str) -> Result<Reader, RegistryError> {
        let found = self.find(location).await;
        let found =
            found.map_err(|error| RegistryError::io(format!("cannot read {what}"), error))?;
        found.ok_or_else(|| RegistryError::NotFound { what: what.to_owned() })
    }

    /// Finds a blob by reading the file from its start, and returns a reader of the blob.
    async fn find(&self, location: &BlobLocation) -> std::io::Result<Option<Reader>> {
        let limits = Limits::default();
        let source = reader_of(self.source());
        let Decompressed::Tar(mut tar) = decompress(source, &limits).await? else {
            return Ok(None);
        };
        if let Some(archive) = &location.archive {
            let Some(found) = find_entry(tar, archive, &limits).await? else { return Ok(None) };
            let Decompressed::Tar(inner) = decompress(found, &limits).await? else {
                return Ok(None);
            };
            tar = inner;
        }
        match find_entry(tar, &location.entry, &limits).await? {
            Some(blob) if location.is_decompressed => {
                decompressed_blob(blob, &limits).await.map(Some)
            }
            found => Ok(found),
        }
    }
}

/// Whether a path is that of `bundle.json` in a bundle.
pub(crate) fn is_bundle_document(path: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>()[..], [_, FILE_NAME])
}

async fn find_entry(tar: Reader, path: &str, limits: &Limits) -> std::io::Result<Option<Reader>> {
    let mut entries = TarEntries::new(tar, limits).await?;
    while let Some(entry) = entries.next().await? {
        if entry.path.text == path && entry.is_file() {
            return Ok(Some(entry.into_reader()));
        }
    }
    Ok(None)
}

/// Returns the decompressed content of a layer, for compressions that registries do not accept.
async fn decompressed_blob(blob: Reader, limits: &Limits) -> std::io::Result<Reader> {
    match decode(blob, limits).await? {
        Decoded::Compressed(_, reader) | Decoded::Plain(reader) => Ok(reader),
        Decoded::Unsupported(name) => Err(std::io::Error::other(unsupported_reason(name))),
        Decoded::Undecodable(compression) => Err(undecodable(compression)),
    }
}

#[async_trait]
impl ImageSource for ForeignPackage {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        let own = self.images().iter().filter(|image| image.reference.repository() == repository);
        let own = own.map(|image| (&image.reference, &image.root, &image.children[..]));
        find_manifest(locator, own, || format!("{repository}:{locator} in {}", self.name()))
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let what = format!("{repository}@{} in {}", descriptor.digest, self.name());
        let Some(location) = self.0.blobs.get(&descriptor.digest) else {
            return Err(RegistryError::NotFound { what });
        };
        let mut reader = self.open(location, &what).await?;
        let failed = |error| RegistryError::io(format!("cannot read {what}"), error);
        let mut skipped = (&mut reader).take(range.start);
        tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await.map_err(failed)?;
        let rest = reader.take(range.end.saturating_sub(range.start));
        Ok(byte_stream(rest, what))
    }

    async fn holds_blob(&self, _: &Repository, blob: &Descriptor) -> Result<bool, RegistryError> {
        Ok(self.holds(&blob.digest))
    }
}
