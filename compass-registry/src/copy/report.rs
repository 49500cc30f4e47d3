//! The result of a copy.

use super::blobs::BlobOutcome;
use super::resolved::Resolved;
use crate::{Descriptor, Digest, Platform};

/// What a copy did, or what a planned copy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest of the image manifest or index at the destination.
    pub digest: Digest,
    /// Whether the destination had the image. If so, its blobs are not looked up.
    pub already_present: bool,
    /// Whether the destination gets an index of only some of the source's images.
    pub platform_subset: bool,
    /// The requested platforms that a single image does not support.
    /// The image is copied nevertheless.
    pub missing_platforms: Vec<Platform>,
    /// The non-distributable layers that neither the source nor the destination has.
    /// A host can run the image only if it can fetch them from their publisher.
    pub unavailable: Vec<Digest>,
    /// The other image that the destination had under the tag before.
    pub replaced_digest: Option<Digest>,
    /// The image that was not copied because the destination keeps its own. See
    /// [`OnExistingTag::Keep`](crate::OnExistingTag::Keep).
    pub not_copied: Option<Digest>,
    /// The number of blobs that were transferred.
    pub blobs: usize,
    /// The size of the blobs that were transferred, in bytes.
    pub bytes: u64,
    /// The size of the blobs that were mounted from another repository, in bytes.
    pub mounted_bytes: u64,
    /// The size of the blobs that the destination had, in bytes.
    /// Blobs that were not looked up are not included.
    pub present_bytes: u64,
}

impl CopyReport {
    pub(super) fn new(resolved: &Resolved) -> Self {
        Self {
            digest: resolved.target.digest(),
            already_present: resolved.already_present,
            platform_subset: resolved.is_platform_subset(),
            missing_platforms: Vec::new(),
            unavailable: Vec::new(),
            replaced_digest: resolved.replaced_digest,
            not_copied: None,
            blobs: 0,
            bytes: 0,
            mounted_bytes: 0,
            present_bytes: 0,
        }
    }

    /// Returns the report if the destination keeps its image under the tag.
    pub(super) fn with_kept(self, kept: Digest) -> Self {
        let not_copied = Some(self.digest);
        Self { digest: kept, replaced_digest: None, not_copied, ..self }
    }

    pub(super) fn count(&mut self, blob: &Descriptor, outcome: BlobOutcome) {
        match outcome {
            BlobOutcome::Present => self.present_bytes += blob.size,
            BlobOutcome::Mounted => self.mounted_bytes += blob.size,
            BlobOutcome::Copied => {
                self.blobs += 1;
                self.bytes += blob.size;
            }
        }
    }

    /// Counts a layer that may be in neither registry.
    pub(super) fn count_if_available(&mut self, layer: &Descriptor, outcome: Option<BlobOutcome>) {
        match outcome {
            Some(outcome) => self.count(layer, outcome),
            None => self.unavailable.push(layer.digest),
        }
    }
}
