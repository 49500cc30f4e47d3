//! Fetches blobs, and writes their bytes to all places in the file as they arrive.
//!
//! A blob is fetched in ranges. If its first connection is slow, or those of an earlier blob were, more
//! connections fetch other ranges. Nothing is verified here: [`super::hash`] follows.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use compass_registry::internal::{Throughput, ThroughputMeter, open_blob_range};
use compass_registry::{Error as RegistryError, ImageSource, Progress, RangeOptions};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::concurrency::AdaptiveConcurrency;
use super::frame::FramedChunk;
use super::output::{ChunkWrite, Output};
use super::writer_gone;
use crate::Error;
use crate::format::member::Member;
use crate::plan::{BundlePlan, PlannedBlob};

/// The content of a write in bytes. A killed run loses at most two of them for each connection.
const CHUNK: usize = 128 << 10;

/// The number of bytes that are framed at once.
const STEP: usize = 16 << 10;

/// The memory of a chunk in bytes. It includes the framing.
const CAPACITY: usize = CHUNK + STEP + 64;

/// The distance in bytes between the first missing byte of a blob and the ranges that are fetched.
/// A killed run fetches these ranges again. It is more than the ranges of all slow connections, so
/// that they continue while one lags.
const MAX_AHEAD: u64 = 384 << 20;

/// The stage that fetches blobs.
pub(super) struct FetchStage {
    pub(super) plan: Arc<BundlePlan>,
    pub(super) source: Arc<dyn ImageSource>,
    pub(super) output: Arc<Output>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) concurrency: AdaptiveConcurrency,
    /// Receives chunks to write.
    pub(super) writes: Sender<ChunkWrite>,
    /// The blobs in flight of which more bytes can be requested.
    pub(super) unrequested: Mutex<BTreeSet<usize>>,
    /// The number of bytes of the blobs in flight that are not requested yet.
    pub(super) unrequested_bytes: AtomicU64,
    /// The number of helpers that ended and that another blob may replace without a measurement.
    pub(super) released: AtomicUsize,
}

impl FetchStage {
    /// Fetches all blobs, and again those that are received from `refetch`. Returns after all are
    /// written and the sender is dropped.
    ///
    /// # Errors
    /// The first error of the source, with the names of the image and the blob, or of the disk.
    pub(super) async fn run(
        self: Arc<Self>,
        mut refetch: UnboundedReceiver<usize>,
    ) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        let mut blobs = self.output.prefixes().into_iter().enumerate().peekable();
        loop {
            while self.concurrency.may_start(tasks.len())
                && let Some((blob, prefix)) = blobs.next()
            {
                let fetch = BlobFetch::new(&self, blob, prefix);
                fetch.report(prefix);
                tasks.spawn(fetch.run());
            }
            tokio::select! {
                Some(done) = tasks.join_next() => self.joined(done)?,
                Some(blob) = refetch.recv() => {
                    tasks.spawn(BlobFetch::again(&self, blob).run());
                }
                () = self.concurrency.next_sample(), if blobs.peek().is_some() => {}
                else => {
                    debug_assert_eq!(self.unrequested_bytes.load(Ordering::Relaxed), 0);
                    return Ok(());
                }
            }
        }
    }

    fn unrequested(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.unrequested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn joined<T>(&self, done: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
        done.map_err(|_| self.writer_gone())?
    }

    fn writer_gone(&self) -> Error {
        writer_gone(self.plan.file_name().as_ref())
    }
}

/// Fetches one blob.
struct BlobFetch {
    stage: Arc<FetchStage>,
    number: usize,
    blob: PlannedBlob,
    /// The members that hold the blob.
    places: Vec<Member>,
    pending: Mutex<PendingBytes>,
    /// Notified when a helper has fetched a range.
    advanced: Notify,
    /// Whether the bytes were not counted as progress before.
    reports_progress: bool,
}

impl BlobFetch {
    /// Creates the fetch of a blob of which the file contains `prefix` bytes.
    fn new(stage: &Arc<FetchStage>, number: usize, prefix: u64) -> Arc<Self> {
        Arc::new(Self::starting_at(stage, number, prefix))
    }

    /// Creates the fetch of a blob whose bytes of an earlier run were wrong.
    fn again(stage: &Arc<FetchStage>, number: usize) -> Arc<Self> {
        Arc::new(Self { reports_progress: false, ..Self::starting_at(stage, number, 0) })
    }

    fn starting_at(stage: &Arc<FetchStage>, number: usize, prefix: u64) -> Self {
        let blob = stage.plan.blobs()[number].clone();
        let place = |member: &usize| stage.plan.members()[*member].place;
        let places = blob.places.iter().map(place).collect();
        let pending = PendingBytes { next: prefix, size: blob.descriptor.size };
        let (stage, pending, advanced) = (Arc::clone(stage), Mutex::new(pending), Notify::new());
        Self { stage, number, blob, places, pending, advanced, reports_progress: true }
    }

