//! One blob on its way to all its places in the file.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use compass_registry::range_fetch::{RangeOptions, Throughput, ThroughputMeter};
use compass_registry::{Error as RegistryError, Hasher, ImageSource, Progress, open_blob_range};
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::ahead::Ahead;
use super::appetite::Appetite;
use super::disk::{Mark, Pool};
use super::encode::Sums;
use super::outlet::{Chunk, Outlets};
use super::passing::Passing;
use super::writer::Order;
use crate::Error;
use crate::plan::{BundlePlan, PlannedBlob};
use crate::read::frames::FramedFile;

/// Bytes that are written at once; what a killed run leaves to be fetched again is less than this of
/// each blob, and what was still on its way to the disk.
const CHUNK: usize = 512 << 10;

/// Bytes that are written at once of what is fetched ahead: there is much of it at the same time.
const AHEAD: usize = 64 << 10;

/// Bytes that go through all that is done with them before the next ones, so that they stay near
/// the processor.
const STEP: usize = 64 << 10;

/// One blob, and what it takes to write it.
pub(super) struct Job {
    number: usize,
    blob: PlannedBlob,
    source: Arc<dyn ImageSource>,
    /// The file, as each place sees it.
    places: Vec<FramedFile>,
    ranges: Vec<Range<u64>>,
    /// Bytes that an earlier run has written.
    mark: u64,
    orders: mpsc::Sender<Order>,
    pool: Pool,
    progress: Arc<dyn Progress>,
    appetite: Arc<Appetite>,
    /// Bytes that the appetite counts on.
    counted: u64,
    /// Whether it comes in the order of the file, as far as anybody knows.
    passes: bool,
}

/// What has come of a blob, in one attempt.
struct Attempt {
    outlets: Outlets,
    /// Nothing while the writer has it.
    hasher: Option<Hasher>,
    /// Whether what is written stays: it need not be proven first.
    settled: bool,
}

/// Writes a blob, and gives the checksums of its places.
pub(super) async fn write(job: Job) -> Result<Vec<(usize, Sums)>, Error> {
    let (job, mut shown) = (Arc::new(job), 0);
    let written = match job.attempt(job.mark, &mut shown).await {
        // What an earlier run wrote did not reach the disk, or not as it was.
        Err(RegistryError::DigestMismatch { .. }) if job.mark > 0 => match job.written().await {
            Ok(()) => job.attempt(0, &mut shown).await,
            Err(error) => Err(error),
        },
        written => written,
    };
    if let Err(RegistryError::DigestMismatch { .. } | RegistryError::SizeMismatch { .. }) = written
    {
        // What is wrong is nothing to go on with.
        let _ = job.order(Order::Mark(Mark { blob: job.number, written: 0 })).await;
    }
    job.appetite.ended(job.counted);
    written.map_err(|error| error.in_blob(&job.blob.reference, job.blob.descriptor.digest).into())
}

impl Job {
    pub(super) fn new(
        plan: &BundlePlan,
        number: usize,
        source: Arc<dyn ImageSource>,
        (file, mark): (Arc<File>, u64),
        (orders, pool): (mpsc::Sender<Order>, Pool),
        (progress, appetite): (Arc<dyn Progress>, Arc<Appetite>),
    ) -> Self {
        let blob = plan.blobs()[number].clone();
        let places = blob.places.iter();
        let places = places.map(|place| FramedFile::of(plan, *place, Arc::clone(&file))).collect();
        let ranges = blob.places.iter().map(|place| plan.file_range(&plan.segments()[*place]));
        let ranges = ranges.collect();
        // What is taken up first says nothing about the source for a while.
        let counted = if mark > 0 { 0 } else { blob.descriptor.size };
        let passes = appetite.began(counted);
        Self {
            number,
            blob,
            source,
            places,
            ranges,
            mark,
            orders,
            pool,
            progress,
            appetite,
            counted,
            passes,
        }
    }

    pub(super) fn source(&self) -> &Arc<dyn ImageSource> {
        &self.source
    }

    pub(super) fn appetite(&self) -> &Appetite {
        &self.appetite
    }

    pub(super) fn size(&self) -> u64 {
        self.blob.descriptor.size
    }

    async fn attempt(
        self: &Arc<Self>,
        mark: u64,
        shown: &mut u64,
    ) -> Result<Vec<(usize, Sums)>, RegistryError> {
        let mut attempt = self.begin(mark).await?;
        self.show(attempt.received(), shown);
        let (mut pace, mut ahead) = (ThroughputMeter::default(), Ahead::new(self));
        // A blob of no bytes is asked for as well: who holds it must have it.
        if self.size() == 0 {
            self.stream(&mut attempt, &mut pace, &mut ahead, shown).await?;
        }
        while attempt.received() < self.size() {
            match ahead.start() {
                Some(start) if start == attempt.received() => {
                    attempt = self.take_part(attempt, &mut ahead).await?;
                    self.show(attempt.received(), shown);
                }
                _ => self.stream(&mut attempt, &mut pace, &mut ahead, shown).await?,
            }
        }
        self.finish(attempt, shown).await
    }

