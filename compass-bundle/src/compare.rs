//! Comparison of two packages.

mod image_pairs;
mod side;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Descriptor, Digest, ImageSource, Platform};

use self::image_pairs::{ImagePair, match_images};
use self::side::{Side, SideImage};
use crate::format::document::BundleDocument;
use crate::plan::contents::BundleContents;
use crate::{BundlePlan, Error, Package};

/// The differences between two packages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// Sizes of the two files in bytes.
    pub sizes: (u64, u64),
    /// Changed fields of `bundle.json`. Empty if either package is foreign.
    pub document: Vec<DocumentChange>,
    /// Small files that differ, or that only one package contains.
    pub files: Vec<FileChange>,
    /// Images that differ, or that only one package contains.
    pub images: Vec<ImageChange>,
    /// Number of images that are identical.
    pub unchanged_images: usize,
    /// Total size in bytes of the blobs that both packages contain.
    pub shared_bytes: u64,
    /// Total size in bytes of the blobs that only the second package contains.
    pub new_bytes: u64,
}

/// A changed field of `bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocumentChange {
    /// The name of the field in JSON.
    pub field: &'static str,
    /// Its value in the first bundle.
    pub old: Option<String>,
    /// Its value in the second bundle.
    pub new: Option<String>,
}

/// A small file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileChange {
    /// Path below the package's directory.
    pub path: String,
    /// Size in the first package in bytes, or `None` if it does not contain the file.
    pub old: Option<u64>,
    /// Size in the second package.
    pub new: Option<u64>,
    /// The permissions of both, if they differ. Not compared for foreign packages, whose
    /// permissions are those of the disk they were created on.
    pub modes: Option<(u32, u32)>,
    /// The content of both, for YAML and JSON files in both packages. `None` after 64 MiB of such
    /// files and configurations.
    pub texts: Option<(Bytes, Bytes)>,
}

/// An image that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageChange {
    /// The repository, with the tag if either package contains several images of it.
    pub name: String,
    /// The image in the first package.
    pub old: Option<ImageSide>,
    /// The image in the second package.
    pub new: Option<ImageSide>,
    /// Layers that both contain.
    pub shared: Vec<Descriptor>,
    /// Layers that only the first contains.
    pub removed: Vec<Descriptor>,
    /// Layers that only the second contains.
    pub added: Vec<Descriptor>,
    /// The configurations of the default images, if they differ. Limited as [`FileChange::texts`].
    pub configs: Option<(Bytes, Bytes)>,
}

/// An image in one of the two packages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageSide {
    /// Its reference in the release registry.
    pub reference: String,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// Platforms of the index that a bundle omits.
    pub omitted_platforms: Vec<Platform>,
}

/// Maximum size in bytes of a text whose content is compared.
const MAX_TEXT: u64 = 4 << 20;

/// Bytes of texts that may still be read into memory.
struct TextBudget(u64);

impl Default for TextBudget {
    fn default() -> Self {
        Self(64 << 20)
    }
}

impl TextBudget {
    /// Reserves memory for both texts, if both fit.
    fn take(&mut self, old: u64, new: u64) -> bool {
        let both = old.saturating_add(new);
        let fits = old.max(new) <= MAX_TEXT && both <= self.0;
        if fits {
            self.0 -= both;
        }
        fits
    }
}

/// Compares two packages.
///
/// Of bundles, only manifests, configurations and small files are read.
///
/// # Errors
/// If either package cannot be read.
pub async fn compare(old: &Package, new: &Package) -> Result<Comparison, Error> {
    compare_sides(Side::of_package(old)?, Side::of_package(new)?).await
}

/// Compares a package, or nothing, with a bundle that is planned.
///
/// `contents` are those of the plan, and `source` has their images. No layer is read.
///
/// # Errors
/// If the package or a configuration cannot be read.
pub async fn compare_with_plan(
    old: Option<&Package>,
    plan: &BundlePlan,
    contents: &BundleContents,
    source: Arc<dyn ImageSource>,
) -> Result<Comparison, Error> {
    let old = old.map_or_else(|| Ok(Side::nothing()), Side::of_package)?;
    compare_sides(old, Side::of_plan(plan, contents, &source)?).await
}

