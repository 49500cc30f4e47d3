//! Which platforms of an image go into a bundle.

use compass_registry::{Descriptor, Digest, Platform};

/// Which of an image index's images are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platforms {
    /// The image for one platform.
    One(Platform),
    /// The whole image index. Tools that know only single images see the one for this platform.
    All(Platform),
    /// The image index, with the images for these platforms only. Tools that know only single
    /// images see the first.
    Several(Vec<Platform>),
}

impl Platforms {
    /// The platform that tools see which know only single images.
    ///
    /// # Panics
    /// Where a list of several is empty.
    pub fn single(&self) -> &Platform {
        match self {
            Self::One(platform) | Self::All(platform) => platform,
            Self::Several(platforms) => &platforms[0],
        }
    }

    /// The wanted platforms; all of an index are one that is wanted by tools for single images.
    pub(crate) fn wanted(&self) -> &[Platform] {
        match self {
            Self::One(platform) | Self::All(platform) => std::slice::from_ref(platform),
            Self::Several(platforms) => platforms,
        }
    }

    /// The wanted platforms that an image for `offered` ones lacks.
    pub fn lacking(&self, offered: &[Platform]) -> Vec<Platform> {
        let lacks = |wanted: &&Platform| !offered.iter().any(|own| own.satisfies(wanted));
        self.wanted().iter().filter(lacks).cloned().collect()
    }

    /// The platform of a single image: the one in its configuration, or the wanted one if the
    /// configuration satisfies that.
    pub(super) fn of_image(&self, own: Option<Platform>) -> Platform {
        let satisfied = |wanted: &&Platform| own.as_ref().is_none_or(|own| own.satisfies(wanted));
        match self.wanted().iter().find(satisfied) {
            Some(wanted) => wanted.clone(),
            None => own.unwrap_or_else(|| self.single().clone()),
        }
    }

    /// Which of an index's images are taken, by their digests.
    pub(super) fn taken(&self, images: &[Descriptor]) -> Vec<Digest> {
        let Self::Several(wanted) = self else {
            return images.iter().map(|image| image.digest).collect();
        };
        let best = wanted.iter().flat_map(|wanted| wanted.best_of(images));
        // An image whose platform is not known may be one of them.
        let unknown = images.iter().filter(|image| image.platform.is_none());
        best.chain(unknown).map(|image| image.digest).collect()
    }
}
