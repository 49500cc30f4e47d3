//! Layers that old tools cannot load, gzipped before a bundle is planned.
//!
//! How large a layer becomes is known only when it is compressed, and a plan has to know it. So
//! these layers, and no others, are kept beside the bundle until it is written.

mod layer;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::storage::Storage;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, ImageSourceExt as _,
    MAX_MANIFEST_BYTES, Manifest, RawManifest, Repository, TagOrDigest,
};
use tokio::task::JoinSet;

use self::layer::{LayerCompression, Recompression};
use crate::foreign::limits::DecoderMemory;
use crate::plan::image::ArchiveImage;
use crate::{Error, WriteOptions, diff_ids};

/// Images of which all layers are gzipped.
pub struct Recompressed {
    /// Where their blobs are read from.
    pub source: Arc<dyn ImageSource>,
    /// The images, with the digests that they have now.
    pub images: Vec<ArchiveImage>,
    /// The layers that were compressed, as they were and as they are.
    pub layers: Vec<(Descriptor, Descriptor)>,
}

/// The layers that [`recompress`] would compress: those that are not compressed, and those that are
/// zstd. Each stands here once.
///
/// # Errors
/// Where an image manifest cannot be read.
pub fn layers_to_recompress(images: &[ArchiveImage]) -> Result<Vec<Descriptor>, Error> {
    Ok(pending(images)?.into_values().map(|pending| pending.layer).collect())
}

/// Gzips the layers that are not: image manifests and indexes get other digests, configurations
/// stay. The same layer gives the same bytes with the same version of this crate.
///
/// Compressed layers are kept in `staged`, by the digests of what they were made of; what is there
/// from an earlier run is used again. Whoever calls this removes it when the bundle is written.
///
/// # Errors
/// Where a layer cannot be read, is not what its media type says, or unpacks to something else than
/// the configuration of its image says. Its decoders have 40 MiB of memory together; a layer that needs
/// more is refused.
pub async fn recompress<S: Storage>(
    source: Arc<dyn ImageSource>,
    images: Vec<ArchiveImage>,
    staged: Arc<S>,
    options: &WriteOptions,
) -> Result<Recompressed, Error> {
    let mut pending = pending(&images)?;
    read_diff_ids(&*source, &images, &mut pending).await?;
    options.progress.expect(pending.values().map(|pending| pending.layer.size).sum());
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
    layers.sort_by_key(|(before, _)| before.digest);
    let changed = layers.iter().map(|(before, after)| (before.digest, after.clone())).collect();
    let images = images.into_iter().map(|image| rewrite::image(image, &changed));
    let images = images.collect::<Result<_, _>>()?;
    let compressed = layers.iter().map(|(_, after)| (after.digest, after.clone())).collect();
    let source = Arc::new(OverlaySource { source, staged, compressed });
    Ok(Recompressed { source, images, layers })
}

/// A layer that is to be compressed.
struct PendingLayer {
    layer: Descriptor,
    /// A repository that has it.
    repository: Repository,
    /// The diff ID, by the configurations of its images.
    diff_ids: BTreeSet<String>,
}

/// The layers that are to be compressed.
fn pending(images: &[ArchiveImage]) -> Result<BTreeMap<Digest, PendingLayer>, Error> {
    let mut pending = BTreeMap::new();
    for image in images {
        for manifest in image.manifests() {
            let Manifest::Image { layers, .. } = manifest.parse()? else { continue };
            let layers = layers.into_iter().filter(|layer| !layer.is_held_elsewhere());
            for layer in layers.filter(|layer| LayerCompression::of(layer).is_some()) {
                if matches!(image.reference.locator(), Locator::Digest(_)) {
                    return Err(Error::InvalidInput(format!(
                        "{} is named by its digest, which other layers change",
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

/// Reads from the configurations what the layers decompress to.
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

/// The diff IDs in a configuration, one for each layer; nothing if it names none.
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
        return Err(bad(format!("{} bytes are too many", config.size)).into());
    }
    let bytes = source.read(&image.repository, config).await;
    let bytes = bytes.map_err(|error| error.in_image(&image.reference))?;
    Ok(diff_ids::read_for(&bytes, layers.len()).map_err(bad)?)
}

/// A source, and the compressed layers beside it.
struct OverlaySource<S> {
    source: Arc<dyn ImageSource>,
    staged: Arc<S>,
    compressed: HashMap<Digest, Descriptor>,
}

#[async_trait]
impl<S: Storage> ImageSource for OverlaySource<S> {
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
        match self.compressed.get(&descriptor.digest) {
            Some(layer) => {
                ImageSource::blob(&*self.staged, &layer::repository()?, layer, range).await
            }
            None => self.source.blob(repository, descriptor, range).await,
        }
    }

    async fn holds_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, RegistryError> {
        match self.compressed.contains_key(&descriptor.digest) {
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
