//! Packages of any making, read from their beginning to their end: what old scripts made with
//! `docker save` and `tar`, whatever its names say. What things are is told by their content.

mod archive;
pub(crate) mod compression;
mod contents;
mod decoder;
pub(crate) mod decompress;
mod decompressor;
mod entry_path;
mod hashing_reader;
mod images;
pub(crate) mod limits;
mod padding;
mod probe;
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
use self::decompress::{Decoded, Decompressed, Reader, decode, decompress, reader_of};
use self::hashing_reader::HashingReader;
pub use self::images::ForeignImage;
use self::limits::Limits;
use self::scan::{Scan, unsupported_reason};
use self::sequential_blobs::byte_stream;
use self::tar_entries::TarEntries;
use crate::Error;
use crate::document::FILE_NAME;
use crate::package::find_manifest;
use crate::read::BundleSource;

/// A package of any making.
///
/// It has been read once, from its beginning to its end: every layer's digest is known. As an
/// [`ImageSource`] it has its images; a layer is found by reading up to it again. Whoever wants many
/// of them, as [`install_package`](crate::install_package), reads it once.
#[derive(Debug, Clone)]
pub struct ForeignPackage(Arc<Contents>);

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignFile {
    /// Its path in the package. Bytes that are not UTF-8 are written as `\xNN`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// The text, where it is YAML.
    pub yaml: Option<Bytes>,
}

/// Why a package is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageProblem {
    /// The file in the package; nothing if it is a problem of the package itself.
    pub file: Option<String>,
    /// The image, if it is a problem of one.
    pub image: Option<String>,
    /// The problem.
    pub what: String,
}

impl ForeignPackage {
    /// Reads a package.
    ///
    /// # Errors
    /// [`Error::NotABundle`] for what is no tar archive, compressed or not, or is damaged.
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let name = source.name();
        let not = |error| Error::reading_anything(&name, error);
        let file = HashingReader::new(reader_of(Arc::clone(&source)));
        file.start_hashing(compass_registry::Algorithm::Sha256, 0);
        let limits = Limits::for_package();
        let reader = limits.count_input_of(file.reader());
        let tar = match decompress(reader, &limits).await.map_err(not)? {
            Decompressed::Tar(tar) => tar,
            Decompressed::Other { unsupported } => return Err(no_archive(&name, unsupported)),
        };
        let scan = Scan::read(tar, limits).await.map_err(not)?;
        let passed = file.finish();
        let digest = (passed.size == source.size()).then_some(passed.sha256);
        let contents = Contents::new(source, digest, scan)?;
        if contents.is_empty() {
            return Err(Error::not_a_bundle(&name, "it holds nothing"));
        }
        Ok(Self(Arc::new(contents)))
    }

    /// What people know the package by.
    pub fn name(&self) -> String {
        self.0.source.name()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.0.source.size()
    }

    /// Digest of the file; nothing where it ends with what nobody needs to read.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest
    }

    /// The files that are no image archives.
    pub fn files(&self) -> &[ForeignFile] {
        &self.0.files
    }

    /// Why there are no images, where there are none.
    pub(crate) fn no_image_reason(&self) -> &'static str {
        match self.is_archived_product() {
            true => {
                "its images are in a directory, as in a product bundle that was archived or compressed \
                 anew: take the bundle as it was published"
            }
            false => "it holds no image",
        }
    }

    /// Whether it is a product bundle that was archived anew.
    pub(crate) fn is_archived_product(&self) -> bool {
        self.0.is_archived_product
    }

    /// Everything that is wrong with the package and its images. Without problems, all images can be
    /// installed, and everything can be unpacked.
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

    /// Facts about the package and its images that are no problems: platforms that are not in it,
    /// and files of no image.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.0.notes.clone();
        for image in self.images() {
            // An image is listed under each of its names.
            for note in &image.notes {
                if !notes.contains(note) {
                    notes.push(note.clone());
                }
            }
        }
        notes
    }

    /// The layers of images that registries need not hold and that are not in the package, each in a
    /// sentence.
    pub fn unavailable_layers(&self) -> Vec<String> {
        let layers = self.images().iter().flat_map(|image| {
            image.unavailable.iter().map(move |(layer, address)| {
                let from = address.as_ref().map_or_else(|| "its owner".to_owned(), Clone::clone);
                format!(
                    "{}: its non-distributable layer {layer} is not in the package; whatever runs the \
                     image fetches it from {from}",
                    image.reference
                )
            })
        });
        layers.collect()
    }

    /// The same package, of which `bundle.json` describes a bundle that the file is not.
    pub(crate) fn with_altered_bundle_problem(self) -> Self {
        let is_document = |file: &&ForeignFile| {
            matches!(file.path.split('/').collect::<Vec<_>>()[..], [_, FILE_NAME])
        };
        let Some(document) = self.files().iter().find(is_document) else { return self };
        let mut problems = vec![PackageProblem {
            file: Some(document.path.clone()),
            image: None,
            what: "it describes a bundle, which this file no longer is byte for byte".to_owned(),
        }];
        problems.extend_from_slice(&self.0.problems);
        Self(Arc::new(Contents { problems, ..(*self.0).clone() }))
    }

    /// Refuses a package that has problems.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the first problem, and how many there are.
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

    /// The one directory that everything stands in, where there is one.
    pub(crate) fn directory(&self) -> Option<&str> {
        let files = self.files().iter().map(|file| file.path.as_str());
        let archives = self.images().iter().map(|image| image.archive.as_str());
        let mut tops = files.chain(archives).map(|path| path.split_once('/').map(|(top, _)| top));
        let first = tops.next().flatten()?;
        tops.all(|top| top == Some(first)).then_some(first)
    }

    /// The images.
    pub fn images(&self) -> &[ForeignImage] {
        &self.0.images
    }

    /// Whether a blob of an image is in the package.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        self.0.blobs.contains_key(digest)
    }

    /// The file at a path, or the target of a link at it.
    pub(crate) fn target_of<'p>(&'p self, path: &'p str) -> &'p str {
        self.0.links.get(path).map_or(path, String::as_str)
    }

    pub(crate) fn source(&self) -> Arc<dyn BundleSource> {
        Arc::clone(&self.0.source)
    }

    /// Opens a blob by reading up to it.
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

