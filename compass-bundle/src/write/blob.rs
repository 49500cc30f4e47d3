//! One blob on its way to all its places in the file.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use compass_registry::uncached::AlignedBuffer;
use compass_registry::{
    Error as RegistryError, Hasher, ImageSource, Progress, VerifiedBlob, open_continuing,
};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::appetite::Appetite;
use super::disk::{Mark, Pool};
use super::encode::{SegmentEncoder, Sums};
use super::writer::Order;
use crate::Error;
use crate::plan::{BundlePlan, PlannedBlob};
use crate::read::frames::FramedFile;

/// Bytes that are written at once; what a killed run leaves to be fetched again is less than this of
/// each blob, and what was still on its way to the disk.
const CHUNK: usize = 256 << 10;

/// Bytes that go through all that is done with them before the next ones, so that they stay near
/// the processor.
const STEP: usize = 64 << 10;

/// One blob, and what it takes to write it.
pub(super) struct Job {
    number: usize,
    blob: PlannedBlob,
    places: Vec<Place>,
    source: Arc<dyn ImageSource>,
    /// The file, as each place sees it.
    written: Vec<FramedFile>,
    /// Bytes that an earlier run has written.
    mark: u64,
    orders: mpsc::Sender<Order>,
    pool: Pool,
    progress: Arc<dyn Progress>,
    appetite: Arc<Appetite>,
}

/// A segment that the blob fills.
#[derive(Clone)]
struct Place {
    segment: usize,
    range: Range<u64>,
    encoder: SegmentEncoder,
}

/// What has come of a blob, in one attempt.
struct Attempt {
    places: Vec<(Place, Outlet)>,
    received: u64,
    hasher: Hasher,
}

/// Bytes of one place, gathered for the disk.
struct Outlet {
    /// Where the gathered bytes begin in the file.
    offset: u64,
    gathered: AlignedBuffer,
    /// Bytes of the blob of which nothing is among the gathered ones.
    before: u64,
    /// Chunks that are complete.
    full: VecDeque<(u64, AlignedBuffer)>,
    pool: Pool,
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
        let places = blob.places.iter().map(|segment| {
            let planned = &plan.segments()[*segment];
            let (range, encoder) = (plan.file_range(planned), SegmentEncoder::new(plan, planned));
            Place { segment: *segment, range, encoder }
        });
        let places = places.collect();
        let written = blob.places.iter();
        let written = written.map(|place| FramedFile::of(plan, *place, Arc::clone(&file)));
        let written = written.collect();
        Self { number, blob, places, source, written, mark, orders, pool, progress, appetite }
    }
}

/// Writes a blob, and gives the checksums of its places.
pub(super) async fn write(job: Job) -> Result<Vec<(usize, Sums)>, Error> {
    let mut shown = 0;
    let written = match job.attempt(job.mark, &mut shown).await {
        // What an earlier run wrote did not reach the disk, or not as it was.
        Err(RegistryError::DigestMismatch { .. }) if job.mark > 0 => {
            job.attempt(0, &mut shown).await
        }
        written => written,
    };
    if let Err(RegistryError::DigestMismatch { .. } | RegistryError::SizeMismatch { .. }) = written
    {
        // What is wrong is nothing to go on with.
        let _ = job.order(Order::Forget { blob: job.number }).await;
    }
    written.map_err(|error| error.in_blob(&job.blob.reference, job.blob.descriptor.digest).into())
}

impl Job {
    async fn attempt(
        &self,
        mark: u64,
        shown: &mut u64,
    ) -> Result<Vec<(usize, Sums)>, RegistryError> {
        let mut attempt = self.begin(mark).await?;
        self.show(attempt.received, shown);
        let mut blob = self.open(&attempt);
        while let Some(bytes) = blob.next().await {
            let bytes = bytes?;
            self.appetite.arrived(bytes.len() as u64);
            for step in bytes.chunks(STEP) {
                attempt.push(step);
            }
            if attempt.places.iter().any(|(_, outlet)| !outlet.full.is_empty()) {
                self.flush(&mut attempt, mark == 0).await?;
                self.show(attempt.received, shown);
            }
        }
        attempt.places.iter_mut().for_each(|(_, outlet)| outlet.complete(attempt.received));
        self.flush(&mut attempt, mark == 0).await?;
        self.show(attempt.received, shown);
        if mark > 0 {
            for place in &self.places {
                self.order(Order::Settled(place.range.clone())).await?;
            }
        }
        let places = attempt.places.into_iter();
        Ok(places.map(|(place, _)| (place.segment, place.encoder.finish())).collect())
    }

