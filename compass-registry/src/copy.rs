//! Copies images from any source to any sink.

mod blobs;
mod concurrency;
mod locations;
mod manifest_tree;
mod options;
mod report;
mod resolved;
mod selection;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, try_join};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    Descriptor, Destination, Digest, Error, ImageRef, ImageSink, ImageSource, ImageSourceExt as _,
    Platform, RawManifest, TagOrDigest,
};
use blobs::{BlobCopier, BlobOutcome, CopyPath};
use manifest_tree::{ManifestTree, MemoryBudget};
pub use options::{CopyOptions, OnExistingTag};
pub use report::CopyReport;
use resolved::{Resolved, Target};

/// The number of blobs of one image that are looked up at once.
/// [`CopyOptions::jobs`] limits the transfers.
const CONCURRENT_BLOBS: usize = 16;

/// The number of manifests of one image that are written at once.
const CONCURRENT_MANIFESTS: usize = 8;

/// Copies one image with all its blobs and manifests, with the default options.
/// See [`Copier::copy`].
///
/// # Errors
/// As [`Copier::copy`].
pub async fn copy(
    source: Arc<dyn ImageSource>,
    from: &ImageRef,
    sink: Arc<dyn ImageSink>,
    to: &Destination,
) -> Result<CopyReport, Error> {
    Copier::new(sink, CopyOptions::default()).copy(source, from, to).await
}

/// Copies images to one sink.
///
/// Images may be copied concurrently, up to [`CopyOptions::concurrent_images`]. The copier
/// remembers which repositories have which blobs: a blob that several images share is transferred
/// once, and mounted into the other repositories. Clones share this knowledge and the limit on
/// transfers.
#[derive(Clone)]
pub struct Copier {
    sink: Arc<dyn ImageSink>,
    options: CopyOptions,
    blobs: Arc<BlobCopier>,
    memory: MemoryBudget,
}

impl Copier {
    /// Creates a copier that writes to `sink`.
    pub fn new(sink: Arc<dyn ImageSink>, options: CopyOptions) -> Self {
        let progress = Arc::clone(&options.progress);
        let blobs = BlobCopier::new(Arc::clone(&sink), options.jobs, progress);
        Self { sink, options, blobs: Arc::new(blobs), memory: MemoryBudget::new() }
    }

    /// Creates a copier for indexes of which the source has only some manifests
    /// ([`CopyOptions::available`]). The new copier shares the limit on transfers and the known
    /// blobs with this one.
    #[must_use]
    pub fn with_available(&self, available: HashSet<Digest>) -> Self {
        let options = self.options.clone().available(Some(available));
        Self { options, ..self.clone() }
    }

    /// Copies an image with all its blobs and manifests.
    ///
    /// The tag is written last, so that it never names an incomplete image. If the tag names this
    /// image already, the copy sends one request to each end. Dropping the future stops the copy.
    /// Blobs that were written before an error or a stop remain, and the next copy finds them.
    ///
    /// # Errors
    /// The first error of either end; [`Error::TagExists`] if the tag names another image at the
    /// destination and [`CopyOptions::on_existing_tag`] is [`OnExistingTag::Error`];
    /// [`Error::TagMoved`] if the source's tag was moved during the copy.
    pub async fn copy(
        &self,
        source: Arc<dyn ImageSource>,
        from: &ImageRef,
        to: &Destination,
    ) -> Result<CopyReport, Error> {
        let path = CopyPath { source: &source, from, to };
        let resolved = Resolved::resolve(self, path).await?;
        let mut report = CopyReport::new(&resolved);
        if let Some(kept) = resolved.kept(self.options.on_existing_tag, to)? {
            return Ok(report.with_kept(kept));
        }
        let Resolved { source_digest, target, already_present, .. } = resolved;
        let missing_platforms = self.missing_platforms(path, target.single_image());
        let (repository, digest) = (&to.repository, target.digest());
        tracing::info!(%repository, %digest, already_present, "image");
        if already_present {
            report.missing_platforms = missing_platforms.await?;
            let layers = target.nondistributable_layers(path).await?;
            self.copy_nondistributable(path, &layers, &mut report).await?;
            return Ok(report);
        }
        let tree = self.read_tree(path, target).await?;
        self.options.progress.add_total(tree.blobs.iter().map(|blob| blob.size).sum());
        let copies = tree.blobs.iter().map(|blob| self.blobs.copy_blob(path, blob).boxed());
        let copies = buffered(CONCURRENT_BLOBS, copies.collect());
        let (outcomes, missing_platforms) = try_join(copies, missing_platforms).await?;
        report.missing_platforms = missing_platforms;
        for (blob, outcome) in tree.blobs.iter().zip(&outcomes) {
            report.count(blob, *outcome);
        }
        self.copy_nondistributable(path, &tree.nondistributable, &mut report).await?;
        check_tag_unchanged(path, source_digest).await?;
        self.publish(path, &tree, &outcomes).await?;
        Ok(report)
    }

    /// Whether [`Copier::copy`] would write an image.
    /// It would not write the image if the destination has it or keeps its own under the tag.
    ///
    /// # Errors
    /// [`Error::TagExists`] as [`Copier::copy`], and the first error of either end.
    pub async fn is_needed(
        &self,
        source: Arc<dyn ImageSource>,
        from: &ImageRef,
        to: &Destination,
    ) -> Result<bool, Error> {
        let resolved = Resolved::resolve(self, CopyPath { source: &source, from, to }).await?;
        let kept = resolved.kept(self.options.on_existing_tag, to)?;
        Ok(kept.is_none() && !resolved.already_present)
    }

