//! What a copy is about: the image at its source, and what the destination has.

use futures_util::future::try_join;

use super::selection::{Selection, select};
use super::{Copier, OnExistingTag};
use crate::{
    Descriptor, Digest, Error, ImageSource, ImageSourceExt as _, Manifest, RawManifest, Repository,
    Tag, TagOrDigest,
};

/// An image at its source, and the state of the destination.
pub(super) struct Found {
    /// What the source's tag or digest names.
    pub(super) named: Digest,
    pub(super) wanted: Wanted,
    /// The destination has it.
    pub(super) already_present: bool,
    /// The destination has something else under the tag.
    pub(super) replaced_digest: Option<Digest>,
}

pub(super) enum Wanted {
    Known(RawManifest),
    /// Not read yet: there may be no need.
    Image(Descriptor),
}

impl Found {
    pub(super) async fn find(
        copier: &Copier<'_>,
        source: &dyn ImageSource,
        (from, locator): (&Repository, &TagOrDigest),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<Self, Error> {
        let tag = tag.map(|tag| TagOrDigest::Tag(tag.clone()));
        let tagged = async {
            match &tag {
                Some(tag) => copier.sink.manifest_digest(to, tag).await,
                None => Ok(None),
            }
        };
        let (root, tagged) = try_join(source.verified_manifest(from, locator), tagged).await?;
        let named = root.digest();
        let what = format!("{from}:{locator}");
        let (platforms, only) = (&copier.options.platforms[..], copier.options.available.as_ref());
        let images = match root.is_index() && !platforms.is_empty() {
            true => source.images_of(from, &root).await?,
            false => Vec::new(),
        };
        let wanted = match select(&what, &root, &images, (platforms, only))? {
            Selection::Whole => Wanted::Known(root),
            Selection::Some(reduced) => Wanted::Known(reduced),
            Selection::One(image) => Wanted::Image(image),
        };
        let present = match &tag {
            Some(_) => tagged,
            None => copier.sink.manifest_digest(to, &TagOrDigest::Digest(wanted.digest())).await?,
        };
        let mut found = Self { named, already_present: false, replaced_digest: None, wanted };
        found.compare(present, tag.is_some());
        if let (Some(tag), Some(_)) = (&tag, found.replaced_digest) {
            // A wrong digest in the answer must not move a tag, or keep it.
            found.compare(copier.sink.verified_manifest_digest(to, tag).await?, true);
        }
        Ok(found)
    }

    /// Notes what the destination has under the tag, or the digest.
    fn compare(&mut self, present: Option<Digest>, by_tag: bool) {
        self.already_present = present == Some(self.wanted.digest());
        self.replaced_digest = present.filter(|_| by_tag && !self.already_present);
    }

    /// The image that the destination keeps under the tag, instead of the one that is wanted.
    ///
    /// # Errors
    /// [`Error::TagExists`] if it has another one and the tag must neither move nor be kept.
    pub(super) fn kept(
        &self,
        on_existing: OnExistingTag,
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<Option<Digest>, Error> {
        match (self.replaced_digest, on_existing) {
            (None, _) | (_, OnExistingTag::Move) => Ok(None),
            (Some(existing), OnExistingTag::Keep) => Ok(Some(existing)),
            (Some(existing), OnExistingTag::Error) => Err(Error::TagExists {
                what: tag.map_or_else(|| to.to_string(), |tag| format!("{to}:{tag}")),
                existing: Box::new(existing),
                new: Box::new(self.wanted.digest()),
            }),
        }
    }

    /// Whether an index of some of the source's images is wanted.
    pub(super) fn is_reduced(&self) -> bool {
        matches!(&self.wanted, Wanted::Known(manifest) if manifest.digest() != self.named)
    }
}

impl Wanted {
    /// The manifest that the source names, if it is an image and was not chosen for a platform.
    pub(super) fn alone(&self) -> Option<RawManifest> {
        match self {
            Self::Known(manifest) if !manifest.is_index() => Some(manifest.clone()),
            _ => None,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Known(manifest) => manifest.digest(),
            Self::Image(descriptor) => descriptor.digest,
        }
    }

    /// The layers that registries need not hold, of an image that the destination has. Only images
    /// for Windows have such layers, so that of an index no other manifest is read.
    pub(super) async fn nondistributable_layers(
        &self,
        source: &dyn ImageSource,
        from: &Repository,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut layers: Vec<Descriptor> = Vec::new();
        let entries = match self {
            Self::Image(image) => vec![image.clone()],
            Self::Known(manifest) => match manifest.parse()? {
                Manifest::Index(entries) => entries,
                image @ Manifest::Image { .. } => {
                    return Ok(image.nondistributable_layers().cloned().collect());
                }
            },
        };
        let is_windows = |image: &&Descriptor| {
            image.platform.as_ref().is_some_and(|platform| platform.os == "windows")
        };
        for image in entries.iter().filter(is_windows) {
            let manifest =
                source.verified_manifest(from, &TagOrDigest::Digest(image.digest)).await?;
            for layer in manifest.parse()?.nondistributable_layers() {
                if !layers.contains(layer) {
                    layers.push(layer.clone());
                }
            }
        }
        Ok(layers)
    }
}
