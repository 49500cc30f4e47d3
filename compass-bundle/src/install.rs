//! Installation: pushes the images of a package to a site's registry.

mod sequential;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compass_registry::{
    Copier, CopyOptions, CopyReport, Digest, ImageSink, ImageSource, Manifest, Progress,
    RawManifest, Reference, RegistryPrefix, Repository,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::Error;
use crate::foreign::{ForeignImage, ForeignPackage};
use crate::plan::image::ArchiveImage;
use crate::read::Bundle;

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its reference at the site.
    pub reference: Reference,
    /// What was copied.
    pub copied: CopyReport,
}

/// Pushes all images of a bundle to a registry.
///
/// If `place` has a project, it replaces the project of each image. Blobs are read from the bundle
/// by offset, each once. Of an index with omitted platforms, an index of the included ones is
/// pushed.
///
/// # Errors
/// The first error, which names the image and blob. Images that were pushed remain; a retry skips
/// them.
pub async fn install(
    bundle: &Bundle,
    sink: &dyn ImageSink,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    let source: Arc<dyn ImageSource> = Arc::new(bundle.clone());
    let images = bundle.images().iter().map(Image::bundled);
    let images = images.collect::<Result<Vec<_>, _>>()?;
    check_tag_collisions(&images, place)?;
    push_all(&source, &images, sink, place, (options, options.concurrent_images())).await
}

/// Copies one image of a bundle under its own name; see [`install`].
///
/// # Errors
/// As [`install`].
pub async fn copy_bundled(
    bundle: &Bundle,
    image: &ArchiveImage,
    sink: &dyn ImageSink,
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    let source: Arc<dyn ImageSource> = Arc::new(bundle.clone());
    let (image, own) = (Image::bundled(image)?, original_place(&image.reference));
    let mut installed = push_all(&source, &[image], sink, &own, (options, 1)).await?;
    Ok(installed.remove(0).copied)
}

/// Pushes all images of a foreign package; see [`install`]. Reads the package once, for all blobs
/// that the registry lacks.
///
/// # Errors
/// As [`install`]; [`Error::Damaged`] if the package has a problem, before anything is pushed;
/// [`Error::NotABundle`] if it contains no image.
pub async fn install_package(
    package: &ForeignPackage,
    sink: &dyn ImageSink,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    if package.images().is_empty() {
        // A problem may be the reason that no image was found.
        if !package.is_archived_product() {
            package.require_whole()?;
        }
        return Err(Error::not_a_bundle(package.name(), package.no_image_reason()));
    }
    package.require_whole()?;
    push_foreign((package, package.images()), sink, place, options).await
}

/// Copies one image of a foreign package under its own name; see [`install_package`].
///
/// # Errors
/// As [`install_package`].
pub async fn copy_packed(
    package: &ForeignPackage,
    image: &ForeignImage,
    sink: &dyn ImageSink,
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    let (images, own) = (std::slice::from_ref(image), original_place(&image.reference));
    let mut installed = push_foreign((package, images), sink, &own, options).await?;
    Ok(installed.remove(0).copied)
}

/// Pushes some images of a foreign package.
async fn push_foreign(
    (package, images): (&ForeignPackage, &[ForeignImage]),
    sink: &dyn ImageSink,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    if let Some(problem) = images.iter().find_map(|image| image.problems.first()) {
        return Err(Error::damaged(problem));
    }
    let packed = images.iter().map(Image::packed).collect::<Result<Vec<_>, _>>()?;
    check_tag_collisions(&packed, place)?;
    let offset = Arc::new(OffsetProgress::of(&options.progress));
    let first: Arc<dyn Progress> = offset.clone();
    let source: Arc<dyn ImageSource> = Arc::new(package.clone());
    let mut needed = Vec::new();
    for (image, packed) in images.iter().zip(&packed) {
        if is_needed(&source, packed, place, (sink, options)).await? {
            needed.push(image);
        }
    }
    let mut pushed = sequential::push((package, &needed), sink, place, &first).await?;
    // Each layer that is still missing is read from the start of the file on: concurrent reads
    // would slow each other down.
    let progress = Arc::new(offset.rest());
    let options = CopyOptions { jobs: 1, progress, ..options.clone() };
    let mut installed = push_all(&source, &packed, sink, place, (&options, 1)).await?;
    for (image, installed) in images.iter().zip(&mut installed) {
        let (blobs, bytes) = pushed.remove(&image.reference).unwrap_or_default();
        installed.copied.blobs += blobs;
        installed.copied.bytes += bytes;
        installed.copied.present_bytes = installed.copied.present_bytes.saturating_sub(bytes);
    }
    Ok(installed)
}

/// Progress of a second pass, which repeats the reports of the first pass: skips as many bytes.
struct OffsetProgress {
    progress: Arc<dyn Progress>,
    expected: AtomicU64,
    advanced: AtomicU64,
    /// Bytes expected and advanced in the first pass that are yet to be skipped.
    before: (AtomicU64, AtomicU64),
}

impl OffsetProgress {
    fn of(progress: &Arc<dyn Progress>) -> Self {
        Self {
            progress: Arc::clone(progress),
            expected: AtomicU64::new(0),
            advanced: AtomicU64::new(0),
            before: (AtomicU64::new(0), AtomicU64::new(0)),
        }
    }

