//! Reads all manifests of an image, and collects its blobs.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::buffered;
use crate::image_manifest::MAX_IMAGE_MANIFESTS_BYTES;
use crate::index_images::{MAX_INDEX_DEPTH, too_deep_reason};
use crate::{
    Descriptor, Digest, Error, ImageSource, ImageSourceExt as _, Manifest, RawManifest, Repository,
    TagOrDigest,
};

/// The number of manifests of one image that are read at once.
const CONCURRENT_READS: usize = 8;

/// The maximum size in bytes of the manifests of all images in flight.
const MAX_MANIFEST_MEMORY: u64 = 64 << 20;

/// The number of bytes that one permit of the budget represents.
const BYTES_PER_PERMIT: u64 = 64 << 10;

/// Limits the memory for the manifests of all images that are copied at once.
#[derive(Clone)]
pub(super) struct MemoryBudget(Arc<Semaphore>);

impl MemoryBudget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(permits(MAX_MANIFEST_MEMORY) as usize)))
    }

    /// Waits for the memory of a tree whose size is not known yet, and reserves it.
    async fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so that there is always a permit.
        Arc::clone(&self.0).acquire_many_owned(permits(MAX_IMAGE_MANIFESTS_BYTES)).await.ok()
    }
}

/// All manifests and blobs of an image.
#[derive(Default)]
pub(super) struct ManifestTree {
    /// The manifests by depth, with the root alone at depth 0.
    /// A manifest that is referenced at several depths is in each of these levels, so that the
    /// levels can be written in reverse order.
    pub(super) levels: Vec<Vec<RawManifest>>,
    /// The blobs that registries must have, without duplicates. The largest one is first, so that
    /// no long transfer begins when all others have ended.
    pub(super) blobs: Vec<Descriptor>,
    /// The layers that registries need not have, without duplicates.
    pub(super) nondistributable: Vec<Descriptor>,
    /// The size of all manifests.
    bytes: u64,
    /// The memory that the manifests take.
    memory: Option<OwnedSemaphorePermit>,
}

impl ManifestTree {
    /// Reads the manifests below a root.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] if indexes are nested too deep or the manifests are too large
    /// together; [`Error::SizeMismatch`] if a manifest does not have the size in its descriptor;
    /// errors of the source.
    pub(super) async fn read(
        source: &dyn ImageSource,
        repository: &Repository,
        root: RawManifest,
        budget: &MemoryBudget,
    ) -> Result<Self, Error> {
        let mut tree = Self::default();
        if root.is_index() {
            tree.memory = budget.reserve().await;
        }
        let (mut level, mut seen) = (vec![root], HashSet::new());
        while !level.is_empty() {
            let children = tree.add(level, &mut seen)?;
            let reads = children.iter().map(|child| read(source, repository, child).boxed());
            level = buffered(CONCURRENT_READS, reads.collect()).await?;
        }
        tree.blobs.sort_by_key(|blob| Reverse(blob.size));
        let spare = permits(MAX_IMAGE_MANIFESTS_BYTES) - permits(tree.bytes);
        drop(tree.memory.as_mut().and_then(|memory| memory.split(spare as usize)));
        Ok(tree)
    }

    /// Adds a level, and returns the manifests of the next one.
    /// `seen` contains the digests of the blobs found so far.
    fn add(
        &mut self,
        level: Vec<RawManifest>,
        seen: &mut HashSet<Digest>,
    ) -> Result<Vec<Descriptor>, Error> {
        let (mut children, mut seen_children) = (Vec::new(), HashSet::new());
        for manifest in &level {
            let content = manifest.parse()?;
            let new = content.distributable_blobs().filter(|blob| seen.insert(blob.digest));
            self.blobs.extend(new.cloned());
            let new = content.nondistributable_layers().filter(|blob| seen.insert(blob.digest));
            self.nondistributable.extend(new.cloned());
            match content {
                Manifest::Image { .. } => {}
                Manifest::Index(_) if self.levels.len() >= MAX_INDEX_DEPTH => {
                    return Err(invalid_index(manifest, too_deep_reason()));
                }
                Manifest::Index(entries) => {
                    let manifests = entries.into_iter().filter(Descriptor::is_manifest);
                    children.extend(manifests.filter(|child| seen_children.insert(child.digest)));
                }
            }
        }
        self.check_size(&level, &children)?;
        self.bytes += level.iter().map(|manifest| manifest.descriptor().size).sum::<u64>();
        self.levels.push(level);
        Ok(children)
    }

    /// Checks the size of the tree with another level. Its children are not read yet.
    fn check_size(&self, level: &[RawManifest], children: &[Descriptor]) -> Result<(), Error> {
        let sizes = level.iter().map(RawManifest::descriptor).chain(children);
        let bytes = self.bytes + sizes.map(|manifest| manifest.size).sum::<u64>();
        let root = self.levels.iter().flatten().chain(level).next();
        match root {
            Some(root) if bytes > MAX_IMAGE_MANIFESTS_BYTES => Err(invalid_index(
                root,
                format!(
                    "its manifests have {bytes} bytes; the limit is {MAX_IMAGE_MANIFESTS_BYTES}"
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn invalid_index(index: &RawManifest, reason: String) -> Error {
    Error::InvalidContent { what: format!("index {}", index.digest()), reason }
}

/// Reads a manifest, and checks the size in its descriptor.
async fn read(
    source: &dyn ImageSource,
    repository: &Repository,
    child: &Descriptor,
) -> Result<RawManifest, Error> {
    let manifest = source.verified_manifest(repository, &TagOrDigest::Digest(child.digest)).await?;
    if manifest.descriptor().size == child.size {
        return Ok(manifest);
    }
    Err(Error::SizeMismatch {
        what: format!("manifest {repository}@{}", child.digest),
        expected: child.size,
        actual: manifest.descriptor().size,
    })
}

/// Returns the number of permits for this many bytes.
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(u32::MAX)
}
