//! The selection of platforms.

use compass_registry::{Descriptor, Digest, Platform};

/// The images of an index that are included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Platforms {
    /// The image for one platform.
    One(Platform),
    /// The whole image index. Tools without index support load the image for this platform.
    All(Platform),
    /// The image index with the images for these platforms only. Tools without index support load
    /// the image for the first one.
    Several(Vec<Platform>),
}

impl Platforms {
    /// The platform of the image that tools without index support load.
    ///
    /// # Panics
    /// If the list of [`Platforms::Several`] is empty.
    pub fn default_platform(&self) -> &Platform {
        match self {
            Self::One(platform) | Self::All(platform) => platform,
            Self::Several(platforms) => &platforms[0],
        }
    }

    /// The wanted platforms; for a whole index, the one that tools without index support load.
    pub fn wanted(&self) -> &[Platform] {
        match self {
            Self::One(platform) | Self::All(platform) => std::slice::from_ref(platform),
            Self::Several(platforms) => platforms,
        }
    }

    /// The wanted platforms that none of the `offered` ones satisfies.
    pub fn missing_from(&self, offered: &[Platform]) -> Vec<Platform> {
        let lacks = |wanted: &&Platform| !offered.iter().any(|own| own.satisfies(wanted));
        self.wanted().iter().filter(lacks).cloned().collect()
    }

    /// Returns the platform of a single image. `own` is the platform in its configuration.
    ///
    /// This is the first wanted platform that `own` satisfies, otherwise `own` itself; without
    /// `own`, the first wanted platform.
    pub(super) fn of_image(&self, own: Option<Platform>) -> Platform {
        let satisfied = |wanted: &&Platform| own.as_ref().is_none_or(|own| own.satisfies(wanted));
        match self.wanted().iter().find(satisfied) {
            Some(wanted) => wanted.clone(),
            None => own.unwrap_or_else(|| self.default_platform().clone()),
        }
    }

    /// The digests of the included images of an index.
    pub(super) fn select(&self, images: &[Descriptor]) -> Vec<Digest> {
        let Self::Several(wanted) = self else {
            return images.iter().map(|image| image.digest).collect();
        };
        let best = wanted.iter().flat_map(|wanted| wanted.best_of(images));
        // An image without a platform may be for a wanted one.
        let unknown = images.iter().filter(|image| image.platform.is_none());
        best.chain(unknown).map(|image| image.digest).collect()
    }
}
