//! What blobs are where, as far as one run has seen: each is moved once, whoever asks first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::progress::BlobProgress;
use crate::{
    Descriptor, Digest, Error, ImageSink, ImageSource, NoProgress, Progress, Repository, open_blob,
};

/// How a blob came to be where it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was there.
    Present,
    /// Another repository of the same place had it.
    Mounted,
    /// Its bytes were moved.
    Moved,
}

/// From where to where a blob is wanted.
#[derive(Clone, Copy)]
pub(super) struct Route<'r> {
    pub(super) source: &'r Arc<dyn ImageSource>,
    pub(super) from: &'r Repository,
    pub(super) to: &'r Repository,
}

pub(super) struct Blobs<'s> {
    sink: &'s dyn ImageSink,
    transfers: Semaphore,
    progress: Arc<dyn Progress>,
    /// The repositories of the sink that have a blob. The lock is held while it is moved.
    holders: Holders,
    /// Those that would have one by now if plans had been carried out.
    foreseen: Holders,
}

/// Repositories by what they hold.
type Holders = Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<Vec<Repository>>>>>;

impl<'s> Blobs<'s> {
    pub(super) fn new(sink: &'s dyn ImageSink, jobs: usize, progress: Arc<dyn Progress>) -> Self {
        let transfers = Semaphore::new(jobs.clamp(1, Semaphore::MAX_PERMITS));
        let (holders, foreseen) = (Mutex::default(), Mutex::default());
        Self { sink, transfers, progress, holders, foreseen }
    }

    /// Brings a blob to where it is wanted.
    pub(super) async fn bring(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
    ) -> Result<Arrival, Error> {
        let arrival = self.try_to_bring(route, descriptor).await;
        arrival.map_err(|error| error.in_blob(route.to, descriptor.digest))
    }

    async fn try_to_bring(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
    ) -> Result<Arrival, Error> {
        let holders = holders_of(&self.holders, descriptor.digest);
        let mut holders = holders.lock().await;
        let progress = BlobProgress::new(Arc::clone(&self.progress));
        let arrival = match self.look(route, descriptor, &holders).await? {
            Some(arrival) => arrival,
            None => {
                self.transfer(route, descriptor, &progress).await?;
                Arrival::Moved
            }
        };
        if !holders.contains(route.to) {
            holders.push(route.to.clone());
        }
        progress.reach(descriptor.size);
        Ok(arrival)
    }

    /// Brings a layer that registries need not hold, or nothing if neither end has it.
    pub(super) async fn bring_if_held(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
    ) -> Result<Option<Arrival>, Error> {
        let arrival = async {
            let holders = holders_of(&self.holders, descriptor.digest);
            let is_known = !holders.lock().await.is_empty();
            let is_held = is_known
                || self.sink.has_blob(route.to, descriptor).await?
                || route.source.holds_blob(route.from, descriptor).await?;
            if !is_held {
                return Ok(None);
            }
            self.progress.add_total(descriptor.size);
            self.try_to_bring(route, descriptor).await.map(Some)
        };
        arrival.await.map_err(|error: Error| error.in_blob(route.to, descriptor.digest))
    }

    /// Uploads blobs although the sink says that it has them.
    pub(super) async fn bring_again(
        &self,
        route: Route<'_>,
        blobs: &[&Descriptor],
    ) -> Result<(), Error> {
        for blob in blobs {
            let progress = BlobProgress::new(Arc::new(NoProgress));
            let moved = self.transfer(route, blob, &progress).await;
            moved.map_err(|error| error.in_blob(route.to, blob.digest))?;
        }
        Ok(())
    }

    /// How a layer that registries need not hold would come there.
    pub(super) async fn foresee_if_held(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
    ) -> Result<Option<Arrival>, Error> {
        match self.foresee(route, descriptor).await? {
            Arrival::Moved if !route.source.holds_blob(route.from, descriptor).await? => Ok(None),
            arrival => Ok(Some(arrival)),
        }
    }

    /// How a blob would come there, without changing anything.
    pub(super) async fn foresee(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
    ) -> Result<Arrival, Error> {
        let holders = holders_of(&self.holders, descriptor.digest);
        let holders = holders.lock().await;
        let foreseen = holders_of(&self.foreseen, descriptor.digest);
        let mut foreseen = foreseen.lock().await;
        if holders.contains(route.to) || foreseen.contains(route.to) {
            return Ok(Arrival::Present);
        }
        let is_alone = holders.is_empty() && foreseen.is_empty();
        let arrival = if self.sink.has_blob(route.to, descriptor).await? {
            Arrival::Present
        } else if is_alone && !self.is_one_registry(route) {
            Arrival::Moved
        } else {
            Arrival::Mounted
        };
        foreseen.push(route.to.clone());
        Ok(arrival)
    }

    fn is_one_registry(&self, route: Route<'_>) -> bool {
        let sink = self.sink.registry();
        sink.is_some() && sink == route.source.registry()
    }

    /// Whether a blob is there already, or can be had from next door.
    async fn look(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
        holders: &[Repository],
    ) -> Result<Option<Arrival>, Error> {
        if holders.contains(route.to) {
            return Ok(Some(Arrival::Present));
        }
        // Where another repository has it, it need not be asked for first: a mount does no harm.
        let next_door = self.is_one_registry(route).then_some(route.from);
        if holders.is_empty() && self.sink.has_blob(route.to, descriptor).await? {
            return Ok(Some(Arrival::Present));
        }
        let Some(neighbour) = holders.first().or(next_door) else { return Ok(None) };
        if self.sink.mount_blob(neighbour, route.to, descriptor).await? {
            return Ok(Some(Arrival::Mounted));
        }
        let there = !holders.is_empty() && self.sink.has_blob(route.to, descriptor).await?;
        Ok(there.then_some(Arrival::Present))
    }

    /// Moves a blob. Either end tries again by itself what may pass.
    async fn transfer(
        &self,
        route: Route<'_>,
        descriptor: &Descriptor,
        progress: &BlobProgress,
    ) -> Result<(), Error> {
        // The semaphore is never closed; without a permit there would only be more at once.
        let _permit = self.transfers.acquire().await.ok();
        let blob = open_blob(Arc::clone(route.source), route.from, descriptor);
        self.sink.put_blob(route.to, blob.reporting_to(progress.clone())).await
    }
}

fn holders_of(holders: &Holders, digest: Digest) -> Arc<tokio::sync::Mutex<Vec<Repository>>> {
    let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(holders.entry(digest).or_default())
}