async fn compare_sides(mut old: Side<'_>, mut new: Side<'_>) -> Result<Comparison, Error> {
    let (mut images, mut unchanged_images, mut budget) = (Vec::new(), 0, TextBudget::default());
    let files = file_changes(&old, &new, &mut budget).await?;
    let (old_images, new_images) =
        (std::mem::take(&mut old.images), std::mem::take(&mut new.images));
    for pair in match_images(old_images, new_images) {
        if let (Some(one), Some(other)) = (&pair.old, &pair.new)
            && one.digest == other.digest
            && one.reference == other.reference
            && one.omitted_platforms == other.omitted_platforms
        {
            unchanged_images += 1;
            continue;
        }
        images.push(image_change(pair, &mut budget).await?);
    }
    let (shared, added): (Vec<_>, Vec<_>) =
        new.blobs.iter().partition(|(digest, _)| old.blobs.contains_key(*digest));
    let sum = |blobs: &[(&Digest, &u64)]| blobs.iter().map(|(_, size)| **size).sum();
    Ok(Comparison {
        sizes: (old.size, new.size),
        document: document_changes(&old, &new),
        files,
        images,
        unchanged_images,
        shared_bytes: sum(&shared),
        new_bytes: sum(&added),
    })
}

async fn image_change(pair: ImagePair<'_>, budget: &mut TextBudget) -> Result<ImageChange, Error> {
    let (old, new) = (pair.old.as_ref(), pair.new.as_ref());
    let configs = match old.zip(new) {
        Some((old, new)) => changed_configs(old, new, budget).await?,
        None => None,
    };
    let layers =
        |image: Option<&SideImage<'_>>| image.map_or_else(Vec::new, |image| image.layers.clone());
    let (old_layers, new_layers) = (layers(old), layers(new));
    let digests = |layers: &[Descriptor]| -> HashSet<Digest> {
        layers.iter().map(|layer| layer.digest).collect()
    };
    let (before, after) = (digests(&old_layers), digests(&new_layers));
    let (shared, added): (Vec<_>, Vec<_>) =
        new_layers.into_iter().partition(|layer| before.contains(&layer.digest));
    let removed = old_layers.into_iter().filter(|layer| !after.contains(&layer.digest)).collect();
    let side = |image: &SideImage<'_>| ImageSide {
        reference: image.reference.to_string(),
        digest: image.digest,
        omitted_platforms: image.omitted_platforms.to_vec(),
    };
    Ok(ImageChange {
        name: pair.name,
        old: old.map(side),
        new: new.map(side),
        shared,
        removed,
        added,
        configs,
    })
}

/// The configurations of the default images, if they differ and the budget allows.
async fn changed_configs(
    old: &SideImage<'_>,
    new: &SideImage<'_>,
    budget: &mut TextBudget,
) -> Result<Option<(Bytes, Bytes)>, Error> {
    let (before, after) = (old.default_config()?, new.default_config()?);
    if before.digest == after.digest || !budget.take(before.size, after.size) {
        return Ok(None);
    }
    Ok(Some((old.read_config(&before).await?, new.read_config(&after).await?)))
}

fn document_changes(old: &Side<'_>, new: &Side<'_>) -> Vec<DocumentChange> {
    let (Some(old), Some(new)) = (old.document, new.document) else { return Vec::new() };
    let facts = |document: &BundleDocument| {
        let kind = serde_json::to_value(document.kind).ok();
        [
            ("kind", kind.and_then(|kind| kind.as_str().map(str::to_owned))),
            ("name", Some(document.name.clone())),
            ("version", Some(document.version.clone())),
            ("base", document.base_version.clone()),
            ("commit", document.commit.clone()),
            ("modified", Some(document.modified.to_string())),
        ]
    };
    let both = facts(old).into_iter().zip(facts(new));
    let changed = both.filter(|((_, old), (_, new))| old != new);
    changed.map(|((field, old), (_, new))| DocumentChange { field, old, new }).collect()
}

async fn file_changes(
    old: &Side<'_>,
    new: &Side<'_>,
    budget: &mut TextBudget,
) -> Result<Vec<FileChange>, Error> {
    let (olds, news) = (&old.files, &new.files);
    let mut changes = Vec::new();
    for path in olds.keys().chain(news.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (olds.get(path), news.get(path));
        let both = before.zip(after);
        let modes = both.and_then(|(before, after)| before.mode.zip(after.mode));
        let modes = modes.filter(|(before, after)| before != after);
        if modes.is_none() && both.is_some_and(|(one, other)| one.digest == other.digest) {
            continue;
        }
        let is_text = [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end));
        let texts = match (before, after) {
            (Some(one), Some(other))
                if is_text && one.digest != other.digest && budget.take(one.size, other.size) =>
            {
                Some((old.file(&one.path).await?, new.file(&other.path).await?))
            }
            _ => None,
        };
        let (old, new) = (before.map(|file| file.size), after.map(|file| file.size));
        changes.push(FileChange { path: path.clone(), old, new, modes, texts });
    }
    Ok(changes)
}
