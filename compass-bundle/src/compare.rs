//! What differs between two bundles.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use compass_registry::{
    Descriptor, Digest, ImageSourceExt as _, Manifest, Platform, Reference, Repository,
};

use crate::document::BundleFile;
use crate::package::{PackageFile, PackageImage};
use crate::plan::image::ArchiveImage;
use crate::{Error, Opened};

/// What differs between two bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The sizes of the files in bytes.
    pub sizes: (u64, u64),
    /// Small files that differ, or that only one has.
    pub files: Vec<FileChange>,
    /// Images that differ, or that only one has.
    pub images: Vec<ImageChange>,
    /// The images that are the same.
    pub same_images: usize,
    /// Bytes of blobs that both have.
    pub shared_bytes: u64,
    /// Bytes of blobs that only the second has.
    pub new_bytes: u64,
}

/// A small file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The path below the bundle's directory.
    pub path: String,
    /// The size in the first bundle, in bytes, where it is there.
    pub old: Option<u64>,
    /// The size in the second.
    pub new: Option<u64>,
    /// Both texts, of YAML and JSON that is in both bundles. Of 64 MiB of such texts and
    /// configurations in all, what comes later has none.
    pub texts: Option<(Bytes, Bytes)>,
}

/// An image that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The repository.
    pub name: String,
    /// The image in the first bundle.
    pub old: Option<ImageSide>,
    /// The image in the second.
    pub new: Option<ImageSide>,
    /// Layers that both have.
    pub shared: Vec<Descriptor>,
    /// Layers that only the first has.
    pub removed: Vec<Descriptor>,
    /// Layers that only the second has.
    pub added: Vec<Descriptor>,
    /// Both configurations, of the platform that tools see which know only single images; as
    /// [`FileChange::texts`].
    pub configs: Option<(Bytes, Bytes)>,
}

/// An image in one of two bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSide {
    /// The release registry's reference.
    pub reference: String,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// The platforms of the index whose images are not in the bundle.
    pub absent: Vec<Platform>,
}

/// The largest text that is compared by its structure, in bytes.
const MAX_TEXT: u64 = 4 << 20;

/// Bytes of texts that may still be taken into memory.
struct Room(u64);

impl Default for Room {
    fn default() -> Self {
        Self(64 << 20)
    }
}

impl Room {
    /// Whether there is room for both sides of something.
    fn take(&mut self, sizes: (u64, u64)) -> bool {
        let both = sizes.0.saturating_add(sizes.1);
        let fits = sizes.0.max(sizes.1) <= MAX_TEXT && both <= self.0;
        if fits {
            self.0 -= both;
        }
        fits
    }
}

/// A small file of one side.
struct SmallFile {
    digest: Option<Digest>,
    size: u64,
    /// The path by which it is read.
    path: String,
}

/// An image of one side.
struct NamedImage<'c> {
    reference: &'c Reference,
    digest: Digest,
    image: EitherImage<'c>,
}

