//! Fetches one blob and writes it to all its places in the file.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Instant;

use compass_registry::range_fetch::{RangeOptions, Throughput, ThroughputMeter};
use compass_registry::{Error as RegistryError, Hasher, ImageSource, Progress, open_blob_range};
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::checkpoint::Checkpoint;
use super::concurrency::AdaptiveConcurrency;
use super::inline_hasher::InlineBlobHasher;
use super::io_pool::BufferPool;
use super::placements::{Chunk, Placements};
use super::prefetch::Prefetcher;
use super::writer::Command;
use crate::Error;
use crate::format::member::Member;
use crate::plan::{BundlePlan, PlannedBlob};

/// The size of a write in bytes. A killed run loses at most this many bytes of each blob, and the
/// queue of the writer.
const CHUNK: usize = 512 << 10;

/// The size of a write of prefetched bytes: many parts are in memory at once.
const PREFETCH_CHUNK: usize = 64 << 10;

/// Number of bytes that are hashed and then framed at once, so that they stay in the CPU cache.
const STEP: usize = 64 << 10;

/// State that the tasks of all blobs share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) source: Arc<dyn ImageSource>,
    pub(super) file: Arc<File>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) pool: BufferPool,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) concurrency: Arc<AdaptiveConcurrency>,
}

/// The download of one blob.
pub(super) struct BlobTask {
    number: usize,
    blob: PlannedBlob,
    shared: Shared,
    /// The members that hold the blob.
    places: Vec<Member>,
    /// Number of bytes that an earlier run wrote.
    checkpoint: u64,
    /// The size that the task reports to [`AdaptiveConcurrency`].
    accounted: u64,
    /// Whether the blob is expected to arrive in the order of the file.
    in_file_order: bool,
}

/// The state of one attempt.
struct Attempt {
    placements: Placements,
    /// `None` while the writer hashes the blob.
    hasher: Option<Hasher>,
    /// Whether written bytes are final. In a resumed blob they are not until its digest is
    /// compared.
    is_final: bool,
}

/// Fetches and writes a blob.
///
/// # Errors
/// The error of the source, with the names of the image and the blob, or of the disk.
pub(super) async fn write(task: BlobTask) -> Result<(), Error> {
    let (task, mut reported) = (Arc::new(task), 0);
    let written = match task.attempt(task.checkpoint, &mut reported).await {
        // Bytes of an earlier run did not reach the disk, or changed on it.
        Err(RegistryError::DigestMismatch { .. }) if task.checkpoint > 0 => {
            match task.barrier().await {
                Ok(()) => task.attempt(0, &mut reported).await,
                Err(error) => Err(error),
            }
        }
        written => written,
    };
    if let Err(RegistryError::DigestMismatch { .. } | RegistryError::SizeMismatch { .. }) = written
    {
        // A later run must not resume from wrong bytes.
        let nothing = Checkpoint { blob: task.number, written: 0 };
        let _ = task.send(Command::Checkpoint(nothing)).await;
    }
    task.concurrency().finished(task.accounted);
    written.map_err(|error| error.in_blob(&task.blob.reference, task.blob.descriptor.digest).into())
}

impl BlobTask {
    /// A task for a blob of which an earlier run wrote `checkpoint` bytes.
    pub(super) fn new(plan: &BundlePlan, number: usize, checkpoint: u64, shared: Shared) -> Self {
        let blob = plan.blobs()[number].clone();
        let places = blob.places.iter().map(|place| plan.members()[*place].place).collect();
        // A resumed blob is read from the disk first, so it does not measure the source.
        let accounted = if checkpoint > 0 { 0 } else { blob.descriptor.size };
        let in_file_order = shared.concurrency.started(accounted);
        Self { number, blob, shared, places, checkpoint, accounted, in_file_order }
    }

    pub(super) fn source(&self) -> &Arc<dyn ImageSource> {
        &self.shared.source
    }

    pub(super) fn concurrency(&self) -> &AdaptiveConcurrency {
        &self.shared.concurrency
    }

    pub(super) fn size(&self) -> u64 {
        self.blob.descriptor.size
    }

    async fn attempt(
        self: &Arc<Self>,
        checkpoint: u64,
        reported: &mut u64,
    ) -> Result<(), RegistryError> {
        let mut attempt = self.begin(checkpoint).await?;
        self.report(attempt.placements.received(), reported);
        let (mut pace, mut prefetcher) = (ThroughputMeter::default(), Prefetcher::new(self));
        // Request an empty blob as well, to verify that the source has it.
        if self.size() == 0 {
            self.stream(&mut attempt, &mut pace, &mut prefetcher, reported).await?;
        }
        while attempt.placements.received() < self.size() {
            match prefetcher.first_start() {
                Some(start) if start == attempt.placements.received() => {
                    attempt = self.consume_prefetched(attempt, &mut prefetcher).await?;
                    self.report(attempt.placements.received(), reported);
                }
                _ => self.stream(&mut attempt, &mut pace, &mut prefetcher, reported).await?,
            }
        }
        self.finish(attempt, reported).await
    }

