//! Uniform access to the two packages of a comparison.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use compass_registry::{
    Descriptor, Digest, ImageSourceExt as _, Manifest, Platform, Reference, Repository,
};

use crate::document::BundleFile;
use crate::foreign::{ForeignFile, ForeignImage};
use crate::plan::image::ArchiveImage;
use crate::{Error, Package};

/// A small file of a package.
pub(super) struct SmallFile {
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
    mode: Option<u32>,
    /// Path in the package, for reading.
    pub(super) path: String,
}

impl SmallFile {
    pub(super) fn same_content(&self, other: &Self) -> bool {
        self.digest == other.digest && self.modes(other).is_none()
    }

    /// Both permissions, if they are known and differ.
    pub(super) fn modes(&self, other: &Self) -> Option<(u32, u32)> {
        self.mode.zip(other.mode).filter(|(own, other)| own != other)
    }
}

/// An image of a package.
pub(super) struct NamedImage<'c> {
    pub(super) reference: &'c Reference,
    pub(super) digest: Digest,
    image: EitherImage<'c>,
}

enum EitherImage<'c> {
    Bundled(&'c ArchiveImage, Platform),
    Packed(&'c ForeignImage),
}

impl Package {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bundle(bundle) => bundle.size(),
            Self::Foreign(package) => package.size(),
        }
    }

    pub(super) fn images(&self) -> Vec<NamedImage<'_>> {
        match self {
            Self::Bundle(bundle) => {
                let platform = bundle.single_platform();
                let named = |image| NamedImage::of_bundle(image, platform.clone());
                bundle.images().iter().map(named).collect()
            }
            Self::Foreign(package) => package.images().iter().map(NamedImage::of_package).collect(),
        }
    }

    /// The small files by their paths below the package's directory.
    pub(super) fn files(&self) -> BTreeMap<String, SmallFile> {
        match self {
            Self::Bundle(bundle) => {
                let small = bundle.document().files.iter().filter(|file| file.image.is_none());
                let file = |one: &BundleFile| SmallFile {
                    digest: one.digest,
                    size: one.size,
                    mode: Some(one.permissions()),
                    path: one.path.clone(),
                };
                small.map(|one| (one.path.clone(), file(one))).collect()
            }
            Self::Foreign(package) => {
                let top = package.directory().map_or(0, |directory| directory.len() + 1);
                let file = |one: &ForeignFile| SmallFile {
                    digest: Some(one.digest),
                    size: one.size,
                    mode: None,
                    path: one.path.clone(),
                };
                let files = package.files().iter();
                files.map(|one| (one.path[top..].to_owned(), file(one))).collect()
            }
        }
    }

    pub(super) async fn file(&self, path: &str) -> Result<Bytes, Error> {
        match self {
            Self::Bundle(bundle) => bundle.file(path).await,
            Self::Foreign(package) => package.file(path).await,
        }
    }

    pub(super) async fn blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Bytes, Error> {
        Ok(match self {
            Self::Bundle(bundle) => bundle.read(repository, blob).await?,
            Self::Foreign(package) => package.read(repository, blob).await?,
        })
    }

    pub(super) fn blobs(&self) -> Result<BTreeMap<Digest, u64>, Error> {
        match self {
            Self::Bundle(bundle) => {
                let blobs = bundle.plan().blobs().iter();
                Ok(blobs.map(|blob| (blob.descriptor.digest, blob.descriptor.size)).collect())
            }
            Self::Foreign(package) => {
                let mut blobs = BTreeMap::new();
                for image in package.images() {
                    for manifest in image.manifests() {
                        let manifest = manifest.parse()?;
                        let all = manifest
                            .distributable_blobs()
                            .chain(manifest.nondistributable_layers());
                        let held = all.filter(|blob| package.holds(&blob.digest));
                        blobs.extend(held.map(|blob| (blob.digest, blob.size)));
                    }
                }
                Ok(blobs)
            }
        }
    }
}

impl<'c> NamedImage<'c> {
    fn of_bundle(image: &'c ArchiveImage, platform: Platform) -> Self {
        let (reference, digest) = (&image.reference, image.root.digest());
        Self { reference, digest, image: EitherImage::Bundled(image, platform) }
    }

