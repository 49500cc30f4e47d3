//! An image as it goes into an archive.

use std::collections::BTreeSet;

use compass_registry::{
    Descriptor, Digest, Manifest, Platform, RawManifest, Reference, Repository,
};

use crate::Error;

/// No layer is larger than this; it keeps the arithmetic of hostile manifests within bounds.
const MAX_BLOB_BYTES: u64 = 1 << 40;

/// An image with everything that has to be known before its layers move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// The name inside the archive: the release registry's reference.
    pub reference: Reference,
    /// Where its blobs are read from.
    pub repository: Repository,
    /// The platform that was chosen, or nothing where the whole image index is kept.
    pub platform: Option<Platform>,
    /// The image manifest, or the image index where it is kept.
    pub root: RawManifest,
    /// The image manifests of a kept image index that come along.
    pub children: Vec<RawManifest>,
    /// The platforms of a kept image index whose images stay behind.
    pub absent: Vec<Platform>,
    /// The layers that registries need not hold
    /// ([`Descriptor::is_held_elsewhere`](compass_registry::Descriptor::is_held_elsewhere)), and that
    /// the source does not have either: the bundle is without them.
    pub unavailable: Vec<Digest>,
}

impl ArchiveImage {
    /// The image manifest, or the image index and then its image manifests.
    pub fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        std::iter::once(&self.root).chain(&self.children)
    }

    /// The configuration and layers that tools see which know only single images.
    pub(crate) fn single(
        &self,
        platform: &Platform,
    ) -> Result<(Descriptor, Vec<Descriptor>), Error> {
        match self.root.parse()? {
            Manifest::Image { config, layers } => Ok((config, layers)),
            Manifest::Index(images) => {
                let chosen = platform.best_of(&images).first().map(|image| image.digest);
                let child = self.children.iter().find(|child| Some(child.digest()) == chosen);
                match child.map(RawManifest::parse).transpose()? {
                    Some(Manifest::Image { config, layers }) => Ok((config, layers)),
                    _ => Err(Error::Unplannable(format!(
                        "{} has no image for {platform}",
                        self.reference
                    ))),
                }
            }
        }
    }

    /// The layers that registries need not hold, each once.
    pub(crate) fn nondistributable_layers(&self) -> Result<Vec<Descriptor>, Error> {
        let (mut layers, mut seen) = (Vec::new(), BTreeSet::new());
        for manifest in self.manifests() {
            let manifest = manifest.parse()?;
            let new = manifest.nondistributable_layers().filter(|layer| seen.insert(layer.digest));
            layers.extend(new.cloned());
        }
        Ok(layers)
    }

    /// Whether a layer comes along.
    pub(crate) fn is_available(&self, layer: &Descriptor) -> bool {
        !self.unavailable.contains(&layer.digest)
    }

    /// All configurations, then all layers that come along, each once.
    pub(crate) fn blobs(&self) -> Result<Vec<Descriptor>, Error> {
        let (mut configs, mut all_layers) = (Vec::new(), Vec::new());
        for manifest in self.manifests() {
            match manifest.parse()? {
                Manifest::Image { config, layers } => {
                    configs.push(config);
                    all_layers.extend(layers.into_iter().filter(|layer| self.is_available(layer)));
                }
                Manifest::Index(_) if manifest.digest() == self.root.digest() => {}
                Manifest::Index(_) => {
                    return Err(Error::Unplannable(format!(
                        "{} is an index of indexes, which image archives cannot hold",
                        self.reference
                    )));
                }
            }
        }
        if let Some(blob) =
            configs.iter().chain(&all_layers).find(|blob| blob.size > MAX_BLOB_BYTES)
        {
            return Err(Error::Unplannable(format!(
                "{}: blob {} claims to have {} bytes",
                self.reference, blob.digest, blob.size
            )));
        }
        let mut seen = BTreeSet::new();
        configs.extend(all_layers);
        configs.retain(|blob| seen.insert(blob.digest));
        Ok(configs)
    }
}
