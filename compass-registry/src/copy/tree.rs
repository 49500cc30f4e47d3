//! Everything that an image consists of.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::at_once;
use crate::index_images::{MAX_INDEX_DEPTH, too_deep};
use crate::{
    Descriptor, Digest, Error, ImageSource, ImageSourceExt as _, MAX_IMAGE_MANIFESTS_BYTES,
    Manifest, RawManifest, Repository, TagOrDigest,
};

/// Manifests that are read at once.
const AT_ONCE: usize = 8;

/// Bytes of manifests that images hold at once, as long as they are copied.
const MEMORY: u64 = 64 << 20;

/// Bytes that one permit stands for.
const UNIT: u64 = 64 << 10;

/// Room for the manifests of all images that are copied at once.
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(units(MEMORY) as usize)))
    }
}

/// Everything that an image consists of.
#[derive(Default)]
pub(super) struct Tree {
    /// By how deep they stand: the root alone on the first level. What stands on several levels is
    /// on each of them, so that from the deepest up, everything comes after what it refers to.
    pub(super) levels: Vec<Vec<RawManifest>>,
    /// Each once.
    pub(super) blobs: Vec<Descriptor>,
    /// Layers that registries need not hold, each once.
    pub(super) nondistributable: Vec<Descriptor>,
    bytes: u64,
    /// The room that the manifests take.
    room: Option<OwnedSemaphorePermit>,
}

impl Tree {
    /// Reads what stands beneath a manifest.
    pub(super) async fn read(
        source: &dyn ImageSource,
        repository: &Repository,
        root: RawManifest,
        room: &Room,
    ) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        let mut tree = Self::default();
        if root.is_index() {
            // The semaphore is never closed; without a permit there would only be more at once.
            tree.room =
                Arc::clone(&room.0).acquire_many_owned(units(MAX_IMAGE_MANIFESTS_BYTES)).await.ok();
        }
        let mut level = vec![root];
        while !level.is_empty() {
            let below = tree.add(level, &mut seen)?;
            let reads = below.iter().map(|below| read(source, repository, below).boxed());
            level = at_once(AT_ONCE, reads.collect()).await?;
        }
        let spare = units(MAX_IMAGE_MANIFESTS_BYTES) - units(tree.bytes);
        drop(tree.room.as_mut().and_then(|room| room.split(spare as usize)));
        Ok(tree)
    }

    /// Takes a level in, and gives the manifests of the next one. `seen` are blobs.
    fn add(
        &mut self,
        level: Vec<RawManifest>,
        seen: &mut HashSet<Digest>,
    ) -> Result<Vec<Descriptor>, Error> {
        let (mut below, mut named) = (Vec::new(), HashSet::new());
        for manifest in &level {
            let content = manifest.parse()?;
            let new = content.distributable_blobs().filter(|blob| seen.insert(blob.digest));
            self.blobs.extend(new.cloned());
            let new = content.nondistributable_layers().filter(|blob| seen.insert(blob.digest));
            self.nondistributable.extend(new.cloned());
            match content {
                Manifest::Image { .. } => {}
                Manifest::Index(_) if self.levels.len() >= MAX_INDEX_DEPTH => {
                    return Err(Error::InvalidContent {
                        what: format!("index {}", manifest.digest()),
                        reason: too_deep(),
                    });
                }
                Manifest::Index(entries) => {
                    let manifests = entries.into_iter().filter(Descriptor::is_manifest);
                    below.extend(manifests.filter(|manifest| named.insert(manifest.digest)));
                }
            }
        }
        let sizes = level.iter().map(RawManifest::descriptor).chain(&below);
        let bytes = self.bytes + sizes.map(|manifest| manifest.size).sum::<u64>();
        if bytes > MAX_IMAGE_MANIFESTS_BYTES {
            let root = self.levels.first().unwrap_or(&level).first().map(RawManifest::digest);
            return Err(Error::InvalidContent {
                what: root.map_or_else(String::new, |root| format!("index {root}")),
                reason: format!(
                    "its manifests have {bytes} bytes, of {MAX_IMAGE_MANIFESTS_BYTES} that they may"
                ),
            });
        }
        self.bytes += level.iter().map(|manifest| manifest.descriptor().size).sum::<u64>();
        self.levels.push(level);
        Ok(below)
    }
}

async fn read(
    source: &dyn ImageSource,
    repository: &Repository,
    named: &Descriptor,
) -> Result<RawManifest, Error> {
    let manifest = source.verified_manifest(repository, &TagOrDigest::Digest(named.digest)).await?;
    if manifest.descriptor().size == named.size {
        return Ok(manifest);
    }
    Err(Error::SizeMismatch {
        what: format!("manifest {repository}@{}", named.digest),
        expected: named.size,
        actual: manifest.descriptor().size,
    })
}

/// The permits for so many bytes.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}
