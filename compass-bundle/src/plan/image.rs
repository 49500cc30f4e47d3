//! An image as it goes into an archive.

use std::collections::{BTreeSet, HashSet};

use compass_registry::{
    Descriptor, ImageSource, ImageSourceExt as _, Locator, MAX_IMAGE_MANIFESTS_BYTES, Manifest,
    Platform, RawManifest, Reference, Repository,
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
}

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
    fn wanted(&self) -> &[Platform] {
        match self {
            Self::One(platform) | Self::All(platform) => std::slice::from_ref(platform),
            Self::Several(platforms) => platforms,
        }
    }

    /// The platform of an image that there is for one only. What its configuration says counts,
    /// unless that is as good as what is wanted.
    fn of_image(&self, own: Option<Platform>) -> Platform {
        let serves = |wanted: &&Platform| own.as_ref().is_none_or(|own| own.serves(wanted));
        match self.wanted().iter().find(serves) {
            Some(wanted) => wanted.clone(),
            None => own.unwrap_or_else(|| self.single().clone()),
        }
    }

    fn takes(&self, platform: &Platform) -> bool {
        match self {
            Self::One(_) | Self::All(_) => true,
            Self::Several(wanted) => wanted.iter().any(|wanted| platform.serves(wanted)),
        }
    }
}

impl ArchiveImage {
    /// Asks a source for an image's manifests. No layer is read.
    ///
    /// # Errors
    /// Where the image, or one for the platform, is not there, or its manifests are larger than
    /// [`MAX_IMAGE_MANIFESTS_BYTES`] together.
    pub async fn gather(
        source: &dyn ImageSource,
        (repository, locator): (&Repository, &Locator),
        reference: Reference,
        platforms: &Platforms,
    ) -> Result<Self, Error> {
        let named = |error: compass_registry::Error| error.in_image(&reference);
        if platforms.wanted().is_empty() {
            return Err(Error::Unplannable(format!("{reference} is wanted for no platform")));
        }
        let single = platforms.single();
        let (root, platform) = if let Platforms::One(platform) = platforms {
            let root = source.image(repository, locator, platform).await.map_err(named)?;
            (root, Some(platform.clone()))
        } else {
            let root = source.verified_manifest(repository, locator).await.map_err(named)?;
            let platform = (!root.is_index()).then(|| single.clone());
            (root, platform)
        };
        let (mut children, mut absent) = (Vec::new(), Vec::new());
        let (mut seen, mut bytes) = (HashSet::new(), root.descriptor().size);
        if let Manifest::Index(images) = root.parse().map_err(named)? {
            for image in images {
                if let Some(other) = image.platform.filter(|platform| !platforms.takes(platform)) {
                    absent.push(other);
                    continue;
                }
                // One image may stand for several platforms.
                if !seen.insert(image.digest) {
                    continue;
                }
                let locator = Locator::Digest(image.digest);
                let child = source.verified_manifest(repository, &locator).await.map_err(named)?;
                bytes += child.descriptor().size;
                if bytes > MAX_IMAGE_MANIFESTS_BYTES {
                    return Err(Error::Unplannable(format!(
                        "{reference} has more than {MAX_IMAGE_MANIFESTS_BYTES} bytes of manifests"
                    )));
                }
                children.push(child);
            }
        }
        require_pinned(&reference, &root, &absent)?;
        Ok(Self { reference, repository: repository.clone(), platform, root, children, absent })
    }

    /// Asks the configuration of a single image what platform it is for: where no index says it, it
    /// may be another than the wanted one. The configuration is read; see
    /// [`Remembered`](compass_registry::Remembered), which spares the bundle from doing so again.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn ask_platform(
        &mut self,
        source: &dyn ImageSource,
        platforms: &Platforms,
    ) -> Result<(), Error> {
        if self.platform.is_some() {
            let own = source.platform_of(&self.repository, &self.root).await;
            let own = own.map_err(|error| error.in_image(&self.reference))?;
            self.platform = Some(platforms.of_image(own));
        }
        Ok(())
    }

    /// The wanted platforms that the image is not for.
    ///
    /// # Errors
    /// Where a manifest cannot be read.
    pub fn lacks(&self, platforms: &Platforms) -> Result<Vec<Platform>, Error> {
        let there: Vec<Platform> = match (&self.platform, self.root.parse()?) {
            (Some(own), _) => vec![own.clone()],
            (None, Manifest::Index(images)) => {
                images.into_iter().filter_map(|image| image.platform).collect()
            }
            (None, Manifest::Image { .. }) => return Ok(Vec::new()),
        };
        let served = |wanted: &Platform| there.iter().any(|own| own.serves(wanted));
        Ok(platforms.wanted().iter().filter(|wanted| !served(wanted)).cloned().collect())
    }

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
                let serves =
                    |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.serves(platform));
                let chosen = images.iter().find(serves).map(|image| image.digest);
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

    /// All configurations, then all layers, each once.
    pub(crate) fn blobs(&self) -> Result<Vec<Descriptor>, Error> {
        let (mut configs, mut all_layers) = (Vec::new(), Vec::new());
        for manifest in self.manifests() {
            match manifest.parse()? {
                image @ Manifest::Image { .. } => {
                    let mut blobs = image.held_blobs().cloned();
                    configs.extend(blobs.next());
                    all_layers.extend(blobs);
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

/// A name with a digest leads to nothing where something else stands under it: part of an image
/// index cannot be brought under the digest of the whole.
fn require_pinned(
    reference: &Reference,
    root: &RawManifest,
    absent: &[Platform],
) -> Result<(), Error> {
    match reference.locator() {
        Locator::Digest(pinned) if pinned != root.digest() || !absent.is_empty() => {
            Err(Error::Unplannable(format!(
                "{reference} names an image index by its digest, which a part of it does not have: \
                 take it with all platforms (`--platform all`)"
            )))
        }
        _ => Ok(()),
    }
}
