//! Copies single blobs.
//!
//! A blob is transferred to one repository of the sink, and mounted into the others.

use std::sync::Arc;

use super::concurrency::AdaptiveConcurrency;
use super::locations::Locations;
use crate::progress::BlobProgress;
use crate::{
    Descriptor, Destination, Error, ImageRef, ImageSink, ImageSource, NoProgress, Progress,
    Repository, open_blob,
};

/// How a repository of the sink got a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlobOutcome {
    /// The repository had the blob.
    Present,
    /// The sink mounted it from another of its repositories.
    Mounted,
    /// Its bytes were transferred.
    Copied,
}

/// The source of a copy, the image that it reads, and its destination.
#[derive(Clone, Copy)]
pub(super) struct CopyPath<'p> {
    pub(super) source: &'p Arc<dyn ImageSource>,
    pub(super) from: &'p ImageRef,
    pub(super) to: &'p Destination,
}

/// Copies the blobs of all images of a run.
pub(super) struct BlobCopier {
    sink: Arc<dyn ImageSink>,
    transfers: AdaptiveConcurrency,
    progress: Arc<dyn Progress>,
    locations: Locations,
    /// The locations that plans would add.
    planned: Locations,
}

impl BlobCopier {
    pub(super) fn new(sink: Arc<dyn ImageSink>, jobs: usize, progress: Arc<dyn Progress>) -> Self {
        let transfers = AdaptiveConcurrency::new(jobs);
        let (locations, planned) = Default::default();
        Self { sink, transfers, progress, locations, planned }
    }

    /// Copies a blob, unless the destination has it.
    pub(super) async fn copy_blob(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
    ) -> Result<BlobOutcome, Error> {
        let (first, next) =
            (self.copy_first(path, blob), |known| self.mount_or_transfer(path, blob, known));
        let outcome = self.locations.ensure(blob.digest, &path.to.repository, first, next).await;
        let outcome = outcome.map_err(|error| error.in_blob(&path.to.repository, blob.digest))?;
        let (digest, size) = (blob.digest, blob.size);
        tracing::debug!(repository = %path.to.repository, %digest, size, ?outcome, "blob");
        if outcome != BlobOutcome::Copied {
            self.progress.advance(blob.size);
        }
        Ok(outcome)
    }

    /// Copies a non-distributable layer. Returns `None` if neither end has it.
    pub(super) async fn copy_if_available(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
    ) -> Result<Option<BlobOutcome>, Error> {
        let available = async {
            Ok(self.locations.is_known(blob.digest)
                || self.sink.has_blob(&path.to.repository, blob).await?
                || path.source.holds_blob(&path.from.repository, blob).await?)
        };
        if !available
            .await
            .map_err(|error: Error| error.in_blob(&path.to.repository, blob.digest))?
        {
            return Ok(None);
        }
        self.progress.add_total(blob.size);
        self.copy_blob(path, blob).await.map(Some)
    }

    /// Transfers blobs even if the sink claims to have them.
    pub(super) async fn force_copy(
        &self,
        path: CopyPath<'_>,
        blobs: &[&Descriptor],
    ) -> Result<(), Error> {
        for blob in blobs {
            let copied = self.transfer(path, blob, Arc::new(NoProgress)).await;
            copied.map_err(|error| error.in_blob(&path.to.repository, blob.digest))?;
        }
        Ok(())
    }

    /// Predicts the outcome of [`Self::copy_blob`], without changing anything.
    pub(super) async fn plan_blob(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
    ) -> Result<BlobOutcome, Error> {
        if self.locations.contains(blob.digest, &path.to.repository) {
            return Ok(BlobOutcome::Present);
        }
        let is_mountable = self.locations.is_known(blob.digest) || self.is_same_registry(path);
        let first = if is_mountable { BlobOutcome::Mounted } else { BlobOutcome::Copied };
        let first = self.present_or(first, path, blob);
        let next = |_| self.present_or(BlobOutcome::Mounted, path, blob);
        self.planned.ensure(blob.digest, &path.to.repository, first, next).await
    }

    /// Predicts the outcome of [`Self::copy_if_available`].
    pub(super) async fn plan_if_available(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
    ) -> Result<Option<BlobOutcome>, Error> {
        match self.plan_blob(path, blob).await? {
            BlobOutcome::Copied if !path.source.holds_blob(&path.from.repository, blob).await? => {
                Ok(None)
            }
            outcome => Ok(Some(outcome)),
        }
    }

    async fn present_or(
        &self,
        outcome: BlobOutcome,
        path: CopyPath<'_>,
        blob: &Descriptor,
    ) -> Result<BlobOutcome, Error> {
        let is_present = self.sink.has_blob(&path.to.repository, blob).await?;
        Ok(if is_present { BlobOutcome::Present } else { outcome })
    }

    fn is_same_registry(&self, path: CopyPath<'_>) -> bool {
        let sink = self.sink.registry();
        sink.is_some() && sink == path.source.registry()
    }

    /// Copies a blob that no repository of the sink is known to have.
    async fn copy_first(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
    ) -> Result<BlobOutcome, Error> {
        if self.sink.has_blob(&path.to.repository, blob).await? {
            return Ok(BlobOutcome::Present);
        }
        if self.is_same_registry(path)
            && self.sink.mount_blob(&path.from.repository, &path.to.repository, blob).await?
        {
            return Ok(BlobOutcome::Mounted);
        }
        self.transfer(path, blob, Arc::clone(&self.progress)).await
    }

    /// Copies a blob that another repository of the sink has.
    /// Mounting costs the same request as asking whether the blob is present, so mounting is tried
    /// first.
    async fn mount_or_transfer(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
        mount_source: Repository,
    ) -> Result<BlobOutcome, Error> {
        if self.sink.mount_blob(&mount_source, &path.to.repository, blob).await? {
            return Ok(BlobOutcome::Mounted);
        }
        if self.sink.has_blob(&path.to.repository, blob).await? {
            return Ok(BlobOutcome::Present);
        }
        self.transfer(path, blob, Arc::clone(&self.progress)).await
    }

    /// Transfers the bytes of a blob.
    /// The source and the sink retry transient failures themselves.
    async fn transfer(
        &self,
        path: CopyPath<'_>,
        blob: &Descriptor,
        progress: Arc<dyn Progress>,
    ) -> Result<BlobOutcome, Error> {
        let permit = self.transfers.acquire(blob.size).await;
        let progress = BlobProgress::new(progress);
        let content = open_blob(Arc::clone(path.source), &path.from.repository, blob);
        self.sink.put_blob(&path.to.repository, content.with_progress(progress.clone())).await?;
        permit.finished();
        // A sink that has the blob may not read it, so report the whole size.
        progress.reach(blob.size);
        Ok(BlobOutcome::Copied)
    }
}