    /// Begins with what an earlier run has written, or with the first byte.
    async fn begin(&self, mark: u64) -> Result<Attempt, RegistryError> {
        let hasher = Hasher::new(self.blob.descriptor.digest.algorithm());
        let outlets = self.outlets(0, (CHUNK, &self.pool));
        if mark > 0 {
            let begun = Attempt { outlets, hasher: Some(hasher), settled: false };
            return self.take_up(begun, mark).await;
        }
        // What passes in the order of the file is hashed together with it.
        let together =
            self.passes && Hasher::is_pair_faster(self.blob.descriptor.digest.algorithm());
        let hasher = match self.places.first() {
            Some(place) if together => {
                let passing = Passing::new(self.number, place.unframer(), hasher);
                self.order(Order::Hash(passing)).await?;
                None
            }
            _ => Some(hasher),
        };
        Ok(Attempt { outlets, hasher, settled: true })
    }

    async fn finish(
        &self,
        mut attempt: Attempt,
        shown: &mut u64,
    ) -> Result<Vec<(usize, Sums)>, RegistryError> {
        attempt.outlets.complete();
        self.flush(&mut attempt.outlets, attempt.settled).await?;
        self.show(attempt.received(), shown);
        let hasher = self.hasher(&mut attempt).await?;
        let (expected, actual) = (self.blob.descriptor.digest, hasher.finish());
        if actual != expected {
            let (expected, actual) = (Box::new(expected), Box::new(actual));
            return Err(RegistryError::DigestMismatch { what: self.name(), expected, actual });
        }
        self.order(Order::Mark(Mark { blob: self.number, written: self.size() })).await?;
        if !attempt.settled {
            for range in &self.ranges {
                self.order(Order::Settled(range.clone())).await?;
            }
        }
        Ok(self.blob.places.iter().copied().zip(attempt.outlets.finish()).collect())
    }

    fn outlets(&self, from: u64, memory: (usize, &Pool)) -> Outlets {
        Outlets::new(from, self.places.iter().map(|place| place.encoder(from)), memory)
    }

    /// Takes up what stands in the file, up to this byte of the blob or the first one that does not.
    async fn take_up(&self, mut attempt: Attempt, to: u64) -> Result<Attempt, RegistryError> {
        let mut hasher = self.hasher(&mut attempt).await?;
        let places = self.places.clone();
        let taken_up = spawn_blocking(move || {
            while attempt.received() < to {
                let position = attempt.received();
                let next = to.min(position + STEP as u64);
                // What is not framed as it must be, or not the same everywhere, is not what was
                // written.
                let Some(bytes) = read_everywhere(&places, position..next) else { break };
                hasher.update(&bytes);
                attempt.outlets.pass(&bytes);
            }
            attempt.hasher = Some(hasher);
            attempt
        });
        taken_up.await.map_err(|error| self.failed(Box::new(error)))
    }

    /// Takes up a part that was fetched ahead.
    async fn take_part(
        &self,
        mut attempt: Attempt,
        ahead: &mut Ahead,
    ) -> Result<Attempt, RegistryError> {
        let Some(end) = self.appetite.wait(ahead.first()).await? else { return Ok(attempt) };
        ahead.fetch_more();
        attempt.outlets.complete();
        self.flush(&mut attempt.outlets, attempt.settled).await?;
        let before: Vec<_> = attempt.outlets.offsets().collect();
        attempt = self.take_up(attempt, end).await?;
        if attempt.settled {
            for range in before.into_iter().zip(attempt.outlets.offsets()) {
                self.order(Order::Settled(range.0..range.1)).await?;
            }
        }
        let written = attempt.received();
        self.order(Order::Mark(Mark { blob: self.number, written })).await?;
        Ok(attempt)
    }