enum EitherImage<'c> {
    Bundled(&'c ArchiveImage, Platform),
    Packed(&'c PackageImage),
}

/// Compares two bundles, or packages. Of bundles, only manifests, configurations and small files are
/// read.
///
/// # Errors
/// Where one of them cannot be read.
pub async fn compare(old: &Opened, new: &Opened) -> Result<Comparison, Error> {
    let (old_images, new_images) = (by_name(old.images()), by_name(new.images()));
    let names: BTreeSet<&String> = old_images.keys().chain(new_images.keys()).collect();
    let (mut images, mut same_images, mut room) = (Vec::new(), 0, Room::default());
    let files = file_changes(old, new, &mut room).await?;
    for name in names {
        let sides = (old_images.get(name), new_images.get(name));
        if let (Some(one), Some(other)) = sides
            && one.digest == other.digest
            && one.reference == other.reference
            && one.absent() == other.absent()
        {
            same_images += 1;
            continue;
        }
        images.push(image_change(name, (old, sides.0), (new, sides.1), &mut room).await?);
    }
    let (old_blobs, new_blobs) = (old.blobs()?, new.blobs()?);
    let (shared, added): (Vec<_>, Vec<_>) =
        new_blobs.iter().partition(|(digest, _)| old_blobs.contains_key(*digest));
    let sum = |blobs: &[(&Digest, &u64)]| blobs.iter().map(|(_, size)| **size).sum();
    Ok(Comparison {
        sizes: (old.size(), new.size()),
        files,
        images,
        same_images,
        shared_bytes: sum(&shared),
        new_bytes: sum(&added),
    })
}

impl Opened {
    fn size(&self) -> u64 {
        match self {
            Self::Bundle(bundle) => bundle.size(),
            Self::Package(package) => package.size(),
        }
    }

    fn images(&self) -> Vec<NamedImage<'_>> {
        match self {
            Self::Bundle(bundle) => {
                let platform = bundle.single_platform();
                let named = |image| NamedImage::of_bundle(image, platform.clone());
                bundle.images().iter().map(named).collect()
            }
            Self::Package(package) => package.images().iter().map(NamedImage::of_package).collect(),
        }
    }

    /// The small files by their paths below the package's directory.
    fn files(&self) -> BTreeMap<String, SmallFile> {
        match self {
            Self::Bundle(bundle) => {
                let small = bundle.document().files.iter().filter(|file| file.image.is_none());
                let file = |one: &BundleFile| SmallFile {
                    digest: one.digest,
                    size: one.size,
                    path: one.path.clone(),
                };
                small.map(|one| (one.path.clone(), file(one))).collect()
            }
            Self::Package(package) => {
                let top = package.directory().map_or(0, |directory| directory.len() + 1);
                let file = |one: &PackageFile| SmallFile {
                    digest: Some(one.digest),
                    size: one.size,
                    path: one.path.clone(),
                };
                let files = package.files().iter();
                files.map(|one| (one.path[top..].to_owned(), file(one))).collect()
            }
        }
    }

    async fn file(&self, path: &str) -> Result<Bytes, Error> {
        match self {
            Self::Bundle(bundle) => bundle.file(path).await,
            Self::Package(package) => package.file(path).await,
        }
    }

    async fn blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Bytes, Error> {
        Ok(match self {
            Self::Bundle(bundle) => bundle.read(repository, blob).await?,
            Self::Package(package) => package.read(repository, blob).await?,
        })
    }

    fn blobs(&self) -> Result<BTreeMap<Digest, u64>, Error> {
        match self {
            Self::Bundle(bundle) => {
                let blobs = bundle.plan().blobs().iter();
                Ok(blobs.map(|blob| (blob.descriptor.digest, blob.descriptor.size)).collect())
            }
            Self::Package(package) => {
                let mut blobs = BTreeMap::new();
                for image in package.images() {
                    for manifest in image.manifests() {
                        let manifest = manifest.parse()?;
                        blobs.extend(manifest.held_blobs().map(|blob| (blob.digest, blob.size)));
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

    fn of_package(image: &'c PackageImage) -> Self {
        let (reference, digest) = (&image.reference, image.root.digest());
        Self { reference, digest, image: EitherImage::Packed(image) }
    }

    /// The layers of all platforms, each once.
    fn layers(&self) -> Result<Vec<Descriptor>, Error> {
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

    fn absent(&self) -> &[Platform] {
        match &self.image {
            EitherImage::Bundled(image, _) => &image.absent,
            EitherImage::Packed(_) => &[],
        }
    }

    /// The configuration that tools see which know only single images; of an index of other tools,
    /// that of the first image.
    fn config(&self) -> Result<Descriptor, Error> {
        let image = match &self.image {
            EitherImage::Bundled(image, platform) => return Ok(image.single(platform)?.0),
            EitherImage::Packed(image) => image,
        };
        for manifest in image.manifests() {
            if let Manifest::Image { config, .. } = manifest.parse()? {
                return Ok(config);
            }
        }
        Err(Error::damaged(format!("{}: {} is an index of nothing", image.archive, self.reference)))
    }
}

/// Images by their repository; where there are several of one, with their tags.
fn by_name(images: Vec<NamedImage<'_>>) -> BTreeMap<String, NamedImage<'_>> {
    let name = |image: &NamedImage<'_>| image.reference.repository().to_string();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for image in &images {
        *counts.entry(name(image)).or_default() += 1;
    }
    let named = images.into_iter().map(|image| {
        let key = match counts.get(&name(&image)) {
            Some(1) => name(&image),
            _ => format!("{}:{}", name(&image), image.reference.locator()),
        };
        (key, image)
    });
    named.collect()
}

async fn image_change(
    name: &str,
    (old, old_image): (&Opened, Option<&NamedImage<'_>>),
    (new, new_image): (&Opened, Option<&NamedImage<'_>>),
    room: &mut Room,
) -> Result<ImageChange, Error> {
    let config = |image: Option<&NamedImage<'_>>| image.map(NamedImage::config).transpose();
    let (before, after) = (config(old_image)?, config(new_image)?);
    let mut configs = None;
    if let (Some(one), Some(other)) = (old_image, new_image)
        && let (Some(config), Some(other_config)) = (&before, &after)
        && config.digest != other_config.digest
        && room.take((config.size, other_config.size))
    {
        let config = old.blob(one.reference.repository(), config).await?;
        let other_config = new.blob(other.reference.repository(), other_config).await?;
        configs = Some((config, other_config));
    }
    let layers =
        |image: Option<&NamedImage<'_>>| image.map_or_else(|| Ok(Vec::new()), NamedImage::layers);
    let (old_layers, new_layers) = (layers(old_image)?, layers(new_image)?);
    let digests = |layers: &[Descriptor]| -> HashSet<Digest> {
        layers.iter().map(|layer| layer.digest).collect()
    };
    let (before, after) = (digests(&old_layers), digests(&new_layers));
    let (shared, added): (Vec<_>, Vec<_>) =
        new_layers.into_iter().partition(|layer| before.contains(&layer.digest));
    let removed = old_layers.into_iter().filter(|layer| !after.contains(&layer.digest)).collect();
    let side = |image: &NamedImage<'_>| ImageSide {
        reference: image.reference.to_string(),
        digest: image.digest,
        absent: image.absent().to_vec(),
    };
    let (old, new) = (old_image.map(side), new_image.map(side));
    Ok(ImageChange { name: name.to_owned(), old, new, shared, removed, added, configs })
}

async fn file_changes(
    old: &Opened,
    new: &Opened,
    room: &mut Room,
) -> Result<Vec<FileChange>, Error> {
    let (olds, news) = (old.files(), new.files());
    let mut changes = Vec::new();
    for path in olds.keys().chain(news.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (olds.get(path), news.get(path));
        if before.map(|file| file.digest) == after.map(|file| file.digest) {
            continue;
        }
        let is_text = [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end));
        let texts = match (before, after) {
            (Some(one), Some(other)) if is_text && room.take((one.size, other.size)) => {
                Some((old.file(&one.path).await?, new.file(&other.path).await?))
            }
            _ => None,
        };
        let (old, new) = (before.map(|file| file.size), after.map(|file| file.size));
        changes.push(FileChange { path: path.clone(), old, new, texts });
    }
    Ok(changes)
}
