//! One blob on its way to all its places in the file.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use compass_registry::{
    Error as RegistryError, Hasher, ImageSource, Progress, VerifiedBlob, open_continuing,
};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::encode::{SegmentEncoder, Sums};
use super::file::Order;
use crate::Error;
use crate::plan::{BundlePlan, PlannedBlob};
use crate::read::frames::FramedFile;

/// Bytes that are written at once; what an interrupted run fetches again of each blob is less than
/// twice that, and what was still on its way.
const CHUNK: usize = 256 << 10;

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
    progress: Arc<dyn Progress>,
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
    offset: u64,
    chunk: Vec<u8>,
}

impl Job {
    pub(super) fn new(
        plan: &BundlePlan,
        number: usize,
        source: Arc<dyn ImageSource>,
        (file, mark): (Arc<File>, u64),
        orders: mpsc::Sender<Order>,
        progress: Arc<dyn Progress>,
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
        Self { number, blob, places, source, written, mark, orders, progress }
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
        let _ = job.order(Order::Mark { blob: job.number, written: 0 }).await;
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
            attempt.push(&bytes?);
            if attempt.places.iter().any(|(_, outlet)| outlet.chunk.len() >= CHUNK) {
                self.flush(&mut attempt, mark == 0).await?;
                self.show(attempt.received, shown);
            }
        }
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
            let offset = place.range.start;
            (place, Outlet { offset, chunk: Vec::new() })
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

    async fn flush(&self, attempt: &mut Attempt, settled: bool) -> Result<(), RegistryError> {
        for (_, outlet) in &mut attempt.places {
            let bytes = std::mem::replace(&mut outlet.chunk, Vec::with_capacity(2 * CHUNK));
            let offset = outlet.offset;
            outlet.offset += bytes.len() as u64;
            self.order(Order::Write { offset, bytes, settled }).await?;
        }
        self.order(Order::Mark { blob: self.number, written: attempt.received }).await
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
        self.received += bytes.len() as u64;
        for (place, outlet) in &mut self.places {
            place.encoder.push(bytes, &mut outlet.chunk);
        }
    }

    /// Leaves what has been gathered unwritten: it is in the file already.
    fn forget(&mut self) {
        for (_, outlet) in &mut self.places {
            outlet.offset += outlet.chunk.len() as u64;
            outlet.chunk.clear();
        }
    }
}
