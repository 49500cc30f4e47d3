//! Layers that old tools cannot load, gzipped before a bundle is planned.
//!
//! How large a layer becomes is known only when it is compressed, and a plan has to know it. So
//! these layers, and no others, are kept beside the bundle until it is written.

mod layer;
mod rewrite;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::storage::Storage;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, Locator, Manifest,
    RawManifest, Repository,
};
use tokio::task::JoinSet;

use self::layer::{Packing, Recompression};
use crate::plan::image::ArchiveImage;
use crate::{Error, WriteOptions};

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
    Ok(wanted(images)?.into_values().map(|(layer, _)| layer).collect())
}

/// Gzips the layers that are not: image manifests and indexes get other digests, configurations
/// stay. The same layer gives the same bytes with the same version of this crate.
///
/// Compressed layers are kept in `staged`, by the digests of what they were made of; what is there
/// from an earlier run is used again. Whoever calls this removes it when the bundle is written.
///
/// # Errors
/// Where a layer cannot be read, or is not what its media type says.
pub async fn recompress<S: Storage>(
    source: Arc<dyn ImageSource>,
    images: Vec<ArchiveImage>,
    staged: Arc<S>,
    options: &WriteOptions,
) -> Result<Recompressed, Error> {
    let wanted = wanted(&images)?;
    options.progress.expect(wanted.values().map(|(layer, _)| layer.size).sum());
    let mut waiting = wanted.into_values();
    let (mut running, mut layers) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < options.jobs.max(1)
            && let Some((layer, repository)) = waiting.next()
        {
            let one = Recompression {
                source: Arc::clone(&source),
                repository,
                layer,
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
    let source = Arc::new(WithStaged { source, staged, compressed });
    Ok(Recompressed { source, images, layers })
}

/// The layers that are to be compressed, and a repository that has each.
fn wanted(images: &[ArchiveImage]) -> Result<BTreeMap<Digest, (Descriptor, Repository)>, Error> {
    let mut wanted = BTreeMap::new();
    for image in images {
        for manifest in image.manifests() {
            let Manifest::Image { layers, .. } = manifest.parse()? else { continue };
            let layers = layers.into_iter().filter(|layer| !layer.is_held_elsewhere());
            for layer in layers.filter(|layer| Packing::of(layer).is_some()) {
                if matches!(image.reference.locator(), Locator::Digest(_)) {
                    return Err(Error::Unplannable(format!(
                        "{} is named by its digest, which other layers change",
                        image.reference
                    )));
                }
                wanted.entry(layer.digest).or_insert((layer, image.repository.clone()));
            }
        }
    }
    Ok(wanted)
}

/// A source, and the compressed layers beside it.
struct WithStaged<S> {
    source: Arc<dyn ImageSource>,
    staged: Arc<S>,
    compressed: HashMap<Digest, Descriptor>,
}

#[async_trait]
impl<S: Storage> ImageSource for WithStaged<S> {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
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

    fn parts(&self) -> Option<&compass_registry::Parts> {
        self.source.parts()
    }

    fn registry(&self) -> Option<&str> {
        self.source.registry()
    }

    fn retry(&self) -> compass_registry::RetryPolicy {
        self.source.retry()
    }
}
