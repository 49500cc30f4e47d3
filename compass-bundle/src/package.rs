//! Packages of any making, read from their beginning to their end: what old scripts made with
//! `docker save` and `tar`, whatever its names say. What things are is told by their content.

mod archive;
pub(crate) mod blobs;
mod gzip;
mod image;
mod padding;
mod peel;
mod scan;
pub(crate) mod walk;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, Locator, RawManifest,
    Reference, Repository,
};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::InspectReader;

use self::archive::ScannedArchive;
use self::blobs::chunks_of;
use self::gzip::Budget;
use self::image::Found;
pub use self::image::PackageImage;
pub(crate) use self::peel::{Peeled, peel, reader_of};
use self::peel::{Reader, hashed_reader_of, peel_within};
use self::scan::Scan;
use self::walk::Entries;
use crate::Error;
use crate::opened::image_by;
use crate::read::BundleSource;

/// A package of any making.
///
/// It has been read once, from its beginning to its end: every layer's digest is known. As an
/// [`ImageSource`] it has its images; a layer is found by reading up to it again. Whoever wants many
/// of them, as [`install_package`](crate::install_package), reads it once.
#[derive(Debug, Clone)]
pub struct Package(Arc<Scanned>);

#[derive(Debug)]
struct Scanned {
    source: Arc<dyn BundleSource>,
    digest: Option<Digest>,
    files: Vec<PackageFile>,
    refused: Vec<(String, &'static str)>,
    /// Whether an OCI layout stands in a directory of it, as in a product bundle that somebody packed
    /// anew.
    has_layout: bool,
    images: Vec<PackageImage>,
    blobs: HashMap<Digest, Place>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Its path in the package.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// The text, where it is YAML.
    pub yaml: Option<Bytes>,
}

/// Where a blob stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    /// The image archive in the package, or nothing where the package is one itself.
    archive: Option<String>,
    entry: String,
}

impl Package {
    /// Reads a package.
    ///
    /// # Errors
    /// [`Error::NotABundle`] for what is no tar archive, compressed or not, or is damaged.
    pub async fn scan(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let name = source.name();
        let not = |error| Error::reading_anything(&name, error);
        let (reader, passing) = hashed_reader_of(Arc::clone(&source));
        let budget = Budget::of_a_package();
        let count = budget.clone();
        let reader =
            Box::pin(InspectReader::new(reader, move |bytes| count.took(bytes.len() as u64)));
        let Peeled::Tar(tar) = peel_within(reader, &budget).await.map_err(not)? else {
            return Err(Error::not_a_bundle(&name, "it is no tar archive"));
        };
        let scan = Scan::of(tar, budget).await.map_err(not)?;
        let (hasher, passed) =
            std::mem::take(&mut *passing.lock().unwrap_or_else(PoisonError::into_inner));
        let mut scanned = Scanned {
            digest: (passed == source.size()).then(|| hasher.finish()),
            source,
            files: Vec::new(),
            refused: Vec::new(),
            has_layout: scan.whole.holds_layout(),
            images: Vec::new(),
            blobs: HashMap::new(),
        };
        let mut found = Found::default();
        if scan.whole.is_image() {
            // The package is itself what `docker save` makes.
            scanned.add(None, &scan.whole, &mut found)?;
        } else {
            scanned.files = scan.files;
            scanned.refused = scan.refused;
            for (name, archive) in &scan.archives {
                scanned.add(Some(name), archive, &mut found)?;
            }
        }
        scanned.images = found.images;
        if scan.whole.is_ancient() {
            return Err(Error::not_a_bundle(&name, archive::ANCIENT));
        }
        if scanned.images.is_empty() && scanned.files.is_empty() {
            return Err(Error::not_a_bundle(&name, "it holds nothing"));
        }
        Ok(Self(Arc::new(scanned)))
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

    /// Whether the `.sha256` beside the file says that digest; nothing where there is none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn matches_checksum(&self) -> Result<Option<bool>, Error> {
        let Some(digest) = self.0.digest else { return Ok(None) };
        let written = self.0.source.checksum().await?;
        Ok(written.map(|written| written == digest.hex()))
    }

    /// The files that are no image archives.
    pub fn files(&self) -> &[PackageFile] {
        &self.0.files
    }

    /// Why there are no images, where there are none.
    pub(crate) fn why_no_image(&self) -> &'static str {
        match self.0.has_layout {
            true => {
                "its images stand in a directory, as in a product bundle that somebody packed or \
                 compressed anew: take the bundle as it was published"
            }
            false => "it holds no image",
        }
    }

    /// The paths of entries that [`unpack`](crate::unpack) refuses, and why. What is itself an image
    /// archive may have links.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.refused.iter().map(|(path, reason)| (path.as_str(), *reason))
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
    pub fn images(&self) -> &[PackageImage] {
        &self.0.images
    }

    pub(crate) fn source(&self) -> Arc<dyn BundleSource> {
        Arc::clone(&self.0.source)
    }

    /// Opens a blob by reading up to it.
    async fn find(&self, place: &Place) -> std::io::Result<Option<Reader>> {
        let Peeled::Tar(mut tar) = peel(reader_of(Arc::clone(&self.0.source))).await? else {
            return Ok(None);
        };
        if let Some(archive) = &place.archive {
            let Some(found) = find_entry(tar, archive).await? else { return Ok(None) };
            let Peeled::Tar(inner) = peel(found).await? else { return Ok(None) };
            tar = inner;
        }
        find_entry(tar, &place.entry).await
    }
}

async fn find_entry(tar: Reader, path: &str) -> std::io::Result<Option<Reader>> {
    let mut entries = Entries::of(tar)?;
    while let Some(entry) = entries.next().await? {
        if entry.path == path && entry.is_file {
            return Ok(Some(entry.into_reader()));
        }
    }
    Ok(None)
}

impl Scanned {
    /// Takes up the images of an archive: of one in the package, or of the package itself.
    fn add(
        &mut self,
        archive: Option<&String>,
        scanned: &ScannedArchive,
        found: &mut Found,
    ) -> Result<(), Error> {
        let name = archive.map_or_else(|| self.source.name(), Clone::clone);
        image::find(&name, scanned, found)?;
        for (digest, entry) in found.blobs.drain(..) {
            let place = || Place { archive: archive.cloned(), entry };
            self.blobs.entry(digest).or_insert_with(place);
        }
        Ok(())
    }
}

#[async_trait]
impl ImageSource for Package {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<RawManifest, RegistryError> {
        let own = self.images().iter().filter(|image| image.reference.repository() == repository);
        let own = own.map(|image| (&image.reference, &image.root, &image.children[..]));
        image_by(locator, own, || format!("{repository}:{locator} in {}", self.name()))
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
        let place = self.0.blobs.get(&descriptor.digest).ok_or_else(missing)?;
        let mut reader = self.find(place).await.map_err(failed)?.ok_or_else(missing)?;
        let mut skipped = (&mut reader).take(range.start);
        tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await.map_err(failed)?;
        let rest = reader.take(range.end.saturating_sub(range.start));
        Ok(chunks_of(rest, what.clone()))
    }
}

/// A reference that images without a name go by: their archive's name and the digest of their
/// configuration.
fn unnamed(archive: &str, digest: &Digest) -> Result<Reference, Error> {
    let name = archive.rsplit('/').next().unwrap_or_default();
    let stem = name.trim_end_matches(".gz").trim_end_matches(".tar");
    let plain: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let plain = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let name = if plain.is_empty() { "image" } else { &plain };
    Ok(format!("localhost/unnamed/{name}:{}", &digest.hex()[..12]).parse()?)
}
