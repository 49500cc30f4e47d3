//! Sample images for tests.

use std::sync::Arc;

use super::rng::random_bytes;
use crate::storage::{MemoryStorage, Storage as _};
use crate::{
    Descriptor, Digest, Error, ImageBuilder, ImageRef, ImageSource, ImageSourceExt as _, Layer,
    Manifest, Platform, RawManifest, Repository, Tag, media_type,
};

/// An image with random layers, the same for the same seed.
#[derive(Debug, Clone)]
pub struct SampleImage {
    /// The image manifest.
    pub manifest: RawManifest,
    /// The configuration and the layers.
    pub blobs: Vec<Vec<u8>>,
}

impl SampleImage {
    /// Creates an image with layers of these sizes in bytes.
    pub fn new(seed: u64, layers: &[usize]) -> Self {
        let layers = layers.iter().zip(seed * 1000..);
        Self::with_layers(layers.map(|(bytes, seed)| random_bytes(seed, *bytes)).collect())
    }

    /// Creates an image with these layers.
    pub fn with_layers(layers: Vec<Vec<u8>>) -> Self {
        Self::for_architecture("amd64", layers)
    }

    /// Creates an image with these layers for a processor architecture.
    pub fn for_architecture(architecture: &str, layers: Vec<Vec<u8>>) -> Self {
        let add = |builder: ImageBuilder, layer: &Vec<u8>| {
            // The content is random, so it needs no uncompressed form with a digest of its own.
            let diff_id = Digest::of(layer);
            builder.layer(Layer::compressed(media_type::OCI_LAYER_GZIP, layer.clone(), diff_id))
        };
        let image =
            layers.iter().fold(ImageBuilder::new(Platform::new("linux", architecture)), add);
        let image = image.build();
        let config = image.config().map(|config| config.to_vec());
        Self {
            manifest: image.manifest().clone(),
            blobs: config.into_iter().chain(layers).collect(),
        }
    }

    /// Returns the total size of all blobs in bytes.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.len() as u64).sum()
    }

    /// Writes the image to a storage.
    ///
    /// # Errors
    /// Errors of the storage.
    pub async fn store(
        &self,
        storage: &MemoryStorage,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<(), Error> {
        for blob in &self.blobs {
            storage.add_blob(repository, blob.clone());
        }
        storage.put_manifest(repository, &self.manifest, Some(tag)).await
    }
}

/// Reads and verifies all manifests and blobs of an image.
///
/// # Errors
/// The first missing or mismatched content.
pub async fn read_image(
    source: Arc<dyn ImageSource>,
    image: &ImageRef,
) -> Result<RawManifest, Error> {
    let repository = &image.repository;
    let root = source.verified_manifest(repository, &image.reference).await?;
    match root.parse()? {
        Manifest::Image { config, layers } => {
            for blob in std::iter::once(config).chain(layers) {
                read_blob(&*source, repository, &blob).await?;
            }
        }
        Manifest::Index(images) => {
            for image in images {
                let image = ImageRef::new(repository.clone(), image.digest);
                Box::pin(read_image(Arc::clone(&source), &image)).await?;
            }
        }
    }
    Ok(root)
}

async fn read_blob(
    source: &dyn ImageSource,
    repository: &Repository,
    blob: &Descriptor,
) -> Result<(), Error> {
    use futures_util::StreamExt as _;
    let what = format!("{repository}@{}", blob.digest);
    let bytes = source.blob(repository, blob, 0..blob.size).await?;
    let mut verified = crate::VerifiedBlob::new(what, blob.clone(), bytes);
    while let Some(chunk) = verified.next().await {
        chunk?;
    }
    Ok(())
}