    /// Takes up what an earlier run has written.
    async fn begin(&self, mark: u64) -> Result<Attempt, RegistryError> {
        let places = self.places.iter().cloned();
        let places = places.map(|place| {
            let outlet = Outlet::new(place.range.start, self.pool.clone());
            (place, outlet)
        });
        let hasher = Hasher::new(self.blob.descriptor.digest.algorithm());
        let mut attempt = Attempt { places: places.collect(), received: 0, hasher };
        let written = self.written.clone();
        let taken_up = spawn_blocking(move || {
            let mut position = 0;
            while position < mark {
                let next = mark.min(position + CHUNK as u64);
                // What is not framed as it must be, or not the same everywhere, is not what was
                // written.
                let Some(bytes) = read_everywhere(&written, position..next) else { break };
                attempt.hasher.update(&bytes);
                attempt.push(&bytes);
                attempt.forget();
                position = next;
            }
            attempt
        });
        taken_up.await.map_err(|error| self.failed(Box::new(error)))
    }

    fn open(&self, attempt: &Attempt) -> VerifiedBlob {
        let PlannedBlob { descriptor, repository, .. } = &self.blob;
        let received = (attempt.hasher.clone(), attempt.received);
        open_continuing(Arc::clone(&self.source), repository, descriptor, received)
    }

    /// Gives complete chunks to the writer.
    async fn flush(&self, attempt: &mut Attempt, settled: bool) -> Result<(), RegistryError> {
        let written = attempt.places.iter().map(|(_, outlet)| outlet.before).min();
        let mark = Mark { blob: self.number, written: written.unwrap_or(0) };
        let mut chunks: VecDeque<_> = VecDeque::new();
        for (_, outlet) in &mut attempt.places {
            chunks.append(&mut outlet.full);
        }
        while let Some((offset, bytes)) = chunks.pop_front() {
            let mark = chunks.is_empty().then_some(mark);
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

    fn failed(&self, source: Box<dyn std::error::Error + Send + Sync>) -> RegistryError {
        RegistryError::Io {
            what: format!("cannot write blob {}", self.blob.descriptor.digest),
            source: std::io::Error::other(source),
        }
    }
}

/// Bytes that stand the same at all places.
fn read_everywhere(places: &[FramedFile], range: Range<u64>) -> Option<Vec<u8>> {
    let mut all = places.iter().map(|place| place.read(range.clone()).ok());
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

impl Attempt {
    fn push(&mut self, bytes: &[u8]) {
        for (place, outlet) in &mut self.places {
            let before = self.received;
            place.encoder.push(bytes, |piece| outlet.gather(piece, before));
        }
        self.received += bytes.len() as u64;
    }

    /// Leaves what has been gathered unwritten: it is in the file already.
    fn forget(&mut self) {
        for (_, outlet) in &mut self.places {
            outlet.complete(self.received);
            outlet.full.clear();
        }
    }
}

impl Outlet {
    fn new(offset: u64, pool: Pool) -> Self {
        let mut gathered = pool.take();
        gathered.begin_at(offset, CHUNK);
        Self { offset, gathered, before: 0, full: VecDeque::new(), pool }
    }

    /// Takes bytes of the file. They come from those of the blob after the first `before` ones.
    fn gather(&mut self, mut bytes: &[u8], before: u64) {
        while !bytes.is_empty() {
            if self.gathered.is_full() {
                self.complete(before);
            }
            bytes = self.gathered.fill(bytes);
        }
    }

    /// Ends a chunk. What is gathered from now on comes from bytes after the first `before` ones.
    fn complete(&mut self, before: u64) {
        let next = self.offset + self.gathered.len() as u64;
        let mut chunk = self.pool.take();
        chunk.begin_at(next, CHUNK);
        std::mem::swap(&mut chunk, &mut self.gathered);
        self.full.push_back((self.offset, chunk));
        (self.offset, self.before) = (next, before);
    }
}
