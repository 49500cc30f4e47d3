//! The one operation that moves images.

mod blobs;
mod selection;
mod tree;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, try_join};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    Descriptor, Digest, Error, ImageSink, ImageSource, ImageSourceExt as _, Locator, NoProgress,
    Platform, Progress, RawManifest, Repository, Tag,
};
use blobs::{Arrival, Blobs, Route};
use selection::{Selection, select};
use tree::{Room, Tree};

/// Blobs of one image that are looked for at once. How many move at once is another bound.
const BLOBS_AT_ONCE: usize = 16;

/// Manifests of one image that are written at once.
const MANIFESTS_AT_ONCE: usize = 8;

/// How to copy.
#[derive(Clone)]
pub struct CopyOptions {
    /// Of an index, copies the image for one platform, or an index of the images for several;
    /// where none is named, everything, whole indexes included.
    pub platforms: Vec<Platform>,
    /// Of an index, knows the images with these digests only: the source has no others.
    pub only: Option<HashSet<Digest>>,
    /// How many blobs move at once; at least one.
    pub jobs: usize,
    /// Hears how it goes on, in bytes of blobs.
    pub progress: Arc<dyn Progress>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { platforms: Vec::new(), only: None, jobs: 4, progress: Arc::new(NoProgress) }
    }
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the image manifest or index at the destination.
    pub digest: Digest,
    /// The destination had it already: nothing was looked at any further.
    pub was_there: bool,
    /// Whether that is an index of some of the source's images, and not what the source has.
    pub reduced: bool,
    /// The wanted platforms that it is not for, of an image that is no index and was not there: it
    /// is copied all the same.
    pub lacks: Vec<Platform>,
    /// What the destination had under the tag before, where that was something else.
    pub replaced: Option<Digest>,
    /// Blobs that were moved.
    pub blobs: usize,
    /// Bytes of the blobs that were moved.
    pub bytes: u64,
    /// Bytes of the blobs that another repository of the destination had.
    pub mounted: u64,
    /// Bytes of the blobs that were there already, as far as that had to be looked up.
    pub present: u64,
}

/// What a copy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlan {
    /// The digest that the destination would have.
    pub digest: Digest,
    /// The destination has it already.
    pub was_there: bool,
    /// As [`Copied::lacks`].
    pub lacks: Vec<Platform>,
    /// As [`Copied::replaced`].
    pub replaced: Option<Digest>,
    /// Blobs that would be moved.
    pub blobs: usize,
    /// Bytes of the blobs that would be moved.
    pub bytes: u64,
}

/// Copies images to one place, several at once if wanted. What it learns about blobs it keeps: one
/// that several images share is moved once.
pub struct Copier<'s> {
    sink: &'s dyn ImageSink,
    options: CopyOptions,
    blobs: Blobs<'s>,
    room: Room,
}

/// Copies an image with everything it consists of: [`Copier::copy`] for a single image.
///
/// # Errors
/// As [`Copier::copy`].
pub async fn copy(
    source: Arc<dyn ImageSource>,
    from: (&Repository, &Locator),
    sink: &dyn ImageSink,
    to: (&Repository, Option<&Tag>),
    options: &CopyOptions,
) -> Result<Copied, Error> {
    Copier::new(sink, options.clone()).copy(&source, from, to).await
}

/// An image at its source, and what is at the destination.
struct Found {
    /// What the source's tag or digest names.
    named: Digest,
    wanted: Wanted,
    /// The destination has it.
    was_there: bool,
    /// The destination has something else under the tag.
    replaced: Option<Digest>,
}

enum Wanted {
    Known(RawManifest),
    /// Not read yet: there may be no need.
    Image(Descriptor),
}

impl Wanted {
    /// The manifest that the source names, where nobody chose it for a platform.
    fn alone(&self) -> Option<RawManifest> {
        match self {
            Self::Known(manifest) if !manifest.is_index() => Some(manifest.clone()),
            _ => None,
        }
    }

    fn digest(&self) -> Digest {
        match self {
            Self::Known(manifest) => manifest.digest(),
            Self::Image(descriptor) => descriptor.digest,
        }
    }
}

impl<'s> Copier<'s> {
    /// A copier to this place.
    pub fn new(sink: &'s dyn ImageSink, options: CopyOptions) -> Self {
        let blobs = Blobs::new(sink, options.jobs, Arc::clone(&options.progress));
        Self { sink, options, blobs, room: Room::new() }
    }

