//! Recompression of layers to gzip, for tools that support nothing else.
//!
//! The compressed size of a layer must be known before a bundle is planned. So the recompressed
//! layers are staged in a storage until the bundle is written.

mod layer;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::storage::{DiskStorage, Storage};
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, ImageSourceExt as _,
    MAX_MANIFEST_BYTES, Manifest, RawManifest, Repository, TagOrDigest,
};
use tokio::task::JoinSet;

use self::layer::{LayerCompression, Recompression};
use crate::foreign::limits::DecoderMemory;
use crate::part_file::create_own_directory;
use crate::plan::image::ArchiveImage;
use crate::{Error, WriteOptions, diff_ids};

/// Images whose layers are all gzipped.
#[non_exhaustive]
pub struct Recompressed {
    /// The source of the blobs of the images.
    pub source: Arc<dyn ImageSource>,
    /// The images, with their new digests.
    pub images: Vec<ArchiveImage>,
    /// The recompressed layers, in the order of the digests of the originals.
    pub layers: Vec<RecompressedLayer>,
}

/// The descriptors of a layer before and after its recompression.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecompressedLayer {
    /// The original layer.
    pub before: Descriptor,
    /// The gzipped layer.
    pub after: Descriptor,
}

/// Returns the layers that [`recompress`] would recompress, each once: uncompressed and zstd layers.
///
/// If there are none, no staging storage is needed.
///
/// # Errors
/// If an image manifest cannot be parsed. [`Error::InvalidInput`] if an image with such a layer is
/// referenced by its digest, which recompression would change.
pub fn layers_to_recompress(images: &[ArchiveImage]) -> Result<Vec<Descriptor>, Error> {
    Ok(pending(images)?.into_values().map(|pending| pending.layer).collect())
}

/// Recompresses layers to gzip.
///
/// Manifests and indexes get new digests; configurations stay the same. The same version of this
/// crate produces the same bytes for a layer.
///
/// Recompressed layers are stored in `staged` by the digest of the original, and reused in later
/// runs. The caller removes them after the bundle is written. [`staging_storage`] opens a directory
/// for them.
///
/// # Errors
/// As [`layers_to_recompress`]. If a layer cannot be read, has another compression than its media
/// type declares, does not match the diff ID in its configuration, or needs more than the 40 MiB of
/// memory that all decoders share.
///
/// # Cancellation
/// Dropping the future stops the work. Layers that were completed remain in `staged`.
pub async fn recompress(
    source: Arc<dyn ImageSource>,
    images: Vec<ArchiveImage>,
    staged: Arc<dyn Storage>,
    options: &WriteOptions,
) -> Result<Recompressed, Error> {
    let mut pending = pending(&images)?;
    read_diff_ids(&*source, &images, &mut pending).await?;
    options.progress.add_total(pending.values().map(|pending| pending.layer.size).sum());
    let mut waiting = pending.into_values();
    let memory = DecoderMemory::shared();
    let (mut running, mut layers) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < options.jobs.max(1)
            && let Some(PendingLayer { layer, repository, diff_ids }) = waiting.next()
        {
            let one = Recompression {
                source: Arc::clone(&source),
                repository,
                layer,
                diff_ids,
                memory: memory.clone(),
                staged: Arc::clone(&staged),
                progress: Arc::clone(&options.progress),
            };
            running.spawn(one.run());
        }
        let Some(done) = running.join_next().await else { break };
        layers.push(done.map_err(|_| Error::damaged("recompressing stopped"))??);
    }
    layers.sort_by_key(|layer| layer.before.digest);
    let changed = layers.iter().map(|layer| (layer.before.digest, layer.after.clone())).collect();
    let images = images.into_iter().map(|image| rewrite::image(image, &changed));
    let images = images.collect::<Result<_, _>>()?;
    let compressed = layers.iter().map(|layer| layer.after.digest).collect();
    let source = Arc::new(OverlaySource { source, staged, compressed });
    Ok(Recompressed { source, images, layers })
}