    /// Fetches ranges over one connection, and adds others that help.
    async fn run(self: Arc<Self>) -> Result<(), Error> {
        let unrequested = self.pending().len();
        self.stage.concurrency.started(unrequested);
        self.stage.unrequested_bytes.fetch_add(unrequested, Ordering::Relaxed);
        let mut meter = ThroughputMeter::for_blob(unrequested, self.range_options());
        let mut helpers = JoinSet::new();
        // Request an empty blob as well, to verify that the source has it.
        if self.blob.descriptor.size == 0 {
            return self.fetch_range(0..0, &mut meter, Some(&mut helpers)).await;
        }
        loop {
            if let Some(range) = self.next_range(&meter) {
                // The connection counts against the limit of the source, but is opened even if the
                // limit is reached.
                let _connection =
                    self.range_options().and_then(RangeOptions::try_acquire_connection);
                self.fetch_range(range, &mut meter, Some(&mut helpers)).await?;
                continue;
            }
            // All ranges are taken or too far ahead, until a helper has fetched one.
            tokio::select! {
                done = self.stage.concurrency.time_wait(helpers.join_next()) => match done {
                    Some(done) => self.stage.joined(done)?,
                    None => return Ok(()),
                },
                () = self.advanced.notified() => {}
            }
        }
    }

    /// Fetches ranges over one more connection, until no more are left.
    async fn help(self: Arc<Self>, _connection: OwnedSemaphorePermit) -> Result<(), Error> {
        let mut meter = ThroughputMeter::default();
        while let Some(range) = self.next_range(&meter) {
            self.fetch_range(range, &mut meter, None).await?;
            self.advanced.notify_one();
        }
        if meter.throughput() != Some(Throughput::SaturatesLink) {
            self.stage.released.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Adds connections while the source allows it: those that earlier blobs released, and all if this
    /// one is slow. Only the first blob gets them, because the file is hashed in order.
    fn add_helpers(
        self: &Arc<Self>,
        throughput: Option<Throughput>,
        helpers: &mut JoinSet<Result<(), Error>>,
    ) {
        if throughput == Some(Throughput::SaturatesLink) {
            return self.stage.released.store(0, Ordering::Relaxed);
        }
        let needs_more = throughput == Some(Throughput::NeedsParallelism);
        while (needs_more || self.stage.released.load(Ordering::Relaxed) > 0)
            && self.is_first()
            && self.pending().has_range(self.written())
            && let Some(connection) =
                self.range_options().and_then(RangeOptions::try_acquire_connection)
        {
            let one_less = |released: usize| released.checked_sub(1);
            self.stage.released.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok();
            helpers.spawn(Arc::clone(self).help(connection));
        }
    }

    /// Whether no earlier blob has more bytes to request. The lock ends with this function, because
    /// `next_range` takes it after the lock of the pending bytes.
    fn is_first(&self) -> bool {
        self.stage.unrequested().first() == Some(&self.number)
    }

    async fn fetch_range(
        self: &Arc<Self>,
        range: Range<u64>,
        meter: &mut ThroughputMeter,
        mut helpers: Option<&mut JoinSet<Result<(), Error>>>,
    ) -> Result<(), Error> {
        let PlannedBlob { descriptor, repository, .. } = &self.blob;
        let (source, concurrency) = (&self.stage.source, &self.stage.concurrency);
        let mut writer = ChunkWriter::new(Arc::clone(self), range.start);
        let mut bytes = open_blob_range(Arc::clone(source), repository, descriptor, range);
        meter.start_request();
        loop {
            let asked = Instant::now();
            let chunk = match &helpers {
                Some(_) => concurrency.time_wait(bytes.next()).await,
                None => bytes.next().await,
            };
            let Some(chunk) = chunk.transpose().map_err(|error| self.in_blob(error))? else {
                break;
            };
            let (length, waited) = (chunk.len() as u64, asked.elapsed());
            concurrency.add_received(length);
            self.report(length);
            writer.push(&chunk).await?;
            let Some(options) = self.range_options() else { continue };
            let throughput = meter.record(length, waited, options);
            if let Some(helpers) = &mut helpers {
                self.add_helpers(throughput, helpers);
                while let Some(done) = helpers.try_join_next() {
                    self.stage.joined(done)?;
                }
            }
        }
        writer.finish().await
    }

    /// Takes the next range to fetch; `None` if all are taken or too far ahead.
    fn next_range(&self, meter: &ThroughputMeter) -> Option<Range<u64>> {
        let unrequested_bytes = &self.stage.unrequested_bytes;
        let range_len = |remaining| match self.range_options() {
            // A connection that ends early fetches another blob in flight, so their bytes count.
            Some(options) => {
                meter.next_unbuffered_range_len(options, unrequested_bytes.load(Ordering::Relaxed))
            }
            None => remaining,
        };
        let mut pending = self.pending();
        let range = pending.take(self.written(), range_len);
        if let Some(range) = &range {
            unrequested_bytes.fetch_sub(range.end - range.start, Ordering::Relaxed);
        }
        match range.is_some() && pending.has_range(self.written()) {
            true => self.stage.unrequested().insert(self.number),
            false => self.stage.unrequested().remove(&self.number),
        };
        range
    }

    /// Number of bytes from the start of the blob that the file contains.
    fn written(&self) -> u64 {
        self.stage.output.prefix(self.number)
    }

    fn pending(&self) -> MutexGuard<'_, PendingBytes> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        self.stage.source.range_options()
    }

    /// Reports received bytes once for each place.
    fn report(&self, bytes: u64) {
        if self.reports_progress {
            self.stage.progress.advance(bytes * self.places.len() as u64);
        }
    }

    fn in_blob(&self, error: RegistryError) -> Error {
        error.in_blob(&self.blob.reference, self.blob.descriptor.digest).into()
    }
}

/// The bytes of a blob that are neither written nor requested: those from `next` on.
struct PendingBytes {
    next: u64,
    size: u64,
}

impl PendingBytes {
    fn len(&self) -> u64 {
        self.size - self.next
    }

