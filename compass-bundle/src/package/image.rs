//! Images of packages.

use std::collections::HashSet;
use std::sync::Arc;

use compass_registry::{
    Descriptor, Digest, ImageSource, Manifest, Platform, RawManifest, Reference,
};

use crate::Error;
use crate::foreign::{ForeignImage, ForeignPackage};
use crate::plan::image::ArchiveImage;
use crate::read::Bundle;

/// An image of a [`Package`](super::Package).
#[derive(Debug, Clone)]
pub struct Image<'p> {
    /// Its reference in the package.
    pub reference: &'p Reference,
    /// Its manifest or index.
    pub root: &'p RawManifest,
    /// The manifests and nested indexes below an index, as far as the package includes them.
    pub children: &'p [RawManifest],
    /// Platforms of an index that a bundle omits. Those of foreign packages are in [`Self::notes`].
    pub omitted_platforms: &'p [Platform],
    /// Problems, because of which the image cannot be installed. Always empty for bundles.
    pub problems: &'p [String],
    /// Facts that are not problems. Always empty for bundles.
    pub notes: &'p [String],
    pub(crate) backend: Backend<'p>,
}

/// The package that contains an image.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend<'p> {
    Bundle(&'p Bundle, &'p ArchiveImage),
    Foreign(&'p ForeignPackage, &'p ForeignImage),
}

impl<'p> Image<'p> {
    pub(super) fn bundled(bundle: &'p Bundle, image: &'p ArchiveImage) -> Self {
        Self {
            reference: &image.reference,
            root: &image.root,
            children: &image.children,
            omitted_platforms: &image.omitted_platforms,
            problems: &[],
            notes: &[],
            backend: Backend::Bundle(bundle, image),
        }
    }

    pub(super) fn foreign(package: &'p ForeignPackage, image: &'p ForeignImage) -> Self {
        Self {
            reference: &image.reference,
            root: &image.root,
            children: &image.children,
            omitted_platforms: &[],
            problems: &image.problems,
            notes: &image.notes,
            backend: Backend::Foreign(package, image),
        }
    }

    /// Digest of its manifest or index.
    pub fn digest(&self) -> Digest {
        self.root.digest()
    }

    /// The root manifest and all manifests below it.
    pub fn manifests(&self) -> impl Iterator<Item = &'p RawManifest> + use<'p> {
        std::iter::once(self.root).chain(self.children)
    }

    /// The layers of all platforms, without duplicates.
    ///
    /// # Errors
    /// If a manifest cannot be parsed.
    pub fn layers(&self) -> Result<Vec<Descriptor>, Error> {
        layers_of(self.manifests())
    }

    /// Returns the configuration of the image that tools without index support load.
    ///
    /// For a foreign index, this is the configuration of its first image.
    ///
    /// # Errors
    /// If a manifest cannot be parsed, or the index lists no image.
    pub fn default_config(&self) -> Result<Descriptor, Error> {
        if let Backend::Bundle(bundle, image) = self.backend {
            return Ok(image.default_image(&bundle.default_platform())?.0);
        }
        for manifest in self.manifests() {
            if let Manifest::Image { config, .. } = manifest.parse()? {
                return Ok(config);
            }
        }
        Err(Error::damaged(format!("the index {} lists no image", self.reference)))
    }

    /// The package as the source of this image.
    pub fn image_source(&self) -> Arc<dyn ImageSource> {
        match self.backend {
            Backend::Bundle(bundle, _) => Arc::new(bundle.clone()),
            Backend::Foreign(package, _) => Arc::new(package.clone()),
        }
    }

    /// The included manifests of an index with omitted platforms; `None` if the image is complete.
    pub(crate) fn available_manifests(&self) -> Result<Option<HashSet<Digest>>, Error> {
        let included: HashSet<_> = self.children.iter().map(RawManifest::digest).collect();
        Ok(match self.root.parse()? {
            Manifest::Index(all) if !all.iter().all(|one| included.contains(&one.digest)) => {
                Some(included)
            }
            _ => None,
        })
    }

    /// Returns the first problem as an error.
    pub(crate) fn check_problems(&self) -> Result<(), Error> {
        match self.problems.first() {
            Some(problem) => Err(Error::damaged(problem)),
            None => Ok(()),
        }
    }

    /// Whether a name selects this image; see [`Package::image_named`](super::Package::image_named).
    pub(super) fn is_named(&self, name: &str) -> bool {
        let untagged = format!("{}/{}", self.reference.host(), self.reference.repository());
        let ends = |whole: &str| {
            whole.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        ends(&self.reference.to_string()) || ends(&untagged) || self.digest().to_string() == name
    }
}

/// Returns the layers of image manifests, without duplicates.
pub(crate) fn layers_of<'m>(
    manifests: impl Iterator<Item = &'m RawManifest>,
) -> Result<Vec<Descriptor>, Error> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for manifest in manifests {
        if let Manifest::Image { layers, .. } = manifest.parse()? {
            all.extend(layers.into_iter().filter(|layer| seen.insert(layer.digest)));
        }
    }
    Ok(all)
}