    /// Copies an image with everything it consists of. The tag is moved last: at no moment does it
    /// point at something incomplete. Where it points at this image already, nothing is moved, and
    /// that costs one request at either end.
    ///
    /// # Errors
    /// The first error of either end; [`Error::TagMoved`] where the source's tag was moved
    /// meanwhile. What has been written until then stays; a second try finds it.
    pub async fn copy(
        &self,
        source: &Arc<dyn ImageSource>,
        (from, locator): (&Repository, &Locator),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<Copied, Error> {
        let found = self.find(&**source, (from, locator), (to, tag)).await?;
        let mut copied = Copied {
            digest: found.wanted.digest(),
            was_there: found.was_there,
            reduced: found.is_reduced(),
            lacks: Vec::new(),
            replaced: found.replaced,
            blobs: 0,
            bytes: 0,
            mounted: 0,
            present: 0,
        };
        if found.was_there {
            return Ok(copied);
        }
        let alone = found.wanted.alone();
        let image = self.read(&**source, from, found.wanted).await?;
        self.options.progress.expect(image.blobs.iter().map(|blob| blob.size).sum());

        let route = Route { source, from, to };
        let moves = image.blobs.iter().map(|blob| self.blobs.bring(route, blob).boxed());
        let arrivals = at_once(BLOBS_AT_ONCE, moves.collect());
        let lacked = self.lacked(&**source, from, alone);
        let (arrivals, lacks) = try_join(arrivals, lacked.map(Ok)).await?;
        copied.lacks = lacks;
        for (blob, arrival) in image.blobs.iter().zip(arrivals) {
            match arrival {
                Arrival::Present => copied.present += blob.size,
                Arrival::Mounted => copied.mounted += blob.size,
                Arrival::Moved => {
                    copied.blobs += 1;
                    copied.bytes += blob.size;
                }
            }
        }
        still_named(&**source, (from, locator), found.named).await?;
        self.put_manifests(&image.levels, (to, tag)).await?;
        Ok(copied)
    }

    /// What [`Copier::copy`] would do. What is planned for one image counts as done for the next one
    /// that is planned.
    ///
    /// # Errors
    /// As [`Copier::copy`].
    pub async fn plan(
        &self,
        source: &Arc<dyn ImageSource>,
        (from, locator): (&Repository, &Locator),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<CopyPlan, Error> {
        let found = self.find(&**source, (from, locator), (to, tag)).await?;
        let (digest, was_there, replaced) =
            (found.wanted.digest(), found.was_there, found.replaced);
        let lacks = Vec::new();
        let mut plan = CopyPlan { digest, was_there, lacks, replaced, blobs: 0, bytes: 0 };
        if !was_there {
            plan.lacks = self.lacked(&**source, from, found.wanted.alone()).await;
            let image = self.read(&**source, from, found.wanted).await?;
            let route = Route { source, from, to };
            let looks = image.blobs.iter().map(|blob| self.blobs.foresee(route, blob).boxed());
            let arrivals = at_once(BLOBS_AT_ONCE, looks.collect()).await?;
            let moved = image.blobs.iter().zip(arrivals);
            for (blob, _) in moved.filter(|(_, arrival)| *arrival == Arrival::Moved) {
                plan.blobs += 1;
                plan.bytes += blob.size;
            }
        }
        Ok(plan)
    }

    async fn find(
        &self,
        source: &dyn ImageSource,
        (from, locator): (&Repository, &Locator),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<Found, Error> {
        let tag = tag.map(|tag| Locator::Tag(tag.clone()));
        let tagged = async {
            match &tag {
                Some(tag) => self.sink.manifest_digest(to, tag).await,
                None => Ok(None),
            }
        };
        let (root, tagged) = try_join(source.verified_manifest(from, locator), tagged).await?;
        let named = root.digest();
        let what = format!("{from}:{locator}");
        let (platforms, only) = (&self.options.platforms, self.options.only.as_ref());
        let wanted = match select(&what, &root, platforms, only)? {
            Selection::Whole => Wanted::Known(root),
            Selection::Some(reduced) => Wanted::Known(reduced),
            Selection::One(image) => Wanted::Image(image),
        };
        let there = match &tag {
            Some(_) => tagged,
            None => self.sink.manifest_digest(to, &Locator::Digest(wanted.digest())).await?,
        };
        let was_there = there == Some(wanted.digest());
        let replaced = tagged.filter(|tagged| *tagged != wanted.digest());
        Ok(Found { named, wanted, was_there, replaced })
    }

    async fn read(
        &self,
        source: &dyn ImageSource,
        from: &Repository,
        wanted: Wanted,
    ) -> Result<Tree, Error> {
        let root = match wanted {
            Wanted::Known(root) => root,
            Wanted::Image(image) => {
                source.verified_manifest(from, &Locator::Digest(image.digest)).await?
            }
        };
        Tree::read(source, from, root, &self.room).await
    }

    /// The wanted platforms that an image alone is not for, as far as its configuration says. What
    /// cannot be read of it is a matter of copying it.
    async fn lacked(
        &self,
        source: &dyn ImageSource,
        from: &Repository,
        alone: Option<RawManifest>,
    ) -> Vec<Platform> {
        let platforms = &self.options.platforms;
        let Some(image) = alone else { return Vec::new() };
        if platforms.is_empty() {
            return Vec::new();
        }
        let own = source.platform_of(from, &image).await.ok().flatten();
        let lacks = |own: Platform| {
            platforms.iter().filter(|platform| !own.serves(platform)).cloned().collect()
        };
        own.map_or_else(Vec::new, lacks)
    }

    /// Writes manifests, those that others refer to first, and the root with the tag last.
    async fn put_manifests(
        &self,
        levels: &[Vec<RawManifest>],
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<(), Error> {
        for (depth, level) in levels.iter().enumerate().rev() {
            let tag = tag.filter(|_| depth == 0);
            let puts = level.iter().map(|manifest| self.sink.put_manifest(to, manifest, tag));
            at_once(MANIFESTS_AT_ONCE, puts.collect()).await?;
        }
        Ok(())
    }
}

/// Waits for all, so many at once. They are boxed, so that whoever waits can be spawned: the
/// compiler cannot tell that of futures in a lazy iterator.
async fn at_once<T>(
    limit: usize,
    futures: Vec<BoxFuture<'_, Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    stream::iter(futures).buffered(limit).try_collect().await
}

impl Found {
    fn is_reduced(&self) -> bool {
        matches!(&self.wanted, Wanted::Known(manifest) if manifest.digest() != self.named)
    }
}

/// A tag may have been moved while its image was copied.
async fn still_named(
    source: &dyn ImageSource,
    (from, locator): (&Repository, &Locator),
    was: Digest,
) -> Result<(), Error> {
    let Locator::Tag(tag) = locator else { return Ok(()) };
    let is = source.resolve(from, locator).await?;
    if is == was {
        return Ok(());
    }
    Err(Error::TagMoved { what: format!("{from}:{tag}"), was: Box::new(was), is: Box::new(is) })
}
