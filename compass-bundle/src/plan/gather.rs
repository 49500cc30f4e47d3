//! Asks a source for everything of an image that a plan needs. No layer is read.

use std::collections::HashSet;

use compass_registry::{
    Descriptor, Digest, ImageSource, ImageSourceExt as _, Locator, MAX_IMAGE_MANIFESTS_BYTES,
    Manifest, Platform, RawManifest, Reference, Repository,
};

use super::image::ArchiveImage;
use super::platforms::Platforms;
use crate::Error;

impl ArchiveImage {
    /// Asks a source for an image's manifests. No layer is read.
    ///
    /// # Errors
    /// If the image, or one for the platform, does not exist, or its manifests are larger than
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
        let (root, platform) = if let Platforms::One(platform) = platforms {
            let root = source.image(repository, locator, platform).await.map_err(named)?;
            (root, Some(platform.clone()))
        } else {
            let root = source.verified_manifest(repository, locator).await.map_err(named)?;
            let platform = (!root.is_index()).then(|| platforms.single().clone());
            (root, platform)
        };
        let (children, absent) =
            children(source, (repository, &reference), &root, platforms).await?;
        require_pinned(&reference, &root, &absent)?;
        let repository = repository.clone();
        let unavailable = Vec::new();
        let mut image =
            Self { reference, repository, platform, root, children, absent, unavailable };
        image.ask_unavailable(source).await?;
        Ok(image)
    }

    /// Asks the configuration of a single image what platform it is for: where no index says it, it
    /// may be another than the wanted one. The configuration is read; see
    /// [`Remembered`](compass_registry::Remembered), which spares the bundle from doing so again.
    ///
    /// # Errors
    /// If the configuration cannot be read.
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

    /// The platforms that the image is for, as far as it names any: that of a single image, or those
    /// of the index that it was taken from.
    ///
    /// # Errors
    /// If a manifest or configuration cannot be read.
    pub async fn offered(&self, source: &dyn ImageSource) -> Result<Vec<Platform>, Error> {
        if let Some(own) = &self.platform {
            return Ok(vec![own.clone()]);
        }
        let images = source.images_of(&self.repository, &self.root).await;
        let images = images.map_err(|error| error.in_image(&self.reference))?;
        Ok(images.into_iter().filter_map(|image| image.platform).collect())
    }

    /// Asks which of the layers that registries need not hold are missing.
    ///
    /// # Errors
    /// If the source cannot be asked.
    pub(crate) async fn ask_unavailable(&mut self, source: &dyn ImageSource) -> Result<(), Error> {
        let mut unavailable = Vec::new();
        for layer in self.nondistributable_layers()? {
            let held = source.holds_blob(&self.repository, &layer).await;
            if !held.map_err(|error| error.in_image(&self.reference))? {
                unavailable.push(layer.digest);
            }
        }
        self.unavailable = unavailable;
        Ok(())
    }
}

/// The image manifests of an index that come along, and the platforms of those that do not.
async fn children(
    source: &dyn ImageSource,
    (repository, reference): (&Repository, &Reference),
    root: &RawManifest,
    platforms: &Platforms,
) -> Result<(Vec<RawManifest>, Vec<Platform>), Error> {
    let named = |error: compass_registry::Error| error.in_image(reference);
    let (mut children, mut absent) = (Vec::new(), Vec::new());
    let Manifest::Index(entries) = root.parse().map_err(named)? else {
        return Ok((children, absent));
    };
    require_images(reference, &entries)?;
    let taken = match platforms {
        Platforms::Several(_) => {
            let images = source.images_of(repository, root).await.map_err(named)?;
            Some(platforms.taken(&images))
        }
        _ => None,
    };
    let is_taken = |entry: &Descriptor| {
        let listed = |taken: &Vec<Digest>| taken.contains(&entry.digest);
        taken.as_ref().is_none_or(listed)
    };
    let (mut seen, mut bytes) = (HashSet::new(), root.descriptor().size);
    for entry in entries {
        if let Some(other) = entry.platform.clone().filter(|_| !is_taken(&entry)) {
            absent.push(other);
            continue;
        }
        // One image may stand for several platforms.
        if !seen.insert(entry.digest) {
            continue;
        }
        let locator = Locator::Digest(entry.digest);
        let child = source.verified_manifest(repository, &locator).await.map_err(named)?;
        bytes += child.descriptor().size;
        if bytes > MAX_IMAGE_MANIFESTS_BYTES {
            return Err(Error::Unplannable(format!(
                "{reference} has more than {MAX_IMAGE_MANIFESTS_BYTES} bytes of manifests"
            )));
        }
        children.push(child);
    }
    Ok((children, absent))
}

/// An index of a build cache has layers where others have images.
fn require_images(reference: &Reference, entries: &[Descriptor]) -> Result<(), Error> {
    match entries.iter().find(|entry| !entry.is_manifest()) {
        Some(blob) => Err(Error::Unplannable(format!(
            "{reference} is a build cache instead of an image: its index lists {} of type `{}`",
            blob.digest, blob.media_type
        ))),
        None => Ok(()),
    }
}

/// A reference with a digest resolves only to that digest: part of an image index cannot be stored
/// under the digest of the whole index.
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
