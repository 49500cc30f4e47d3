//! Installation: pushes the images of a package to a site's registry.

mod offset_progress;
mod sequential;

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::{
    Copier, CopyOptions, CopyReport, ImageRef, ImageSink, ImageSource, Progress, Reference,
    RegistryPrefix,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use self::offset_progress::OffsetProgress;
use self::sequential::SequentialPush;
use crate::Error;
use crate::foreign::ForeignPackage;
use crate::package::{Backend, Image, Package};

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Installed {
    /// Its reference at the site.
    pub reference: Reference,
    /// The report of the copy.
    pub copied: CopyReport,
}

/// The result of one image of a package, or its plan.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImageInstallation {
    /// Its reference at the site.
    pub reference: Reference,
    /// The report of the copy, or the error that stopped it.
    pub result: Result<CopyReport, Error>,
}

/// Pushes all images of a package to a registry.
///
/// If `place` has a project, it replaces the project of each image. Of an index with omitted
/// platforms, an index of the included ones is pushed. Each blob is read once: from a bundle by
/// offset, from a foreign package in a single pass.
///
/// # Errors
/// The first error, which names the image and blob. Images that were pushed remain; a retry skips
/// them. [`Error::Damaged`] if a foreign package has a problem, and [`Error::NotABundle`] if it
/// contains no image, both before anything is pushed. [`Error::InvalidInput`] if two images would
/// get the same tag.
pub async fn install(
    package: &Package,
    sink: Arc<dyn ImageSink>,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    all_pushed(install_each(package, sink, place, options).await?)
}