    /// Predicts what [`Copier::copy`] would do.
    /// Writes nothing. A blob that is planned for one image counts as copied when the next image is
    /// planned.
    ///
    /// # Errors
    /// As [`Copier::copy`].
    pub async fn plan(
        &self,
        source: Arc<dyn ImageSource>,
        from: &ImageRef,
        to: &Destination,
    ) -> Result<CopyReport, Error> {
        let path = CopyPath { source: &source, from, to };
        let resolved = Resolved::resolve(self, path).await?;
        let mut report = CopyReport::new(&resolved);
        report.missing_platforms =
            self.missing_platforms(path, resolved.target.single_image()).await?;
        if let Some(kept) = resolved.kept(self.options.on_existing_tag, to)? {
            return Ok(report.with_kept(kept));
        }
        let (blobs, nondistributable) = if resolved.already_present {
            (Vec::new(), resolved.target.nondistributable_layers(path).await?)
        } else {
            let tree = self.read_tree(path, resolved.target).await?;
            (tree.blobs, tree.nondistributable)
        };
        let plans = blobs.iter().map(|blob| self.blobs.plan_blob(path, blob).boxed());
        let outcomes = buffered(CONCURRENT_BLOBS, plans.collect()).await?;
        for (blob, outcome) in blobs.iter().zip(outcomes) {
            report.count(blob, outcome);
        }
        for layer in &nondistributable {
            let outcome = self.blobs.plan_if_available(path, layer).await?;
            report.count_if_available(layer, outcome);
        }
        Ok(report)
    }

    /// Copies the non-distributable layers that the source or the destination has.
    async fn copy_nondistributable(
        &self,
        path: CopyPath<'_>,
        layers: &[Descriptor],
        report: &mut CopyReport,
    ) -> Result<(), Error> {
        for layer in layers {
            let outcome = self.blobs.copy_if_available(path, layer).await?;
            report.count_if_available(layer, outcome);
        }
        Ok(())
    }

    async fn read_tree(&self, path: CopyPath<'_>, target: Target) -> Result<ManifestTree, Error> {
        let (source, repository) = (path.source, &path.from.repository);
        let root = match target {
            Target::Manifest(root) => root,
            Target::Image(image) => {
                source.verified_manifest(repository, &TagOrDigest::Digest(image.digest)).await?
            }
        };
        ManifestTree::read(&**source, repository, root, &self.memory).await
    }

    /// Returns the requested platforms that a single image does not support. The image's
    /// configuration names the platform that it supports.
    async fn missing_platforms(
        &self,
        path: CopyPath<'_>,
        single_image: Option<RawManifest>,
    ) -> Result<Vec<Platform>, Error> {
        let platforms = &self.options.platforms;
        let Some(image) = single_image.filter(|_| !platforms.is_empty()) else {
            return Ok(Vec::new());
        };
        let own = path.source.platform_of(&path.from.repository, &image).await?;
        let is_missing =
            |platform: &&Platform| !own.as_ref().is_none_or(|own| own.satisfies(platform));
        Ok(platforms.iter().filter(is_missing).cloned().collect())
    }

    /// Writes the manifests of an image whose blobs the destination has.
    /// If the registry rejects them because it lacks a blob that it claimed to have or to have
    /// mounted, transfers those blobs and tries once more.
    async fn publish(
        &self,
        path: CopyPath<'_>,
        tree: &ManifestTree,
        outcomes: &[BlobOutcome],
    ) -> Result<(), Error> {
        let error = match self.put_manifests(tree, path.to).await {
            Err(error) if error.is_blob_unknown() => error,
            put => return put,
        };
        let blobs = tree.blobs.iter().zip(outcomes);
        let claimed = blobs.filter(|(_, outcome)| **outcome != BlobOutcome::Copied);
        let claimed: Vec<_> = claimed.map(|(blob, _)| blob).collect();
        if claimed.is_empty() {
            return Err(error);
        }
        self.blobs.force_copy(path, &claimed).await?;
        self.put_manifests(tree, path.to).await
    }

    /// Writes the manifests of an image.
    /// Each manifest is written after those that it refers to, and the root with the tag last.
    async fn put_manifests(&self, tree: &ManifestTree, to: &Destination) -> Result<(), Error> {
        for (depth, level) in tree.levels.iter().enumerate().rev() {
            let tag = to.tag.as_ref().filter(|_| depth == 0);
            let puts =
                level.iter().map(|manifest| self.sink.put_manifest(&to.repository, manifest, tag));
            buffered(CONCURRENT_MANIFESTS, puts.collect()).await?;
        }
        Ok(())
    }
}

/// Runs futures, at most `limit` at once.
/// Returns their results in order. The futures are boxed because the compiler cannot prove that
/// unboxed futures from an iterator are `Send`.
async fn buffered<T>(
    limit: usize,
    futures: Vec<BoxFuture<'_, Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    stream::iter(futures).buffered(limit).try_collect().await
}

/// Checks that the source's tag was not moved during the copy.
async fn check_tag_unchanged(path: CopyPath<'_>, expected: Digest) -> Result<(), Error> {
    let ImageRef { repository, reference } = path.from;
    if matches!(reference, TagOrDigest::Digest(_))
        || path.source.resolve(repository, reference).await? == expected
    {
        return Ok(());
    }
    // Registries may report a wrong digest.
    let actual = path.source.verified_manifest(repository, reference).await?.digest();
    if actual == expected {
        return Ok(());
    }
    let what = path.from.to_string();
    Err(Error::TagMoved { what, old: Box::new(expected), new: Box::new(actual) })
}
