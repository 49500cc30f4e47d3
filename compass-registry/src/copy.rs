//! The one operation that moves images.

mod blobs;
mod found;
mod selection;
mod tree;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, try_join};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    Descriptor, Digest, Error, ImageSink, ImageSource, ImageSourceExt as _, NoProgress, Platform,
    Progress, RawManifest, Repository, Tag, TagOrDigest,
};
use blobs::{Arrival, Blobs, Route};
use found::{Found, Wanted};
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
    pub available: Option<HashSet<Digest>>,
    /// How many blobs move at once; at least one.
    pub jobs: usize,
    /// What happens if the destination has another image under the tag.
    pub on_existing_tag: OnExistingTag,
    /// Hears how it goes on, in bytes of blobs.
    pub progress: Arc<dyn Progress>,
}

/// What happens to a tag that names another image at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnExistingTag {
    /// The copy fails with [`Error::TagExists`], before a blob is moved.
    #[default]
    Error,
    /// The tag stays, and the image is not copied.
    Keep,
    /// The tag names the new image.
    Move,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            available: None,
            jobs: 4,
            on_existing_tag: OnExistingTag::default(),
            progress: Arc::new(NoProgress),
        }
    }
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// The digest of the image manifest or index at the destination.
    pub digest: Digest,
    /// The destination had it already: nothing was looked at any further.
    pub already_present: bool,
    /// Whether that is an index of some of the source's images, and not what the source has.
    pub platform_subset: bool,
    /// The wanted platforms that a single image is not for. It is copied all the same.
    pub missing_platforms: Vec<Platform>,
    /// The non-distributable layers that neither the source nor the destination has: a host can run
    /// the image only if it can fetch them from their publisher.
    pub unavailable: Vec<Digest>,
    /// What the destination had under the tag before, where that was something else.
    pub replaced_digest: Option<Digest>,
    /// The image that was not copied, because the destination keeps the tag for another one
    /// ([`OnExistingTag::Keep`]).
    pub not_copied: Option<Digest>,
    /// Blobs that were moved.
    pub blobs: usize,
    /// Bytes of the blobs that were moved.
    pub bytes: u64,
    /// Bytes of the blobs that another repository of the destination had.
    pub mounted_bytes: u64,
    /// Bytes of the blobs that were there already, as far as that had to be looked up.
    pub present_bytes: u64,
}

impl CopyReport {
    fn count(&mut self, blob: &Descriptor, arrival: Arrival) {
        match arrival {
            Arrival::Present => self.present_bytes += blob.size,
            Arrival::Mounted => self.mounted_bytes += blob.size,
            Arrival::Moved => {
                self.blobs += 1;
                self.bytes += blob.size;
            }
        }
    }
}

/// What a copy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlan {
    /// The digest that the destination would have.
    pub digest: Digest,
    /// The destination has it already.
    pub already_present: bool,
    /// As [`CopyReport::missing_platforms`].
    pub missing_platforms: Vec<Platform>,
    /// As [`CopyReport::unavailable`].
    pub unavailable: Vec<Digest>,
    /// As [`CopyReport::replaced_digest`].
    pub replaced_digest: Option<Digest>,
    /// As [`CopyReport::not_copied`].
    pub not_copied: Option<Digest>,
    /// Blobs that would be moved.
    pub blobs: usize,
    /// Bytes of the blobs that would be moved.
    pub bytes: u64,
}

