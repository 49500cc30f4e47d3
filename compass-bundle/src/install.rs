//! Brings the images of a bundle to the site's registry.

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

/// Images that are on their way at once; how many blobs move is another bound.
const CONCURRENT_IMAGES: usize = 4;

/// An image that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its name at the site.
    pub reference: Reference,
    /// What was moved.
    pub copied: CopyReport,
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
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    let source: Arc<dyn ImageSource> = Arc::new(bundle.clone());
    let images = bundle.images().iter().map(Image::bundled);
    let images = images.collect::<Result<Vec<_>, _>>()?;
    check_tag_collisions(&images, place)?;
    push_all(&source, &images, sink, place, (options, CONCURRENT_IMAGES)).await
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

/// Pushes all images of a package of any making; see [`install`]. The package is read once, for
/// whatever blobs the registry lacks.
///
/// # Errors
/// As [`install`]; [`Error::Damaged`] if the package has a problem, before anything is pushed;
/// [`Error::NotABundle`] where there is no image.
pub async fn install_package(
    package: &ForeignPackage,
    sink: &dyn ImageSink,
    place: &RegistryPrefix,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    if package.images().is_empty() {
        // A problem may be the reason for the lack of images.
        if !package.is_archived_product() {
            package.require_whole()?;
        }
        return Err(Error::not_a_bundle(package.name(), package.no_image_reason()));
    }
    package.require_whole()?;
    push_foreign((package, package.images()), sink, place, options).await
}

/// Copies one image of a package of any making under its own name; see [`install_package`].
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

/// Brings images of a package, as many as are asked for.
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
    // Every layer that is missing yet is read up to from the beginning: several at once would be in
    // each other's way.
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

/// What a pass over a package has offset: the next one, which looks at everything again, shows as much
/// less.
struct OffsetProgress {
    progress: Arc<dyn Progress>,
    expected: AtomicU64,
    advanced: AtomicU64,
    /// What was offset before, and is not offset again.
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

/// So much of these bytes was not offset before.
fn not_yet_reported(before: &AtomicU64, bytes: u64) -> u64 {
    let seen = before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        Some(left.saturating_sub(bytes))
    });
    bytes.saturating_sub(seen.unwrap_or_default())
}

impl Progress for OffsetProgress {
    fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
        self.progress.expect(not_yet_reported(&self.before.0, bytes));
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

/// An image that is pushed.
struct Image<'i> {
    reference: &'i Reference,
    root: Digest,
    /// The images of an image index that are there, where not all are.
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

    /// Its name at a place, with a tag or a digest.
    fn destination(&self, place: &RegistryPrefix) -> Result<Reference, Error> {
        Ok(self.reference.rebase(place)?.with_default_tag())
    }

    fn options(&self, options: &CopyOptions) -> CopyOptions {
        CopyOptions { available: self.only.clone(), ..options.clone() }
    }
}

/// Where an image keeps its own name.
fn original_place(reference: &Reference) -> RegistryPlace {
    RegistryPlace { host: reference.host().to_owned(), project: String::new() }
}

async fn push_all(
    source: &Arc<dyn ImageSource>,
    images: &[Image<'_>],
    sink: &dyn ImageSink,
    place: &RegistryPlace,
    (options, concurrency): (&CopyOptions, usize),
) -> Result<Vec<Installed>, Error> {
    let copier = &Copier::new(sink, options.clone());
    let installing = images.iter().map(|image| {
        // Boxed, so that whoever waits can be spawned: the compiler cannot tell that of futures in
        // a lazy iterator.
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
    // Of an index of which not everything is there, something else arrives than a digest in the name
    // says.
    Ok(Installed { reference: reference.with_digest(copied.digest), copied })
}

/// Whether an image has to be pushed; an error if its tag names another one.
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

/// Two images under one tag would be one that is lost.
fn check_tag_collisions(images: &[Image<'_>], place: &RegistryPlace) -> Result<(), Error> {
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
                    true => {
                        "take them out (`compass extract --image`), and push each under its own name"
                    }
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
