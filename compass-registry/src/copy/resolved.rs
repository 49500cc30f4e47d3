//! Resolves what to copy, and compares it with the destination.

use futures_util::future::try_join;

use super::blobs::CopyPath;
use super::selection::{Selection, select};
use super::{Copier, OnExistingTag};
use crate::{
    Descriptor, Destination, Digest, Error, ImageRef, ImageSourceExt as _, Manifest, Platform,
    RawManifest, TagOrDigest,
};

/// The image to copy, and whether the destination has it.
pub(super) struct Resolved {
    /// The digest that the source's tag or digest resolves to.
    pub(super) source_digest: Digest,
    pub(super) target: Target,
    /// Whether the destination has the target.
    pub(super) already_present: bool,
    /// Another image that the destination has under the tag.
    pub(super) replaced_digest: Option<Digest>,
}

/// The manifest to write to the destination.
pub(super) enum Target {
    Manifest(RawManifest),
    /// An image of an index. Its manifest is read only if the destination does not have the image.
    Image(Descriptor),
}

impl Resolved {
    /// Reads the source's manifest, and the destination's digest of the tag.
    pub(super) async fn resolve(copier: &Copier, path: CopyPath<'_>) -> Result<Self, Error> {
        let CopyPath { source, from, to } = path;
        let tag = to.tag.clone().map(TagOrDigest::Tag);
        let existing =
            async |name: &TagOrDigest| copier.sink.manifest_digest(&to.repository, name).await;
        let tagged = async {
            match &tag {
                Some(tag) => existing(tag).await,
                None => Ok(None),
            }
        };
        let root = source.verified_manifest(&from.repository, &from.reference);
        let (root, tagged) = try_join(root, tagged).await?;
        let source_digest = root.digest();
        let target = Target::select(copier, path, root).await?;
        let existing = match &tag {
            Some(_) => tagged,
            None => existing(&TagOrDigest::Digest(target.digest())).await?,
        };
        let mut resolved =
            Self { source_digest, target, already_present: false, replaced_digest: None };
        resolved.compare(existing, tag.is_some());
        if let (Some(tag), Some(_)) = (&tag, resolved.replaced_digest) {
            // Registries may report a wrong digest, which must neither move nor keep a tag.
            let digest = copier.sink.verified_manifest_digest(&to.repository, tag).await?;
            resolved.compare(digest, true);
        }
        Ok(resolved)
    }

    /// Records what the destination has under the tag or digest.
    fn compare(&mut self, existing: Option<Digest>, by_tag: bool) {
        self.already_present = existing == Some(self.target.digest());
        self.replaced_digest = existing.filter(|_| by_tag && !self.already_present);
    }

    /// Returns the image that the destination keeps under the tag instead of the target.
    ///
    /// # Errors
    /// [`Error::TagExists`] if the tag names another image and `on_existing` is
    /// [`OnExistingTag::Error`].
    pub(super) fn kept(
        &self,
        on_existing: OnExistingTag,
        to: &Destination,
    ) -> Result<Option<Digest>, Error> {
        match (self.replaced_digest, on_existing) {
            (None, _) | (_, OnExistingTag::Move) => Ok(None),
            (Some(existing), OnExistingTag::Keep) => Ok(Some(existing)),
            (Some(existing), OnExistingTag::Error) => Err(Error::TagExists {
                what: to.to_string(),
                existing: Box::new(existing),
                new: Box::new(self.target.digest()),
            }),
        }
    }

    /// Whether the target is an index of only some of the source's images.
    pub(super) fn is_platform_subset(&self) -> bool {
        matches!(&self.target, Target::Manifest(root) if root.digest() != self.source_digest)
    }
}

impl Target {
    async fn select(copier: &Copier, path: CopyPath<'_>, root: RawManifest) -> Result<Self, Error> {
        let images = match root.is_index() && !copier.options.platforms.is_empty() {
            true => path.source.images_of(&path.from.repository, &root).await?,
            false => Vec::new(),
        };
        Ok(match select(&path.from.to_string(), &root, &images, &copier.options)? {
            Selection::Whole => Self::Manifest(root),
            Selection::Subset(index) => Self::Manifest(index),
            Selection::One(image) => Self::Image(image),
        })
    }

    /// Returns the manifest if it is a single image that was not selected by platform.
    pub(super) fn single_image(&self) -> Option<RawManifest> {
        match self {
            Self::Manifest(manifest) if !manifest.is_index() => Some(manifest.clone()),
            _ => None,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Manifest(manifest) => manifest.digest(),
            Self::Image(descriptor) => descriptor.digest,
        }
    }

    /// Returns the non-distributable layers of an image that the destination has. Only images for
    /// Windows have such layers, so other manifests of an index are not read.
    pub(super) async fn nondistributable_layers(
        &self,
        path: CopyPath<'_>,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut layers: Vec<Descriptor> = Vec::new();
        let entries = match self {
            Self::Image(image) => vec![image.clone()],
            Self::Manifest(manifest) => match manifest.parse()? {
                Manifest::Index(entries) => entries,
                image @ Manifest::Image { .. } => {
                    return Ok(image.nondistributable_layers().cloned().collect());
                }
            },
        };
        let is_windows =
            |image: &&Descriptor| image.platform.as_ref().is_some_and(Platform::is_windows);
        let ImageRef { repository, .. } = path.from;
        for image in entries.iter().filter(is_windows) {
            let digest = TagOrDigest::Digest(image.digest);
            let manifest = path.source.verified_manifest(repository, &digest).await?;
            for layer in manifest.parse()?.nondistributable_layers() {
                if !layers.contains(layer) {
                    layers.push(layer.clone());
                }
            }
        }
        Ok(layers)
    }
}
