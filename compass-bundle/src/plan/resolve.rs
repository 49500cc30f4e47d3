//! Reads the manifests of an image from a source.

use std::collections::HashSet;
use std::sync::Arc;

use compass_registry::internal::{MAX_IMAGE_MANIFESTS_BYTES, MAX_INDEX_DEPTH};
use compass_registry::{
    Descriptor, Digest, ImageRef, ImageSource, ImageSourceExt as _, Platform, RawManifest,
    Reference, Repository, TagOrDigest,
};

use super::image::{ArchiveImage, entries_of};
use super::platforms::Platforms;
use crate::Error;

impl ArchiveImage {
    /// Reads the manifests of an image. Layers are not read.
    ///
    /// # Errors
    /// If the image, or one for the platform, does not exist. [`Error::InvalidInput`] if no
    /// platform is selected, the index lists something other than images, its manifests are larger
    /// than [`MAX_IMAGE_MANIFESTS_BYTES`] together or nested too deep, or the reference has a
    /// digest and only a part of that index is selected.
    pub async fn resolve(
        source: Arc<dyn ImageSource>,
        image: &ImageRef,
        reference: Reference,
        platforms: &Platforms,
    ) -> Result<Self, Error> {
        let named = |error: compass_registry::Error| error.in_image(&reference);
        let ImageRef { repository, reference: locator } = image;
        if platforms.wanted().is_empty() {
            return Err(Error::InvalidInput(format!("no platform of {reference} is selected")));
        }
        let (root, platform) = if let Platforms::One(platform) = platforms {
            let root = source.image(repository, locator, platform).await.map_err(named)?;
            (root, Some(platform.clone()))
        } else {
            let root = source.verified_manifest(repository, locator).await.map_err(named)?;
            let platform = (!root.is_index()).then(|| platforms.default_platform().clone());
            (root, platform)
        };
        let mut index = IndexReader::new(&*source, repository, &reference);
        index.read(&root, platforms).await?;
        let IndexReader { children, omitted_platforms, .. } = index;
        require_pinned(&reference, &root, &omitted_platforms)?;
        let mut image = Self::new(reference, root);
        image.repository = repository.clone();
        (image.platform, image.children) = (platform, children);
        image.omitted_platforms = omitted_platforms;
        image.find_unavailable(&*source).await?;
        Ok(image)
    }

    /// Sets the platform of a single image from its configuration.
    ///
    /// Without an index that names the platform, it may differ from the wanted one. Use a
    /// [`CachingSource`](compass_registry::CachingSource), so that writing the bundle does not
    /// fetch the configuration again.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub async fn detect_platform(
        &mut self,
        source: Arc<dyn ImageSource>,
        platforms: &Platforms,
    ) -> Result<(), Error> {
        if self.platform.is_some() {
            let own = source.platform_of(&self.repository, &self.root).await;
            let own = own.map_err(|error| error.in_image(&self.reference))?;
            self.platform = Some(platforms.of_image(own));
        }
        Ok(())
    }

    /// The platforms that the image names: that of a single image, or those of its index.
    ///
    /// # Errors
    /// If a manifest or configuration cannot be read.
    pub async fn offered(&self, source: Arc<dyn ImageSource>) -> Result<Vec<Platform>, Error> {
        if let Some(own) = &self.platform {
            return Ok(vec![own.clone()]);
        }
        let images = source.images_of(&self.repository, &self.root).await;
        let images = images.map_err(|error| error.in_image(&self.reference))?;
        Ok(images.into_iter().filter_map(|image| image.platform).collect())
    }

    /// Finds the non-distributable layers that the source does not have.
    ///
    /// # Errors
    /// If the request fails.
    async fn find_unavailable(&mut self, source: &dyn ImageSource) -> Result<(), Error> {
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

/// Reads the manifests below an index, level by level.
struct IndexReader<'s> {
    source: &'s dyn ImageSource,
    repository: &'s Repository,
    reference: &'s Reference,
    /// The included images; `None` for all.
    included: Option<Vec<Digest>>,
    children: Vec<RawManifest>,
    /// The platforms of the images that are not included.
    omitted_platforms: Vec<Platform>,
    seen: HashSet<Digest>,
    /// Total size of the manifests.
    bytes: u64,
}