    fn of_package(image: &'c ForeignImage) -> Self {
        let (reference, digest) = (&image.reference, image.root.digest());
        Self { reference, digest, image: EitherImage::Packed(image) }
    }

    /// The layers of all platforms, without duplicates.
    pub(super) fn layers(&self) -> Result<Vec<Descriptor>, Error> {
        let manifests: Vec<_> = match &self.image {
            EitherImage::Bundled(image, _) => image.manifests().collect(),
            EitherImage::Packed(image) => image.manifests().collect(),
        };
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for manifest in manifests {
            if let Manifest::Image { layers, .. } = manifest.parse()? {
                all.extend(layers.into_iter().filter(|layer| seen.insert(layer.digest)));
            }
        }
        Ok(all)
    }

    pub(super) fn absent(&self) -> &[Platform] {
        match &self.image {
            EitherImage::Bundled(image, _) => &image.absent,
            EitherImage::Packed(_) => &[],
        }
    }

    /// The configuration of the default image; for a foreign index, that of its first image.
    pub(super) fn config(&self) -> Result<Descriptor, Error> {
        let image = match &self.image {
            EitherImage::Bundled(image, platform) => return Ok(image.single(platform)?.0),
            EitherImage::Packed(image) => image,
        };
        for manifest in image.manifests() {
            if let Manifest::Image { config, .. } = manifest.parse()? {
                return Ok(config);
            }
        }
        Err(Error::damaged(format!(
            "{}: the index {} lists no image",
            image.archive, self.reference
        )))
    }
}

/// An image in both packages, or in one of them.
pub(super) struct ImagePair<'c> {
    /// The repository, with the tag if either package contains several images of it.
    pub(super) name: String,
    pub(super) old: Option<NamedImage<'c>>,
    pub(super) new: Option<NamedImage<'c>>,
}

/// Pairs images with the same reference. The remaining images of a repository are pairs of an older
/// and a newer version, matched from the last tag on.
pub(super) fn match_images<'c>(
    old: Vec<NamedImage<'c>>,
    new: Vec<NamedImage<'c>>,
) -> Vec<ImagePair<'c>> {
    let mut repositories: BTreeMap<String, (Vec<NamedImage<'c>>, Vec<NamedImage<'c>>)> =
        BTreeMap::new();
    for image in old {
        repositories.entry(image.reference.repository().to_string()).or_default().0.push(image);
    }
    for image in new {
        repositories.entry(image.reference.repository().to_string()).or_default().1.push(image);
    }
    repositories
        .into_iter()
        .flat_map(|(name, (old, new))| match_in_repository(&name, old, new))
        .collect()
}

fn match_in_repository<'c>(
    repository: &str,
    mut old: Vec<NamedImage<'c>>,
    mut new: Vec<NamedImage<'c>>,
) -> Vec<ImagePair<'c>> {
    let is_alone = old.len() <= 1 && new.len() <= 1;
    let name = |image: Option<&NamedImage<'c>>| match image {
        Some(image) if !is_alone => format!("{repository}:{}", image.reference.tag_or_digest()),
        _ => repository.to_owned(),
    };
    let by_locator = |image: &NamedImage<'c>| image.reference.tag_or_digest().to_string();
    old.sort_by_cached_key(by_locator);
    new.sort_by_cached_key(by_locator);
    let mut found = Vec::new();
    let mut changed = Vec::new();
    for image in new {
        let same = |other: &NamedImage<'c>| {
            other.reference.tag_or_digest() == image.reference.tag_or_digest()
        };
        match old.iter().position(same) {
            Some(at) => {
                let before = old.remove(at);
                found.push(ImagePair {
                    name: name(Some(&image)),
                    old: Some(before),
                    new: Some(image),
                });
            }
            None => changed.push(image),
        }
    }
    loop {
        let (before, after) = (old.pop(), changed.pop());
        if before.is_none() && after.is_none() {
            break;
        }
        let name = name(after.as_ref().or(before.as_ref()));
        found.push(ImagePair { name, old: before, new: after });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}