    /// Whether a range can be requested. `written` is the first byte that is not written.
    fn has_range(&self, written: u64) -> bool {
        self.next < self.size.min(written.saturating_add(MAX_AHEAD))
    }

    /// Takes the next range, whose length is that which `range_len` returns for the pending bytes.
    fn take(&mut self, written: u64, range_len: impl FnOnce(u64) -> u64) -> Option<Range<u64>> {
        if !self.has_range(written) {
            return None;
        }
        let start = self.next;
        self.next += range_len(self.len()).clamp(1, self.len());
        Some(start..self.next)
    }
}

/// Frames the bytes of one connection in chunks, and writes a chunk while the next one arrives.
struct ChunkWriter {
    fetch: Arc<BlobFetch>,
    chunk: FramedChunk,
    /// The write in progress, which returns its chunk for reuse.
    write: Option<oneshot::Receiver<Result<FramedChunk, Error>>>,
}

impl ChunkWriter {
    fn new(fetch: Arc<BlobFetch>, position: u64) -> Self {
        let chunk = FramedChunk::new(&fetch.places, position, CAPACITY);
        Self { fetch, chunk, write: None }
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for step in bytes.chunks(STEP) {
            self.chunk.push(step);
            if self.chunk.len() >= CHUNK as u64 {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Starts to write the chunk, after the previous one is written.
    async fn flush(&mut self) -> Result<(), Error> {
        let position = self.chunk.content().end;
        let next = match self.written().await? {
            Some(mut written) => {
                written.restart_at(position);
                written
            }
            None => FramedChunk::new(&self.fetch.places, position, CAPACITY),
        };
        let chunk = std::mem::replace(&mut self.chunk, next);
        let (done, write) = oneshot::channel();
        let request = ChunkWrite { blob: self.fetch.number, chunk, done };
        self.fetch.stage.writes.send(request).await.map_err(|_| self.fetch.stage.writer_gone())?;
        self.write = Some(write);
        Ok(())
    }

    async fn written(&mut self) -> Result<Option<FramedChunk>, Error> {
        let Some(write) = self.write.take() else { return Ok(None) };
        write.await.map_err(|_| self.fetch.stage.writer_gone())?.map(Some)
    }

    /// Writes the rest, and waits until all bytes are written.
    async fn finish(mut self) -> Result<(), Error> {
        if self.chunk.len() > 0 {
            self.flush().await?;
        }
        self.written().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_bytes_are_taken_once() {
        let mut pending = PendingBytes { next: 3, size: 20 };
        assert_eq!(pending.take(3, |_| 0), Some(3..4), "a range is not empty");
        let ranges = std::iter::from_fn(|| pending.take(3, |_| 7));
        assert_eq!(ranges.collect::<Vec<_>>(), [4..11, 11..18, 18..20]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn pending_bytes_far_ahead_wait_for_writes() {
        let mut pending = PendingBytes { next: 0, size: u64::MAX };
        assert_eq!(pending.take(0, |_| MAX_AHEAD), Some(0..MAX_AHEAD));
        assert_eq!(pending.take(0, |_| 1), None);
        assert_eq!(pending.take(1, |_| 1), Some(MAX_AHEAD..MAX_AHEAD + 1));
    }
}
