//! The options of a copy.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Digest, NoProgress, Platform, Progress};

/// The number of images in flight for each job.
/// While some transfer blobs, others look them up.
const IMAGES_PER_JOB: usize = 2;

/// How to copy images.
///
/// ```
/// use compass_registry::{CopyOptions, OnExistingTag};
///
/// let options = CopyOptions::default().jobs(8).on_existing_tag(OnExistingTag::Move);
/// assert!(options.platforms.is_empty());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The platforms to copy of an index. With one platform, a single image is copied; with
    /// several, an index of their images. If empty, indexes are copied whole.
    pub platforms: Vec<Platform>,
    /// The manifests that the source has of an index. `None` means all.
    pub available: Option<HashSet<Digest>>,
    /// The maximum number of blobs that are transferred at once; at least one.
    /// The copier starts with fewer, and adds more while that raises the throughput.
    pub jobs: usize,
    /// What to do if the destination has another image under the tag.
    pub on_existing_tag: OnExistingTag,
    /// Receives the progress, in bytes of blobs.
    pub progress: Arc<dyn Progress>,
}

/// What to do with a tag that names another image at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnExistingTag {
    /// Fail with [`Error::TagExists`](crate::Error::TagExists), before a blob is transferred.
    #[default]
    Error,
    /// Keep the tag, and do not copy the image.
    Keep,
    /// Move the tag to the new image.
    Move,
}

setters!(CopyOptions {
    platforms: Vec<Platform>,
    available: Option<HashSet<Digest>>,
    jobs: usize,
    on_existing_tag: OnExistingTag,
    progress: Arc<dyn Progress>,
});

impl CopyOptions {
    /// Returns the number of images to copy at once with one [`Copier`](crate::Copier).
    pub fn concurrent_images(&self) -> usize {
        self.jobs.max(1).saturating_mul(IMAGES_PER_JOB)
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            available: None,
            jobs: 32,
            on_existing_tag: OnExistingTag::default(),
            progress: Arc::new(NoProgress),
        }
    }
}