/// Pushes all images of a package as [`install`] does, and continues after the error of an image.
///
/// # Errors
/// The errors of [`install`] that are found before anything is pushed. If a blob of a foreign package
/// cannot be pushed, no image of it is.
pub async fn install_each(
    package: &Package,
    sink: Arc<dyn ImageSink>,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<ImageInstallation>, Error> {
    check_installable(package)?;
    push(&package.images(), sink, place, options).await
}

/// Predicts what [`install_each`] would do. Writes nothing.
///
/// # Errors
/// As [`install_each`].
pub async fn plan_install(
    package: &Package,
    sink: Arc<dyn ImageSink>,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<ImageInstallation>, Error> {
    check_installable(package)?;
    let images = package.images();
    check_tag_collisions(&images, place)?;
    let installer = Installer { source: package.image_source(), sink, place, options };
    let copier = &installer.copier();
    let plans: Vec<_> = images.iter().map(|image| installer.plan(image, copier).boxed()).collect();
    stream::iter(plans).buffered(options.concurrent_images()).try_collect().await
}

/// Returns the pushed images, or the first error.
fn all_pushed(images: Vec<ImageInstallation>) -> Result<Vec<Installed>, Error> {
    let installed = |image: ImageInstallation| {
        Ok(Installed { reference: image.reference, copied: image.result? })
    };
    images.into_iter().map(installed).collect()
}

/// Copies one image of a package under its own name; see [`install`].
///
/// # Errors
/// As [`install`].
pub async fn copy_image(
    image: &Image<'_>,
    sink: Arc<dyn ImageSink>,
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    image.check_problems()?;
    let host = image.reference.host().to_owned();
    let place = RegistryPrefix { host, project: String::new() };
    let mut installed =
        all_pushed(push(std::slice::from_ref(image), sink, &place, options).await?)?;
    Ok(installed.remove(0).copied)
}

/// Checks a foreign package. Bundles are checked when they are opened.
fn check_installable(package: &Package) -> Result<(), Error> {
    let Package::Foreign(package) = package else { return Ok(()) };
    if !package.images().is_empty() {
        return package.require_whole();
    }
    // A problem may be the reason that no image was found.
    if !package.is_archived_product() {
        package.require_whole()?;
    }
    Err(Error::not_a_bundle(package.name(), package.no_image_reason()))
}

/// Pushes images of one package.
async fn push(
    images: &[Image<'_>],
    sink: Arc<dyn ImageSink>,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<ImageInstallation>, Error> {
    check_tag_collisions(images, place)?;
    let Some(first) = images.first() else { return Ok(Vec::new()) };
    let installer = Installer { source: first.image_source(), sink, place, options };
    match first.backend {
        Backend::Bundle(..) => installer.push_all(images).await,
        Backend::Foreign(package, _) => installer.push_in_two_passes(package, images).await,
    }
}

/// Pushes images from a package to a destination.
struct Installer<'i> {
    source: Arc<dyn ImageSource>,
    sink: Arc<dyn ImageSink>,
    place: &'i RegistryPrefix,
    options: &'i CopyOptions,
}

/// The copy of one image.
struct Transfer {
    copier: Copier,
    source: Arc<dyn ImageSource>,
    from: ImageRef,
    /// The reference at the destination.
    reference: Reference,
}

impl Installer<'_> {
    fn copier(&self) -> Copier {
        Copier::new(Arc::clone(&self.sink), self.options.clone())
    }

    async fn push_all(&self, images: &[Image<'_>]) -> Result<Vec<ImageInstallation>, Error> {
        let copier = &self.copier();
        // Boxed, so that the returned future is `Send`: the compiler cannot prove that for futures
        // in a lazy iterator.
        let pushes: Vec<_> = images.iter().map(|image| self.push(image, copier).boxed()).collect();
        stream::iter(pushes).buffered(self.options.concurrent_images()).try_collect().await
    }

    /// Pushes the blobs in the order of the file, then the images. The second pass finds the blobs
    /// at the destination, and reads those that are still missing.
    async fn push_in_two_passes(
        &self,
        package: &ForeignPackage,
        images: &[Image<'_>],
    ) -> Result<Vec<ImageInstallation>, Error> {
        let checks: Vec<_> = images.iter().map(|image| self.is_needed(image).boxed()).collect();
        let checks = stream::iter(checks).buffered(self.options.concurrent_images());
        let needed: Vec<bool> = checks.try_collect().await?;
        let needed = images.iter().zip(needed).filter(|(_, needed)| *needed);
        let needed: Vec<_> = needed.map(|(image, _)| image).collect();
        let progress = Arc::new(OffsetProgress::new(&self.options.progress));
        let first: Arc<dyn Progress> = progress.clone();
        let (sink, place) = (&*self.sink, self.place);
        let blobs = SequentialPush { package, sink, place, progress: &first };
        let mut pushed = blobs.run(&needed).await?;
        // Each layer that is still missing is read from the start of the file on: concurrent reads
        // would slow each other down.
        let progress = Arc::new(progress.second_pass());
        let options = &self.options.clone().jobs(1).progress(progress);
        let (source, sink) = (Arc::clone(&self.source), Arc::clone(&self.sink));
        let second = Installer { source, sink, options, place: self.place };
        let mut installed = second.push_all(images).await?;
        for (image, installed) in images.iter().zip(&mut installed) {
            let (blobs, bytes) = pushed.remove(image.reference).unwrap_or_default();
            let Ok(copied) = &mut installed.result else { continue };
            copied.blobs += blobs;
            copied.bytes += bytes;
            copied.present_bytes = copied.present_bytes.saturating_sub(bytes);
        }
        Ok(installed)
    }

    async fn push(&self, image: &Image<'_>, copier: &Copier) -> Result<ImageInstallation, Error> {
        let Transfer { copier, source, from, reference } = self.transfer(image, copier)?;
        let copied = copier.copy(source, &from, &(&reference).into()).await;
        self.options.progress.image_done();
        Ok(ImageInstallation::new(reference, copied))
    }

    async fn plan(&self, image: &Image<'_>, copier: &Copier) -> Result<ImageInstallation, Error> {
        let Transfer { copier, source, from, reference } = self.transfer(image, copier)?;
        let planned = copier.plan(source, &from, &(&reference).into()).await;
        Ok(ImageInstallation::new(reference, planned))
    }

    fn transfer(&self, image: &Image<'_>, copier: &Copier) -> Result<Transfer, Error> {
        Ok(Transfer {
            copier: copier_for(image, copier)?,
            source: Arc::clone(&self.source),
            from: ImageRef::new(image.reference.repository().clone(), image.digest()),
            reference: destination(image, self.place)?,
        })
    }

    /// Whether an image has to be pushed. Returns an error if the tag exists with another image.
    async fn is_needed(&self, image: &Image<'_>) -> Result<bool, Error> {
        let transfer = self.transfer(image, &self.copier())?;
        let Transfer { copier, source, from, reference } = transfer;
        let needed = copier.is_needed(source, &from, &(&reference).into()).await;
        needed.map_err(|error| error.in_image(&reference).into())
    }
}

impl ImageInstallation {
    fn new(reference: Reference, copied: Result<CopyReport, compass_registry::Error>) -> Self {
        match copied {
            // An index with omitted platforms has another digest at the site.
            Ok(copied) => {
                Self { reference: reference.with_digest(copied.digest), result: Ok(copied) }
            }
            Err(error) => {
                let error = error.in_image(&reference);
                Self { reference, result: Err(error.into()) }
            }
        }
    }
}

/// The copier for an image. It differs for an index with omitted platforms.
fn copier_for(image: &Image<'_>, copier: &Copier) -> Result<Copier, Error> {
    Ok(match image.available_manifests()? {
        Some(available) => copier.with_available(available),
        None => copier.clone(),
    })
}

/// The reference of an image at the destination, with a tag or a digest.
fn destination(image: &Image<'_>, place: &RegistryPrefix) -> Result<Reference, Error> {
    Ok(image.reference.rebase(place)?.with_default_tag())
}

/// Returns an error if two images would get the same tag at the destination.
pub(crate) fn check_tag_collisions(
    images: &[Image<'_>],
    place: &RegistryPrefix,
) -> Result<(), Error> {
    let mut taken: HashMap<Reference, &Image<'_>> = HashMap::new();
    for image in images {
        let moved = destination(image, place)?;
        if moved.tag().is_none() {
            continue;
        }
        match taken.get(&moved) {
            Some(other) if other.digest() != image.digest() => {
                let advice = match place.project.is_empty() {
                    false => "use the registry without a project",
                    true => "extract them, and push each under its own name",
                };
                return Err(Error::InvalidInput(format!(
                    "{} and {} would both become {moved}: {advice}",
                    other.reference, image.reference
                )));
            }
            _ => drop(taken.insert(moved, image)),
        }
    }
    Ok(())
}