async fn find_entry(tar: Reader, path: &str, limits: &Limits) -> std::io::Result<Option<Reader>> {
    let mut entries = TarEntries::new(tar, limits).await?;
    while let Some(entry) = entries.next().await? {
        if entry.path.text == path && entry.is_file() {
            return Ok(Some(entry.into_reader()));
        }
    }
    Ok(None)
}

/// A layer without its compression, which registries do not know.
async fn decompressed_blob(blob: Reader, limits: &Limits) -> std::io::Result<Reader> {
    match decode(blob, limits).await? {
        Decoded::Compressed(_, reader) | Decoded::Plain(reader) => Ok(reader),
        Decoded::Unsupported(name) => Err(std::io::Error::other(unsupported_reason(name))),
    }
}

pub(crate) fn no_archive(name: &str, unsupported: Option<&'static str>) -> Error {
    match unsupported {
        Some(format) => {
            let reason = format!("it {}", unsupported_reason(format));
            Error::not_a_bundle(name, reason)
        }
        None => Error::not_a_bundle(name, "it is not a tar archive"),
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
        let failed = |error| RegistryError::io(format!("cannot read {what}"), error);
        let missing = || RegistryError::NotFound { what: what.clone() };
        let location = self.0.blobs.get(&descriptor.digest).ok_or_else(missing)?;
        let mut reader = self.find(location).await.map_err(failed)?.ok_or_else(missing)?;
        let mut skipped = (&mut reader).take(range.start);
        tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await.map_err(failed)?;
        let rest = reader.take(range.end.saturating_sub(range.start));
        Ok(byte_stream(rest, what.clone()))
    }
}