    /// Takes what one connection brings, as far as it is to.
    async fn stream(
        &self,
        attempt: &mut Attempt,
        pace: &mut ThroughputMeter,
        ahead: &mut Ahead,
        shown: &mut u64,
    ) -> Result<(), RegistryError> {
        let (from, parts) = (attempt.received(), self.source.range_options());
        let stretch = parts.map_or(u64::MAX, |parts| pace.next_range_len(parts));
        let end = from.saturating_add(stretch).min(ahead.start().unwrap_or(self.size()));
        // Counted with the parts that are fetched ahead; without one, it streams all the same.
        let _connection = parts.and_then(RangeOptions::try_acquire_connection);
        let mut bytes = self.open(from..end);
        pace.start_request();
        loop {
            let asked = Instant::now();
            let chunk = self.appetite.wait(bytes.next()).await.transpose()?;
            let Some(chunk) = chunk else { return Ok(()) };
            let waited = asked.elapsed();
            self.appetite.arrived(chunk.len() as u64);
            self.require_room(attempt.received() + chunk.len() as u64)?;
            for step in chunk.chunks(STEP) {
                if let Some(hasher) = &mut attempt.hasher {
                    hasher.update(step);
                }
                attempt.outlets.push(step);
            }
            if self.flush(&mut attempt.outlets, attempt.settled).await? {
                self.show(attempt.received(), shown);
            }
            if let Some(parts) = parts
                && pace.record(chunk.len() as u64, waited, parts)
                    == Some(Throughput::NeedsParallelism)
            {
                ahead.fetch_from(end);
            }
        }
    }

    /// Brings a part to its places. When this ends well, it stands in the file.
    pub(super) async fn fetch(self: Arc<Self>, range: Range<u64>) -> Result<(), RegistryError> {
        let mut outlets = self.outlets(range.start, (AHEAD, &Pool::default()));
        let (mut bytes, parts) = (self.open(range), self.source.range_options());
        while let Some(chunk) = bytes.next().await.transpose()? {
            self.appetite.arrived(chunk.len() as u64);
            if let Some(parts) = parts {
                parts.add_received(chunk.len() as u64);
            }
            self.require_room(outlets.received() + chunk.len() as u64)?;
            outlets.push(&chunk);
            self.hand_over(outlets.take(), false, None).await?;
        }
        outlets.complete();
        self.hand_over(outlets.take(), false, None).await?;
        self.written().await
    }

    /// The hasher, wherever it is.
    async fn hasher(&self, attempt: &mut Attempt) -> Result<Hasher, RegistryError> {
        if let Some(hasher) = attempt.hasher.take() {
            return Ok(hasher);
        }
        let (give, given) = oneshot::channel();
        self.order(Order::GiveBack(self.number, give)).await?;
        let hasher = given.await.map_err(|error| self.failed(Box::new(error)))?;
        hasher.ok_or_else(|| self.failed("the writing thread does not hash it".into()))
    }

    /// Waits until everything stands in the file that was ordered before.
    async fn written(&self) -> Result<(), RegistryError> {
        let (tell, told) = oneshot::channel();
        self.order(Order::Tell(tell)).await?;
        told.await.map_err(|error| self.failed(Box::new(error)))
    }

    fn open(&self, range: Range<u64>) -> compass_registry::ByteStream {
        let PlannedBlob { descriptor, repository, .. } = &self.blob;
        open_blob_range(Arc::clone(&self.source), repository, descriptor, range)
    }

    /// Gives complete chunks to the writer, and says whether there were any.
    async fn flush(&self, outlets: &mut Outlets, settled: bool) -> Result<bool, RegistryError> {
        let chunks = outlets.take();
        let mark = Mark { blob: self.number, written: outlets.handed_over() };
        let any = !chunks.is_empty();
        self.hand_over(chunks, settled, Some(mark)).await?;
        Ok(any)
    }

    /// Orders chunks to be written; the last one brings the mark.
    async fn hand_over(
        &self,
        mut chunks: VecDeque<Chunk>,
        settled: bool,
        mark: Option<Mark>,
    ) -> Result<(), RegistryError> {
        while let Some((offset, bytes)) = chunks.pop_front() {
            let mark = mark.filter(|_| chunks.is_empty());
            self.order(Order::Write { offset, bytes, settled, mark }).await?;
        }
        Ok(())
    }

    async fn order(&self, order: Order) -> Result<(), RegistryError> {
        self.orders.send(order).await.map_err(|_| self.failed("the writing thread stopped".into()))
    }

    /// Counts the bytes of the file, but none of them twice.
    fn show(&self, received: u64, shown: &mut u64) {
        if received > *shown {
            self.progress.advance((received - *shown) * self.places.len() as u64);
            *shown = received;
        }
    }

    /// No more bytes may come than the blob has: they would stand where others belong.
    fn require_room(&self, received: u64) -> Result<(), RegistryError> {
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

impl Attempt {
    fn received(&self) -> u64 {
        self.outlets.received()
    }
}

/// Bytes that stand the same at all places.
fn read_everywhere(places: &[FramedFile], range: Range<u64>) -> Option<Vec<u8>> {
    let mut all = places.iter().map(|place| place.read(range.clone()).ok());
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}