impl<'s> IndexReader<'s> {
    fn new(
        source: &'s dyn ImageSource,
        repository: &'s Repository,
        reference: &'s Reference,
    ) -> Self {
        Self {
            source,
            repository,
            reference,
            included: None,
            children: Vec::new(),
            omitted_platforms: Vec::new(),
            seen: HashSet::new(),
            bytes: 0,
        }
    }

    /// Reads everything below `root`, which may be a single image.
    async fn read(&mut self, root: &RawManifest, platforms: &Platforms) -> Result<(), Error> {
        let named = |error: compass_registry::Error| error.in_image(self.reference);
        self.bytes = root.descriptor().size;
        let mut level = entries_of(root).map_err(named)?;
        if matches!(platforms, Platforms::Several(_)) && root.is_index() {
            let images = self.source.images_of(self.repository, root).await.map_err(named)?;
            self.included = Some(platforms.select(&images));
        }
        for _ in 0..MAX_INDEX_DEPTH {
            level = self.add(level).await?;
            if level.is_empty() {
                return Ok(());
            }
        }
        Err(Error::InvalidInput(format!(
            "{} has indexes that are nested more than {MAX_INDEX_DEPTH} deep",
            self.reference
        )))
    }

    /// Reads the manifests of a level and returns the entries of the next one.
    async fn add(&mut self, level: Vec<Descriptor>) -> Result<Vec<Descriptor>, Error> {
        let named = |error: compass_registry::Error| error.in_image(self.reference);
        require_images(self.reference, &level)?;
        let mut next = Vec::new();
        for entry in level {
            let is_included =
                self.included.as_ref().is_none_or(|included| included.contains(&entry.digest));
            if let Some(other) = entry.platform.filter(|_| !is_included) {
                self.omitted_platforms.push(other);
                continue;
            }
            // An index may list one image for several platforms.
            if !self.seen.insert(entry.digest) {
                continue;
            }
            let locator = TagOrDigest::Digest(entry.digest);
            let child = self.source.verified_manifest(self.repository, &locator).await;
            let child = child.map_err(named)?;
            self.bytes += child.descriptor().size;
            if self.bytes > MAX_IMAGE_MANIFESTS_BYTES {
                return Err(Error::InvalidInput(format!(
                    "{} has more than {MAX_IMAGE_MANIFESTS_BYTES} bytes of manifests",
                    self.reference
                )));
            }
            next.extend(entries_of(&child).map_err(named)?);
            self.children.push(child);
        }
        Ok(next)
    }
}

/// Checks that an index lists manifests. The index of a build cache lists layers.
fn require_images(reference: &Reference, entries: &[Descriptor]) -> Result<(), Error> {
    match entries.iter().find(|entry| !entry.is_manifest()) {
        Some(blob) => Err(Error::InvalidInput(format!(
            "{reference} is a build cache instead of an image: its index lists {} of type `{}`",
            blob.digest, blob.media_type
        ))),
        None => Ok(()),
    }
}

/// Checks that a reference with a digest resolves to that digest.
///
/// A part of an image index cannot be stored under the digest of the whole index.
fn require_pinned(
    reference: &Reference,
    root: &RawManifest,
    omitted_platforms: &[Platform],
) -> Result<(), Error> {
    match reference.tag_or_digest() {
        TagOrDigest::Digest(pinned) if pinned != root.digest() || !omitted_platforms.is_empty() => {
            Err(Error::InvalidInput(format!(
                "{reference} names an image index by its digest, which a part of it does not have: \
                 include all platforms"
            )))
        }
        _ => Ok(()),
    }
}