    fn rest(&self) -> Self {
        let before = |offset: &AtomicU64| AtomicU64::new(offset.load(Ordering::Relaxed));
        Self {
            before: (before(&self.expected), before(&self.advanced)),
            ..Self::of(&self.progress)
        }
    }
}

/// The part of `bytes` that the first pass did not report.
fn not_yet_reported(before: &AtomicU64, bytes: u64) -> u64 {
    let seen = before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        Some(left.saturating_sub(bytes))
    });
    bytes.saturating_sub(seen.unwrap_or_default())
}

impl Progress for OffsetProgress {
    fn add_total(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
        self.progress.add_total(not_yet_reported(&self.before.0, bytes));
    }

    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::Relaxed);
        self.progress.advance(not_yet_reported(&self.before.1, bytes));
    }

    fn image_done(&self) {
        self.progress.image_done();
    }

    fn resumed(&self, bytes: u64) {
        self.progress.resumed(bytes);
    }
}

/// An image to push.
struct Image<'i> {
    reference: &'i Reference,
    root: Digest,
    /// The included manifests of an index with omitted platforms.
    only: Option<HashSet<Digest>>,
}

impl<'i> Image<'i> {
    fn bundled(image: &'i ArchiveImage) -> Result<Self, Error> {
        Self::new(&image.reference, &image.root, &image.children)
    }

    fn packed(image: &'i ForeignImage) -> Result<Self, Error> {
        Self::new(&image.reference, &image.root, &image.children)
    }

    fn new(
        reference: &'i Reference,
        root: &RawManifest,
        children: &[RawManifest],
    ) -> Result<Self, Error> {
        let there: HashSet<_> = children.iter().map(RawManifest::digest).collect();
        let only = match root.parse()? {
            Manifest::Index(all) if !all.iter().all(|one| there.contains(&one.digest)) => {
                Some(there)
            }
            _ => None,
        };
        Ok(Self { reference, root: root.digest(), only })
    }

    fn repository(&self) -> &Repository {
        self.reference.repository()
    }

    /// Its reference at the destination, with a tag or a digest.
    fn destination(&self, place: &RegistryPrefix) -> Result<Reference, Error> {
        Ok(self.reference.rebase(place)?.with_default_tag())
    }

    fn options(&self, options: &CopyOptions) -> CopyOptions {
        CopyOptions { available: self.only.clone(), ..options.clone() }
    }
}

/// The destination under which an image keeps its own name.
fn original_place(reference: &Reference) -> RegistryPrefix {
    RegistryPrefix { host: reference.host().to_owned(), project: String::new() }
}

async fn push_all(
    source: &Arc<dyn ImageSource>,
    images: &[Image<'_>],
    sink: &dyn ImageSink,
    place: &RegistryPrefix,
    (options, concurrency): (&CopyOptions, usize),
) -> Result<Vec<Installed>, Error> {
    let copier = &Copier::new(sink, options.clone());
    let installing = images.iter().map(|image| {
        // Boxed, so that the returned future is `Send`: the compiler cannot prove that for futures
        // in a lazy iterator.
        push_image(source, image, place, (copier, sink, options)).boxed()
    });
    let installing: Vec<_> = installing.collect();
    stream::iter(installing).buffered(concurrency).try_collect().await
}

async fn push_image(
    source: &Arc<dyn ImageSource>,
    image: &Image<'_>,
    place: &RegistryPrefix,
    (copier, sink, options): (&Copier<'_>, &dyn ImageSink, &CopyOptions),
) -> Result<Installed, Error> {
    let reference = image.destination(place)?;
    let from = (image.repository(), &image.root.into());
    let to = (reference.repository(), reference.tag());
    let copied = match image.only {
        None => copier.copy(source, from, to).await,
        Some(_) => Copier::new(sink, image.options(options)).copy(source, from, to).await,
    };
    let copied = copied.map_err(|error| error.in_image(&reference))?;
    options.progress.image_done();
    // An index with omitted platforms has another digest at the site.
    Ok(Installed { reference: reference.with_digest(copied.digest), copied })
}

/// Whether an image has to be pushed. Returns an error if the tag exists with another image.
async fn is_needed(
    source: &Arc<dyn ImageSource>,
    image: &Image<'_>,
    place: &RegistryPrefix,
    (sink, options): (&dyn ImageSink, &CopyOptions),
) -> Result<bool, Error> {
    let reference = image.destination(place)?;
    let to = (reference.repository(), reference.tag());
    let copier = Copier::new(sink, image.options(options));
    let needed = copier.is_needed(source, (image.repository(), &image.root.into()), to).await;
    needed.map_err(|error| error.in_image(&reference).into())
}

/// Returns an error if two images would get the same tag at the destination.
fn check_tag_collisions(images: &[Image<'_>], place: &RegistryPrefix) -> Result<(), Error> {
    let mut taken: HashMap<Reference, &Image<'_>> = HashMap::new();
    for image in images {
        let moved = image.destination(place)?;
        if moved.tag().is_none() {
            continue;
        }
        match taken.get(&moved) {
            Some(other) if other.root != image.root => {
                let advice = match place.project.is_empty() {
                    false => "install them without a project",
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