/// Opens a directory for recompressed layers that no other user can change, or creates it.
///
/// # Errors
/// [`Error::WrongOwner`] if another user created the directory; [`Error::Busy`] or an error of the
/// storage if another process uses it; [`Error::Io`].
pub async fn staging_storage(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    create_own_directory(path)?;
    Ok(Arc::new(DiskStorage::open_exclusive(path).await?))
}

/// A layer to recompress.
struct PendingLayer {
    layer: Descriptor,
    /// A repository that contains it.
    repository: Repository,
    /// The diff IDs in the configurations of its images.
    diff_ids: BTreeSet<String>,
}

/// The layers to recompress.
fn pending(images: &[ArchiveImage]) -> Result<BTreeMap<Digest, PendingLayer>, Error> {
    let mut pending = BTreeMap::new();
    for image in images {
        for manifest in image.manifests() {
            let Manifest::Image { layers, .. } = manifest.parse()? else { continue };
            let layers = layers.into_iter().filter(|layer| !layer.is_nondistributable());
            for layer in layers.filter(|layer| LayerCompression::of(layer).is_some()) {
                if matches!(image.reference.tag_or_digest(), TagOrDigest::Digest(_)) {
                    return Err(Error::InvalidInput(format!(
                        "{} is referenced by its digest, which recompression changes",
                        image.reference
                    )));
                }
                let (repository, diff_ids) = (image.repository.clone(), BTreeSet::new());
                let one = || PendingLayer { layer: layer.clone(), repository, diff_ids };
                pending.entry(layer.digest).or_insert_with(one);
            }
        }
    }
    Ok(pending)
}

/// Reads the expected diff IDs of the layers.
async fn read_diff_ids(
    source: &dyn ImageSource,
    images: &[ArchiveImage],
    pending: &mut BTreeMap<Digest, PendingLayer>,
) -> Result<(), Error> {
    for image in images {
        for manifest in image.manifests() {
            let Manifest::Image { config, layers } = manifest.parse()? else { continue };
            if !layers.iter().any(|layer| pending.contains_key(&layer.digest)) {
                continue;
            }
            let Some(expected) = diff_ids_of(source, image, &config, &layers).await? else {
                continue;
            };
            for (layer, diff_id) in layers.iter().zip(expected) {
                if let Some(pending) = pending.get_mut(&layer.digest) {
                    pending.diff_ids.insert(diff_id);
                }
            }
        }
    }
    Ok(())
}

/// The diff IDs in a configuration, one for each layer, or `None` if it lists none.
async fn diff_ids_of(
    source: &dyn ImageSource,
    image: &ArchiveImage,
    config: &Descriptor,
    layers: &[Descriptor],
) -> Result<Option<Vec<String>>, Error> {
    if !diff_ids::are_compared(config, layers) {
        return Ok(None);
    }
    let bad = |reason: String| RegistryError::InvalidContent {
        what: format!("the configuration {} of {}", config.digest, image.reference),
        reason,
    };
    if config.size > MAX_MANIFEST_BYTES {
        return Err(bad(format!("{} bytes exceed the limit", config.size)).into());
    }
    let bytes = source.read(&image.repository, config).await;
    let bytes = bytes.map_err(|error| error.in_image(&image.reference))?;
    Ok(diff_ids::read_for(&bytes, layers.len()).map_err(bad)?)
}

/// An image source in which recompressed layers take precedence.
struct OverlaySource {
    source: Arc<dyn ImageSource>,
    staged: Arc<dyn Storage>,
    compressed: HashSet<Digest>,
}

#[async_trait]
impl ImageSource for OverlaySource {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        self.source.manifest(repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        match self.compressed.contains(&descriptor.digest) {
            true => self.staged.read_blob(&layer::repository()?, &descriptor.digest, range).await,
            false => self.source.blob(repository, descriptor, range).await,
        }
    }

    async fn holds_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, RegistryError> {
        match self.compressed.contains(&descriptor.digest) {
            true => Ok(true),
            false => self.source.holds_blob(repository, descriptor).await,
        }
    }

    fn range_options(&self) -> Option<&compass_registry::RangeOptions> {
        self.source.range_options()
    }

    fn registry(&self) -> Option<&str> {
        self.source.registry()
    }

    fn retry(&self) -> compass_registry::RetryPolicy {
        self.source.retry()
    }
}
