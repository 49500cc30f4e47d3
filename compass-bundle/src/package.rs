//! Any install package: a bundle, or a package of other tools.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use compass_registry::{Error as RegistryError, Hasher, RawManifest, Reference, TagOrDigest};

use crate::document::FILE_NAME;
use crate::format::gzip;
use crate::plan::entry;
use crate::{Bundle, BundleSource, Damage, Error, ForeignPackage, Verified, VerifyOptions};

/// Size of the name field in a tar header.
const TAR_NAME_SIZE: u64 = 100;

/// Bytes per read when a file is hashed.
const READ_SIZE: u64 = 4 << 20;

/// An install package.
#[derive(Debug, Clone)]
pub enum Package {
    /// A bundle, which is read by offset.
    Bundle(Bundle),
    /// A package of other tools, which is read in sequence.
    Foreign(ForeignPackage),
}

impl Package {
    /// Opens a package. Reads only the start of a bundle, and all of a foreign package.
    ///
    /// The content decides: a bundle has `bundle.json` as its first entry. Gzip of level 0, which
    /// other tools write as well, is not enough.
    ///
    /// # Errors
    /// As [`Bundle::read`] and [`ForeignPackage::read`]. For a file that starts as a bundle but is
    /// neither, the error describes the damaged bundle.
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let bundle_error = match Bundle::read(Arc::clone(&source)).await {
            Ok(bundle) => return Ok(Self::Bundle(bundle)),
            Err(error @ (Error::NotABundle { .. } | Error::Damaged { .. })) => error,
            Err(error) => return Err(error),
        };
        let is_bundle = starts_with_document(&*source).await?;
        if is_bundle && matches!(bundle_error, Error::Damaged { .. }) {
            return Err(bundle_error);
        }
        match ForeignPackage::read(Arc::clone(&source)).await {
            Ok(package) => Ok(Self::Foreign(package.with_altered_bundle_problem())),
            Err(_) if is_bundle || is_truncated(&*source).await? => Err(bundle_error),
            Err(error) => Err(error),
        }
    }
}

/// Verifies a file that could not be opened with `error`.
///
/// Returns `None` if the error does not concern the content, such as a failed read.
///
/// # Errors
/// If the file cannot be read.
pub async fn verify_unreadable(
    source: Arc<dyn BundleSource>,
    error: &Error,
    options: &VerifyOptions,
) -> Result<Option<Verified>, Error> {
    if !matches!(error, Error::Damaged { .. } | Error::NotABundle { .. }) {
        return Ok(None);
    }
    let (size, range) = (source.size(), mismatch_range(&source).await?);
    let damage = Damage { file: None, image: None, blob: None, range, what: error.to_string() };
    let mut verified = Verified { size, digest: None, checksum: None, damages: vec![damage] };
    if !options.quick {
        let (mut hasher, mut position) = (Hasher::default(), 0);
        options.progress.add_total(size);
        while position < size {
            let bytes = source.read(position..size.min(position + READ_SIZE)).await?;
            hasher.update(&bytes);
            position += bytes.len() as u64;
            options.progress.advance(bytes.len() as u64);
        }
        verified.digest = Some(hasher.finish());
        verified.compare_checksum(&*source).await?;
    }
    Ok(Some(verified))
}

/// The range of bytes that contains the first difference from a bundle: the gzip header, everything
/// that was read to parse the structure, or the whole file.
///
/// # Errors
/// If the file cannot be read.
pub async fn mismatch_range(source: &Arc<dyn BundleSource>) -> Result<Range<u64>, Error> {
    let has_header = has_bundle_header(&**source).await?;
    let recording =
        Arc::new(RecordingSource { source: Arc::clone(source), end: AtomicU64::new(0) });
    let opened = Bundle::read(recording.clone()).await;
    Ok(match (has_header, opened) {
        (true, _) => 0..recording.end.load(Ordering::Relaxed),
        (false, Ok(_)) => 0..gzip::HEADER.len() as u64,
        (false, Err(_)) => 0..source.size(),
    })
}

/// Finds an image manifest in one repository. `images` yields the reference, root manifest and
/// other manifests of each image.
///
/// # Errors
/// If several images match: registries on two hosts may use the same tag for different images.
pub(crate) fn find_manifest<'i>(
    locator: &TagOrDigest,
    images: impl Iterator<Item = (&'i Reference, &'i RawManifest, &'i [RawManifest])>,
    what: impl Fn() -> String,
) -> Result<RawManifest, RegistryError> {
    let mut found: Option<&RawManifest> = None;
    for (reference, root, children) in images {
        let fits = match locator {
            TagOrDigest::Tag(tag) => {
                (reference.with_default_tag().tag() == Some(tag)).then_some(root)
            }
            TagOrDigest::Digest(digest) => {
                let mut all = std::iter::once(root).chain(children);
                all.find(|manifest| manifest.digest() == *digest)
            }
        };
        match (found, fits) {
            (Some(one), Some(other)) if one.digest() != other.digest() => {
                let reason = "several images have this name: select one by its digest".to_owned();
                return Err(RegistryError::InvalidContent { what: what(), reason });
            }
            (None, fits) => found = fits,
            _ => {}
        }
    }
    found.cloned().ok_or_else(|| RegistryError::NotFound { what: what() })
}

/// A source with the gzip header of a bundle, whatever its own is, that records how far it was
/// read.
#[derive(Debug)]
struct RecordingSource {
    source: Arc<dyn BundleSource>,
    end: AtomicU64,
}

#[async_trait]
impl BundleSource for RecordingSource {
    fn name(&self) -> String {
        self.source.name()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.end.fetch_max(range.end, Ordering::Relaxed);
        let mut bytes = BytesMut::from(self.source.read(range.clone()).await?);
        let header =
            gzip::HEADER.iter().enumerate().skip_while(|(at, _)| (*at as u64) < range.start);
        for ((_, expected), byte) in header.zip(bytes.iter_mut()) {
            *byte = *expected;
        }
        Ok(bytes.freeze())
    }
}

/// Whether a file with the gzip header of a bundle has `bundle.json` as its first entry.
async fn starts_with_document(source: &dyn BundleSource) -> Result<bool, Error> {
    let start = gzip::HEADER.len() as u64 + gzip::BLOCK_HEADER;
    let end = start + TAR_NAME_SIZE;
    if source.size() < end || !has_bundle_header(source).await? {
        return Ok(false);
    }
    let name = source.read(start..end).await?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    // A long directory name is in another field, or in an extended header before the entry.
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Ok(last == FILE_NAME.as_bytes() || name == entry::PAX_HEADER.as_bytes())
}

/// Whether a file ends before its first tar header does.
async fn is_truncated(source: &dyn BundleSource) -> Result<bool, Error> {
    let end = gzip::HEADER.len() as u64 + gzip::BLOCK_HEADER + TAR_NAME_SIZE;
    Ok(source.size() < end && has_bundle_header(source).await?)
}

async fn has_bundle_header(source: &dyn BundleSource) -> Result<bool, Error> {
    let length = source.size().min(gzip::HEADER.len() as u64);
    Ok(source.read(0..length).await?[..] == gzip::HEADER)
}
