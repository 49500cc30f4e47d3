//! Brings the images of a bundle to the site's registry.

mod in_order;

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::{
    Copied, Copier, CopyOptions, Digest, ImageSink, ImageSource, Manifest, Platform, Reference,
    RegistryPlace,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::Error;
use crate::package::{Package, PackageImage};
use crate::plan::image::ArchiveImage;
use crate::read::Bundle;

/// Images that are on their way at once; how many blobs move is another bound.
const IMAGES_AT_ONCE: usize = 4;

/// An image that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its name at the site.
    pub reference: Reference,
    /// What was moved.
    pub copied: Copied,
}

/// Pushes all images of a bundle to a registry. With a project the place replaces the images' own,
/// without one they keep it. Layers are read from the bundle by offset, each once; nothing is
/// unpacked. Of an image index that is not whole in the bundle, an index of what is there arrives.
///
/// # Errors
/// The first error, naming image and blob. What has been pushed stays; a second try finds it.
pub async fn install(
    bundle: &Bundle,
    sink: &dyn ImageSink,
    place: &RegistryPlace,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    let source: Arc<dyn ImageSource> = Arc::new(bundle.clone());
    let images = bundle
        .images()
        .iter()
        .map(|image| Ok((image.reference.clone(), image.root.digest(), present_platforms(image)?)));
    let images = images.collect::<Result<Vec<_>, Error>>()?;
    require_own_tags(images.iter().map(|(image, digest, _)| (image, *digest)), place)?;
    bring(&source, images, sink, place, (options, IMAGES_AT_ONCE)).await
}

/// Pushes all images of a package of any making; see [`install`]. The package is read once, for
/// whatever blobs the registry lacks.
///
/// # Errors
/// As [`install`]; [`Error::Damaged`] where an image has a problem, before anything is pushed.
pub async fn install_package(
    package: &Package,
    sink: &dyn ImageSink,
    place: &RegistryPlace,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    let images = package.images().iter();
    require_own_tags(images.map(|image| (&image.reference, image.root.digest())), place)?;
    bring_packed((package, package.images()), sink, place, options).await
}

/// Copies one image of a package of any making under its own name; see [`install_package`].
///
/// # Errors
/// As [`install_package`].
pub async fn copy_packed(
    package: &Package,
    image: &PackageImage,
    sink: &dyn ImageSink,
    options: &CopyOptions,
) -> Result<Copied, Error> {
    let own = RegistryPlace { host: image.reference.host().to_owned(), project: String::new() };
    let images = std::slice::from_ref(image);
    let mut installed = bring_packed((package, images), sink, &own, options).await?;
    Ok(installed.remove(0).copied)
}

/// Brings images of a package, as many as are asked for.
async fn bring_packed(
    (package, images): (&Package, &[PackageImage]),
    sink: &dyn ImageSink,
    place: &RegistryPlace,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    if let Some(problem) = images.iter().find_map(|image| image.problems.first()) {
        return Err(Error::damaged(problem));
    }
    let mut brought = in_order::bring((package, images), sink, place, &options.progress).await?;
    let source: Arc<dyn ImageSource> = Arc::new(package.clone());
    let roots = images.iter();
    let roots = roots.map(|image| (image.reference.clone(), image.root.digest(), Vec::new()));
    // Every layer that is missing yet is read up to from the beginning: several at once would be in
    // each other's way.
    let options = CopyOptions { jobs: 1, ..options.clone() };
    let mut installed = bring(&source, roots.collect(), sink, place, (&options, 1)).await?;
    for (image, installed) in images.iter().zip(&mut installed) {
        let (blobs, bytes) = brought.remove(&image.reference).unwrap_or_default();
        installed.copied.blobs += blobs;
        installed.copied.bytes += bytes;
        installed.copied.present = installed.copied.present.saturating_sub(bytes);
    }
    Ok(installed)
}

async fn bring(
    source: &Arc<dyn ImageSource>,
    images: Vec<(Reference, Digest, Vec<Platform>)>,
    sink: &dyn ImageSink,
    place: &RegistryPlace,
    (options, at_once): (&CopyOptions, usize),
) -> Result<Vec<Installed>, Error> {
    let copier = &Copier::new(sink, options.clone());
    let installing = images.into_iter().map(|(image, digest, platforms)| async move {
        let reference = image.moved_to(place)?;
        let from = (image.repository(), &digest.into());
        let to = (reference.repository(), reference.tag());
        let copied = if platforms.is_empty() {
            copier.copy(source, from, to).await
        } else {
            Copier::new(sink, CopyOptions { platforms, ..options.clone() })
                .copy(source, from, to)
                .await
        };
        let copied = copied.map_err(|error| error.in_image(&reference))?;
        Ok(Installed { reference, copied })
    });
    stream::iter(installing).buffered(at_once).try_collect().await
}

/// Two images under one tag would be one that is lost.
fn require_own_tags<'i>(
    images: impl Iterator<Item = (&'i Reference, Digest)>,
    place: &RegistryPlace,
) -> Result<(), Error> {
    let mut taken: HashMap<Reference, (&Reference, Digest)> = HashMap::new();
    for (image, digest) in images.filter(|(image, _)| image.tag().is_some()) {
        let moved = image.moved_to(place)?;
        match taken.get(&moved) {
            Some((other, different)) if *different != digest => {
                return Err(Error::Unplannable(format!(
                    "{other} and {image} would both become {moved}: install them without a project"
                )));
            }
            _ => drop(taken.insert(moved, (image, digest))),
        }
    }
    Ok(())
}

/// The platforms of an image index of which some images stay behind.
fn present_platforms(image: &ArchiveImage) -> Result<Vec<Platform>, Error> {
    let Manifest::Index(entries) = image.root.parse()? else { return Ok(Vec::new()) };
    if image.absent.is_empty() {
        return Ok(Vec::new());
    }
    let present = entries
        .into_iter()
        .filter(|entry| image.children.iter().any(|child| child.digest() == entry.digest));
    Ok(present.filter_map(|entry| entry.platform).collect())
}