impl CopyPlan {
    fn count(&mut self, blob: &Descriptor, arrival: Arrival) {
        if arrival == Arrival::Moved {
            self.blobs += 1;
            self.bytes += blob.size;
        }
    }
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
    from: (&Repository, &TagOrDigest),
    sink: &dyn ImageSink,
    to: (&Repository, Option<&Tag>),
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    Copier::new(sink, options.clone()).copy(&source, from, to).await
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
    /// The first error of either end; [`Error::TagExists`] if the tag names another image at the
    /// destination ([`CopyOptions::on_existing_tag`]); [`Error::TagMoved`] where the source's tag was moved
    /// meanwhile. What has been written until then stays; a second try finds it.
    pub async fn copy(
        &self,
        source: &Arc<dyn ImageSource>,
        (from, locator): (&Repository, &TagOrDigest),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<CopyReport, Error> {
        let found = Found::find(self, &**source, (from, locator), (to, tag)).await?;
        let route = Route { source, from, to };
        let mut copied = CopyReport {
            digest: found.wanted.digest(),
            already_present: found.already_present,
            platform_subset: found.is_reduced(),
            missing_platforms: Vec::new(),
            unavailable: Vec::new(),
            replaced_digest: found.replaced_digest,
            not_copied: None,
            blobs: 0,
            bytes: 0,
            mounted_bytes: 0,
            present_bytes: 0,
        };
        if let Some(kept) = found.kept(self.options.on_existing_tag, (to, tag))? {
            let not_copied = Some(copied.digest);
            return Ok(CopyReport { digest: kept, replaced_digest: None, not_copied, ..copied });
        }
        if found.already_present {
            copied.missing_platforms = self.lacked(&**source, from, found.wanted.alone()).await?;
            let layers = found.wanted.nondistributable_layers(&**source, from).await?;
            self.bring_nondistributable(route, &layers, &mut copied).await?;
            return Ok(copied);
        }
        let alone = found.wanted.alone();
        let image = self.read(&**source, from, found.wanted).await?;
        self.options.progress.add_total(image.blobs.iter().map(|blob| blob.size).sum());

        let moves = image.blobs.iter().map(|blob| self.blobs.bring(route, blob).boxed());
        let arrivals = at_once(BLOBS_AT_ONCE, moves.collect());
        let lacked = self.lacked(&**source, from, alone);
        let (arrivals, lacks) = try_join(arrivals, lacked).await?;
        copied.missing_platforms = lacks;
        for (blob, arrival) in image.blobs.iter().zip(&arrivals) {
            copied.count(blob, *arrival);
        }
        self.bring_nondistributable(route, &image.nondistributable, &mut copied).await?;
        still_named(&**source, (from, locator), found.named).await?;
        match self.put_manifests(&image.levels, (to, tag)).await {
            Err(error) if error.is_blob_unknown() => {
                // The registry said that it has them, or that it took them over, and lacks one.
                let claimed = image.blobs.iter().zip(&arrivals);
                let claimed = claimed.filter(|(_, arrival)| **arrival != Arrival::Moved);
                let claimed: Vec<_> = claimed.map(|(blob, _)| blob).collect();
                if claimed.is_empty() {
                    return Err(error);
                }
                self.blobs.bring_again(route, &claimed).await?;
                self.put_manifests(&image.levels, (to, tag)).await?;
            }
            put => put?,
        }
        Ok(copied)
    }

    /// Whether [`Copier::copy`] would move an image: not if the destination has it, or keeps its tag.
    ///
    /// # Errors
    /// [`Error::TagExists`] as [`Copier::copy`], and errors of either end.
    pub async fn is_needed(
        &self,
        source: &Arc<dyn ImageSource>,
        (from, locator): (&Repository, &TagOrDigest),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<bool, Error> {
        let found = Found::find(self, &**source, (from, locator), (to, tag)).await?;
        let kept = found.kept(self.options.on_existing_tag, (to, tag))?;
        Ok(kept.is_none() && !found.already_present)
    }

    /// What [`Copier::copy`] would do. What is planned for one image counts as done for the next one
    /// that is planned.
    ///
    /// # Errors
    /// As [`Copier::copy`].
    pub async fn plan(
        &self,
        source: &Arc<dyn ImageSource>,
        (from, locator): (&Repository, &TagOrDigest),
        (to, tag): (&Repository, Option<&Tag>),
    ) -> Result<CopyPlan, Error> {
        let found = Found::find(self, &**source, (from, locator), (to, tag)).await?;
        let route = Route { source, from, to };
        let kept = found.kept(self.options.on_existing_tag, (to, tag))?;
        let mut plan = CopyPlan {
            digest: found.wanted.digest(),
            already_present: found.already_present,
            missing_platforms: self.lacked(&**source, from, found.wanted.alone()).await?,
            unavailable: Vec::new(),
            replaced_digest: found.replaced_digest,
            not_copied: None,
            blobs: 0,
            bytes: 0,
        };
        if let Some(kept) = kept {
            let not_copied = Some(plan.digest);
            return Ok(CopyPlan { digest: kept, replaced_digest: None, not_copied, ..plan });
        }
        let (blobs, nondistributable) = if found.already_present {
            (Vec::new(), found.wanted.nondistributable_layers(&**source, from).await?)
        } else {
            let image = self.read(&**source, from, found.wanted).await?;
            (image.blobs, image.nondistributable)
        };
        let looks = blobs.iter().map(|blob| self.blobs.foresee(route, blob).boxed());
        let arrivals = at_once(BLOBS_AT_ONCE, looks.collect()).await?;
        for (blob, arrival) in blobs.iter().zip(arrivals) {
            plan.count(blob, arrival);
        }
        for layer in &nondistributable {
            match self.blobs.foresee_if_held(route, layer).await? {
                Some(arrival) => plan.count(layer, arrival),
                None => plan.unavailable.push(layer.digest),
            }
        }
        Ok(plan)
    }

    /// Brings the layers that registries need not hold, as far as the source has them.
    async fn bring_nondistributable(
        &self,
        route: Route<'_>,
        layers: &[Descriptor],
        copied: &mut CopyReport,
    ) -> Result<(), Error> {
        for layer in layers {
            match self.blobs.bring_if_held(route, layer).await? {
                Some(arrival) => copied.count(layer, arrival),
                None => copied.unavailable.push(layer.digest),
            }
        }
        Ok(())
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
                source.verified_manifest(from, &TagOrDigest::Digest(image.digest)).await?
            }
        };
        Tree::read(source, from, root, &self.room).await
    }

    /// The wanted platforms that an image alone is not for, as far as its configuration says.
    async fn lacked(
        &self,
        source: &dyn ImageSource,
        from: &Repository,
        alone: Option<RawManifest>,
    ) -> Result<Vec<Platform>, Error> {
        let platforms = &self.options.platforms;
        let Some(image) = alone.filter(|_| !platforms.is_empty()) else { return Ok(Vec::new()) };
        let Some(own) = source.platform_of(from, &image).await? else { return Ok(Vec::new()) };
        Ok(platforms.iter().filter(|platform| !own.satisfies(platform)).cloned().collect())
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

/// A tag may have been moved while its image was copied.
async fn still_named(
    source: &dyn ImageSource,
    (from, locator): (&Repository, &TagOrDigest),
    was: Digest,
) -> Result<(), Error> {
    let TagOrDigest::Tag(tag) = locator else { return Ok(()) };
    if source.resolve(from, locator).await? == was {
        return Ok(());
    }
    // The registry may report a wrong digest.
    let is = source.verified_manifest(from, locator).await?.digest();
    if is == was {
        return Ok(());
    }
    Err(Error::TagMoved { what: format!("{from}:{tag}"), old: Box::new(was), new: Box::new(is) })
}
