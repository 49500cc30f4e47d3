//! The images of a bundle.

use std::collections::{BTreeSet, HashMap, HashSet};

use compass_registry::{
    Descriptor, Digest, Manifest, Platform, RawManifest, Reference, Repository, setters,
};

use crate::Error;
use crate::format::document::BundleImage;

/// The maximum size of a configuration or layer in bytes. Without it, the sum of the sizes in a
/// hostile manifest could overflow.
const MAX_BLOB_BYTES: u64 = 1 << 40;

/// An image with everything that a plan needs: its manifests, but no layers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveImage {
    /// The reference in the release registry, which names the image in the bundle.
    pub reference: Reference,
    /// The repository to read its blobs from.
    pub repository: Repository,
    /// The selected platform; `None` if the image index is kept.
    pub platform: Option<Platform>,
    /// The image manifest, or the image index if it is kept.
    pub root: RawManifest,
    /// The included manifests below a kept image index: image manifests and nested indexes.
    pub children: Vec<RawManifest>,
    /// The platforms of a kept image index whose images are not included.
    pub omitted_platforms: Vec<Platform>,
    /// The non-distributable layers
    /// ([`Descriptor::is_nondistributable`](compass_registry::Descriptor::is_nondistributable)) that the
    /// source does not have. The bundle does not contain them.
    pub unavailable: Vec<Digest>,
}

setters!(ArchiveImage { platform: Option<Platform> });

impl ArchiveImage {
    /// Creates an image without a selected platform, whose blobs are read from the repository of its
    /// reference.
    ///
    /// [`ArchiveImage::resolve`] reads an image from a source.
    pub fn new(reference: Reference, root: RawManifest) -> Self {
        Self {
            repository: reference.repository().clone(),
            reference,
            platform: None,
            root,
            children: Vec::new(),
            omitted_platforms: Vec::new(),
            unavailable: Vec::new(),
        }
    }

    /// The image manifest, or the image index followed by the manifests below it.
    pub fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        std::iter::once(&self.root).chain(&self.children)
    }

    /// The description in `bundle.json`, without blobs. Tools without index support load the image
    /// for `platform`.
    pub(crate) fn described(&self, platform: &Platform) -> BundleImage {
        BundleImage {
            reference: self.reference.to_string(),
            digest: self.root.digest(),
            platform: self.platform.clone(),
            default_platform: platform.clone(),
            omitted_platforms: self.omitted_platforms.clone(),
            blobs: Vec::new(),
        }
    }

    /// The configuration and layers of the image that tools without index support load.
    pub(crate) fn default_image(
        &self,
        platform: &Platform,
    ) -> Result<(Descriptor, Vec<Descriptor>), Error> {
        match self.root.parse()? {
            Manifest::Image { config, layers } => Ok((config, layers)),
            Manifest::Index(_) => {
                let images = self.images()?;
                let best = platform.best_of(&images).first().map(|image| image.digest);
                // If no image names a platform, take the first one.
                let is_named = images.iter().any(|image| image.platform.is_some());
                let first = images.first().filter(|_| !is_named).map(|image| image.digest);
                let chosen = best.or(first);
                let child = self.children.iter().find(|child| Some(child.digest()) == chosen);
                match child.map(RawManifest::parse).transpose()? {
                    Some(Manifest::Image { config, layers }) => Ok((config, layers)),
                    _ => Err(Error::InvalidInput(format!(
                        "{} has no image for {platform}",
                        self.reference
                    ))),
                }
            }
        }
    }

    /// The descriptors of the included images of an index and of the indexes in it.
    fn images(&self) -> Result<Vec<Descriptor>, Error> {
        let is_image = |entry: &Descriptor| {
            let mut children = self.children.iter();
            children.any(|child| child.digest() == entry.digest && !child.is_index())
        };
        let mut images = Vec::new();
        for manifest in self.manifests() {
            images.extend(entries_of(manifest)?.into_iter().filter(is_image));
        }
        Ok(images)
    }

    /// The non-distributable layers, each once.
    pub(crate) fn nondistributable_layers(&self) -> Result<Vec<Descriptor>, Error> {
        let (mut layers, mut seen) = (Vec::new(), BTreeSet::new());
        for manifest in self.manifests() {
            let manifest = manifest.parse()?;
            let new = manifest.nondistributable_layers().filter(|layer| seen.insert(layer.digest));
            layers.extend(new.cloned());
        }
        Ok(layers)
    }

    /// Returns whether a layer is included.
    pub(crate) fn is_available(&self, layer: &Descriptor) -> bool {
        !self.unavailable.contains(&layer.digest)
    }

    /// All configurations, then all included layers, each once.
    pub(crate) fn blobs(&self) -> Result<Vec<Descriptor>, Error> {
        let (mut configs, mut all_layers) = (Vec::new(), Vec::new());
        for manifest in self.manifests() {
            if let Manifest::Image { config, layers } = manifest.parse()? {
                configs.push(config);
                all_layers.extend(layers.into_iter().filter(|layer| self.is_available(layer)));
            }
        }
        if let Some(blob) =
            configs.iter().chain(&all_layers).find(|blob| blob.size > MAX_BLOB_BYTES)
        {
            return Err(Error::InvalidInput(format!(
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

/// The entries of an index; none for an image manifest.
pub(crate) fn entries_of(
    manifest: &RawManifest,
) -> Result<Vec<Descriptor>, compass_registry::Error> {
    Ok(match manifest.parse()? {
        Manifest::Index(entries) => entries,
        Manifest::Image { .. } => Vec::new(),
    })
}

/// The known manifests below an index, level by level.
pub(crate) fn manifests_below(
    root: &RawManifest,
    known: &HashMap<Digest, RawManifest>,
) -> Result<Vec<RawManifest>, Error> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut level = entries_of(root)?;
    while !level.is_empty() {
        let mut below = Vec::new();
        for entry in level.iter().filter(|entry| seen.insert(entry.digest)) {
            let Some(child) = known.get(&entry.digest) else { continue };
            below.extend(entries_of(child)?);
            found.push(child.clone());
        }
        level = below;
    }
    Ok(found)
}

/// Marks a non-distributable layer as available in all images if one of them has it.
pub(crate) fn share_available_layers(images: &[ArchiveImage]) -> Result<Vec<ArchiveImage>, Error> {
    let mut available = HashSet::new();
    for image in images {
        let layers = image.nondistributable_layers()?.into_iter();
        available
            .extend(layers.filter(|layer| image.is_available(layer)).map(|layer| layer.digest));
    }
    let shared = images.iter().cloned().map(|mut image| {
        image.unavailable.retain(|layer| !available.contains(layer));
        image
    });
    Ok(shared.collect())
}