    /// Starts an attempt after the bytes that an earlier run wrote, or at the first byte.
    async fn begin(&self, checkpoint: u64) -> Result<Attempt, RegistryError> {
        let algorithm = self.blob.descriptor.digest.algorithm();
        let hasher = Hasher::new(algorithm);
        let placements = Placements::new(&self.places, (CHUNK, &self.shared.pool));
        if checkpoint > 0 {
            let attempt = Attempt { placements, hasher: Some(hasher), is_final: false };
            return self.rehash_existing(attempt, checkpoint).await;
        }
        let hasher = match self.places.first() {
            Some(place) if self.in_file_order && Hasher::is_pair_faster(algorithm) => {
                let inline = InlineBlobHasher::new(self.number, *place, hasher);
                self.send(Command::HashInline(inline)).await?;
                None
            }
            _ => Some(hasher),
        };
        Ok(Attempt { placements, hasher, is_final: true })
    }

    async fn finish(&self, mut attempt: Attempt, reported: &mut u64) -> Result<(), RegistryError> {
        self.report(attempt.placements.received(), reported);
        let written = Checkpoint { blob: self.number, written: self.size() };
        let (is_final, mut hasher) = (attempt.is_final, attempt.hasher.take());
        self.write_chunks(attempt.placements.finish(), is_final, None).await?;
        let hasher = self.take_hasher(&mut hasher).await?;
        let (expected, actual) = (self.blob.descriptor.digest, hasher.finish());
        if actual != expected {
            let (expected, actual) = (Box::new(expected), Box::new(actual));
            return Err(RegistryError::DigestMismatch { what: self.name(), expected, actual });
        }
        self.send(Command::Checkpoint(written)).await?;
        if !is_final {
            for place in &self.places {
                self.send(Command::Committed(place.file_range())).await?;
            }
        }
        Ok(())
    }

    /// Hashes bytes of the blob that are in the file already, up to this byte of the blob. Stops at
    /// the first byte that is missing or differs between the members.
    async fn rehash_existing(
        &self,
        mut attempt: Attempt,
        end: u64,
    ) -> Result<Attempt, RegistryError> {
        let mut hasher = self.take_hasher(&mut attempt.hasher).await?;
        let (file, places) = (Arc::clone(&self.shared.file), self.places.clone());
        let rehashed = spawn_blocking(move || {
            while attempt.placements.received() < end {
                let position = attempt.placements.received();
                let next = end.min(position + STEP as u64);
                let Some(bytes) = read_all_placements(&file, &places, position..next) else {
                    break;
                };
                hasher.update(&bytes);
                attempt.placements.skip(&bytes);
            }
            attempt.hasher = Some(hasher);
            attempt
        });
        rehashed.await.map_err(|error| self.failed(Box::new(error)))
    }

    /// Hashes a part that was prefetched to the file.
    async fn consume_prefetched(
        &self,
        mut attempt: Attempt,
        prefetcher: &mut Prefetcher,
    ) -> Result<Attempt, RegistryError> {
        let completed = self.concurrency().time_wait(prefetcher.next_completed()).await?;
        let Some(end) = completed else { return Ok(attempt) };
        prefetcher.refill();
        attempt.placements.seal();
        self.flush(&mut attempt).await?;
        let before: Vec<_> = attempt.placements.offsets().collect();
        attempt = self.rehash_existing(attempt, end).await?;
        if attempt.is_final {
            for (start, end) in before.into_iter().zip(attempt.placements.offsets()) {
                self.send(Command::Committed(start..end)).await?;
            }
        }
        let written = attempt.placements.received();
        self.send(Command::Checkpoint(Checkpoint { blob: self.number, written })).await?;
        Ok(attempt)
    }

    /// Consumes the bytes of one connection, up to the next prefetched part.
    async fn stream(
        &self,
        attempt: &mut Attempt,
        pace: &mut ThroughputMeter,
        prefetcher: &mut Prefetcher,
        reported: &mut u64,
    ) -> Result<(), RegistryError> {
        let (from, parts) = (attempt.placements.received(), self.source().range_options());
        let stretch = parts.map_or(u64::MAX, |parts| pace.next_range_len(parts));
        let end = from.saturating_add(stretch).min(prefetcher.first_start().unwrap_or(self.size()));
        // The connection counts against the limit of the source, but is opened even if the limit is
        // reached.
        let _connection = parts.and_then(RangeOptions::try_acquire_connection);
        let mut bytes = self.open(from..end);
        pace.start_request();
        loop {
            let asked = Instant::now();
            let chunk = self.concurrency().time_wait(bytes.next()).await.transpose()?;
            let Some(chunk) = chunk else { return Ok(()) };
            let waited = asked.elapsed();
            self.concurrency().add_received(chunk.len() as u64);
            self.check_size(attempt.placements.received() + chunk.len() as u64)?;
            for step in chunk.chunks(STEP) {
                if let Some(hasher) = &mut attempt.hasher {
                    hasher.update(step);
                }
                attempt.placements.append(step);
            }
            if self.flush(attempt).await? {
                self.report(attempt.placements.received(), reported);
            }
            if let Some(parts) = parts
                && pace.record(chunk.len() as u64, waited, parts)
                    == Some(Throughput::NeedsParallelism)
            {
                prefetcher.start_at(end);
            }
        }
    }

