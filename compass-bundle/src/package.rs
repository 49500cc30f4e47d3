//! A bundle, or a package of any making.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use compass_registry::{Error as RegistryError, Hasher, RawManifest, Reference, TagOrDigest};

use crate::document::FILE_NAME;
use crate::plan::entry;
use crate::{Bundle, BundleSource, Damage, Error, ForeignPackage, Verified, VerifyOptions, frame};

/// Bytes of the name in the header of a tar entry.
const TAR_NAME_SIZE: u64 = 100;

/// Bytes that are hashed at once.
const READ_SIZE: u64 = 4 << 20;

/// What was opened: a bundle, or a package of any making.
#[derive(Debug, Clone)]
pub enum Package {
    /// A bundle that this crate wrote.
    Bundle(Bundle),
    /// What other tools made.
    Foreign(ForeignPackage),
}

impl Package {
    /// Reads whatever it is: a bundle at its beginning only, a package to its end. Which of the two
    /// is found out from the content: a bundle begins with `bundle.json`.
    ///
    /// # Errors
    /// As [`Bundle::read`] and [`ForeignPackage::read`]. What begins as a bundle does and is neither is
    /// described as a bundle.
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

/// What could not be opened, as a proof says it: the content is damaged, somewhere in what was read
/// to find that out. Nothing where the error says nothing of the content.
///
/// # Errors
/// Where the file cannot be read.
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

/// Where a file is not as a bundle is, as far as anybody can tell: its gzip header, what was read to
/// find out its structure, or all of it.
///
/// # Errors
/// Where the file cannot be read.
pub async fn mismatch_range(source: &Arc<dyn BundleSource>) -> Result<Range<u64>, Error> {
    let has_header = has_bundle_header(&**source).await?;
    let recording =
        Arc::new(RecordingSource { source: Arc::clone(source), end: AtomicU64::new(0) });
    let opened = Bundle::read(recording.clone()).await;
    Ok(match (has_header, opened) {
        (true, _) => 0..recording.end.load(Ordering::Relaxed),
        (false, Ok(_)) => 0..frame::HEADER.len() as u64,
        (false, Err(_)) => 0..source.size(),
    })
}

/// The image manifest that a locator names, among images of one repository: their references, what
/// each begins with, and the others of it. Registries at two hosts may have the same name for
/// different images; by a tag nobody can tell them apart.
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
                let reason = "several images have this name: ask for one by its digest".to_owned();
                return Err(RegistryError::InvalidContent { what: what(), reason });
            }
            (None, fits) => found = fits,
            _ => {}
        }
    }
    found.cloned().ok_or_else(|| RegistryError::NotFound { what: what() })
}

/// A source that begins as bundles do, whatever it begins with, and knows how far it was read.
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
            frame::HEADER.iter().enumerate().skip_while(|(at, _)| (*at as u64) < range.start);
        for ((_, expected), byte) in header.zip(bytes.iter_mut()) {
            *byte = *expected;
        }
        Ok(bytes.freeze())
    }
}

/// Whether the first entry of a file that is framed as bundles are is `bundle.json`. Other tools may
/// frame archives so as well: gzip of level 0 is the same.
async fn starts_with_document(source: &dyn BundleSource) -> Result<bool, Error> {
    let start = frame::HEADER.len() as u64 + frame::BLOCK_HEADER;
    let end = start + TAR_NAME_SIZE;
    if source.size() < end || !has_bundle_header(source).await? {
        return Ok(false);
    }
    let name = source.read(start..end).await?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    // A long directory is in another field, or in an extended header before the entry.
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Ok(last == FILE_NAME.as_bytes() || name == entry::PAX_HEADER.as_bytes())
}

/// Whether a file has nothing but the beginning of a frame.
async fn is_truncated(source: &dyn BundleSource) -> Result<bool, Error> {
    let end = frame::HEADER.len() as u64 + frame::BLOCK_HEADER + TAR_NAME_SIZE;
    Ok(source.size() < end && has_bundle_header(source).await?)
}

async fn has_bundle_header(source: &dyn BundleSource) -> Result<bool, Error> {
    let length = source.size().min(frame::HEADER.len() as u64);
    Ok(source.read(0..length).await?[..] == frame::HEADER)
}