    /// Fetches a part to its places. On success the bytes are in the file.
    pub(super) async fn fetch_part(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> Result<(), RegistryError> {
        let pool = BufferPool::default();
        let mut placements = Placements::at(&self.places, range.start, (PREFETCH_CHUNK, &pool));
        let (mut bytes, parts) = (self.open(range), self.source().range_options());
        while let Some(chunk) = bytes.next().await.transpose()? {
            self.concurrency().add_received(chunk.len() as u64);
            if let Some(parts) = parts {
                parts.add_received(chunk.len() as u64);
            }
            self.check_size(placements.received() + chunk.len() as u64)?;
            placements.append(&chunk);
            self.write_chunks(placements.drain(), false, None).await?;
        }
        placements.seal();
        self.write_chunks(placements.drain(), false, None).await?;
        self.barrier().await
    }

    /// Takes the hasher of the blob from the attempt or from the writer.
    async fn take_hasher(&self, hasher: &mut Option<Hasher>) -> Result<Hasher, RegistryError> {
        if let Some(hasher) = hasher.take() {
            return Ok(hasher);
        }
        let (reply, taken) = oneshot::channel();
        self.send(Command::TakeHasher(self.number, reply)).await?;
        let hasher = taken.await.map_err(|error| self.failed(Box::new(error)))?;
        hasher.ok_or_else(|| self.failed("the writing thread does not hash the blob".into()))
    }

    /// Waits until all earlier writes are complete.
    async fn barrier(&self) -> Result<(), RegistryError> {
        let (reply, completed) = oneshot::channel();
        self.send(Command::Barrier(reply)).await?;
        completed.await.map_err(|error| self.failed(Box::new(error)))
    }

    fn open(&self, range: Range<u64>) -> compass_registry::ByteStream {
        let PlannedBlob { descriptor, repository, .. } = &self.blob;
        open_blob_range(Arc::clone(self.source()), repository, descriptor, range)
    }

    /// Sends complete chunks to the writer and returns whether there were any.
    async fn flush(&self, attempt: &mut Attempt) -> Result<bool, RegistryError> {
        let chunks = attempt.placements.drain();
        let written = attempt.placements.flushed();
        let any = !chunks.is_empty();
        let checkpoint = Checkpoint { blob: self.number, written };
        self.write_chunks(chunks, attempt.is_final, Some(checkpoint)).await?;
        Ok(any)
    }

    /// Sends chunks to the writer, the checkpoint with the last one.
    async fn write_chunks(
        &self,
        mut chunks: VecDeque<Chunk>,
        is_final: bool,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), RegistryError> {
        while let Some((offset, bytes)) = chunks.pop_front() {
            let checkpoint = checkpoint.filter(|_| chunks.is_empty());
            self.send(Command::Write { offset, bytes, is_final, checkpoint }).await?;
        }
        Ok(())
    }

    async fn send(&self, command: Command) -> Result<(), RegistryError> {
        let sent = self.shared.commands.send(command).await;
        sent.map_err(|_| self.failed("the writing thread stopped".into()))
    }

    /// Reports received bytes once for each place. Bytes that a failed attempt reported are not
    /// reported again.
    fn report(&self, received: u64, reported: &mut u64) {
        if received > *reported {
            self.shared.progress.advance((received - *reported) * self.places.len() as u64);
            *reported = received;
        }
    }

    /// Fails if more bytes arrive than the blob has: they would overwrite other members.
    fn check_size(&self, received: u64) -> Result<(), RegistryError> {
        if received <= self.size() {
            return Ok(());
        }
        let (expected, actual) = (self.size(), received);
        Err(RegistryError::SizeMismatch { what: self.name(), expected, actual })
    }

    fn name(&self) -> String {
        format!("{}@{}", self.blob.repository, self.blob.descriptor.digest)
    }

    pub(super) fn failed(&self, source: Box<dyn std::error::Error + Send + Sync>) -> RegistryError {
        RegistryError::Io {
            what: format!("cannot write blob {}", self.blob.descriptor.digest),
            source: std::io::Error::other(source),
        }
    }
}

/// Reads content that all members contain; `None` if they differ, or cannot be read and decoded.
fn read_all_placements(file: &File, places: &[Member], range: Range<u64>) -> Option<Vec<u8>> {
    let mut all = places.iter().map(|place| read_content(file, *place, range.clone()).ok());
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Reads content of a member from a file. This blocks.
pub(super) fn read_content(
    file: &File,
    member: Member,
    range: Range<u64>,
) -> Result<Vec<u8>, Error> {
    let position = range.start;
    let bytes = member.content_range(range);
    let mut framed = vec![0; usize::try_from(bytes.end - bytes.start).unwrap_or_default()];
    let read = file.read_exact_at(&mut framed, bytes.start);
    read.map_err(|error| Error::damaged(format!("a part cannot be read: {error}")))?;
    member.decode(position, &framed)
}
