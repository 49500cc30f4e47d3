//! Reads a blob in parts, several at once where that is worth it, and goes on where a connection
//! broke. It stands below the verifier, so that what was hashed stays hashed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use crate::min_speed::SpeedGuard;
use crate::range_fetch::{RangeOptions, Throughput, ThroughputMeter};
use crate::retry::{RetryCounter, RetryPolicy};
use crate::{ByteStream, Descriptor, Error, ImageSource, Repository};

/// Bytes after which a connection that broke is forgotten.
const RESET_RETRIES_AFTER: u64 = 64 << 10;

/// A range of the bytes of a blob, in order; over one connection alone, or over several.
pub(crate) fn stream_range(
    source: Arc<dyn ImageSource>,
    repository: Repository,
    descriptor: Descriptor,
    range: Range<u64>,
    single_connection: bool,
) -> ByteStream {
    let Range { start, end } = range;
    let (retry, counter) = (source.retry(), RetryCounter::current());
    let received = AtomicU64::new(0);
    let blob = Arc::new(Blob {
        source,
        repository,
        descriptor,
        single_connection,
        retry,
        counter,
        received,
    });
    // A blob of no bytes is asked for as well: who holds it must have it.
    let empty = blob.descriptor.size == 0;
    let current = empty.then(|| Current::Streamed(Part::new(Arc::clone(&blob), 0..0)));
    let (prefetched, meter) = (VecDeque::new(), ThroughputMeter::default());
    let connection = blob.range_options().and_then(RangeOptions::try_acquire_connection);
    let reader = Reader {
        blob,
        _connection: connection,
        meter,
        current,
        prefetched,
        next_offset: start,
        end,
    };
    let guard = SpeedGuard::new(&reader.blob.retry);
    let steps = stream::unfold(Some((reader, guard)), |state| async move {
        let (mut reader, mut guard) = state?;
        let blob = Arc::clone(&reader.blob);
        let received = || blob.received.load(Ordering::Relaxed);
        let next = match guard.watch(received, reader.next()).await {
            Ok(next) => next,
            Err(slow) => Err(blob.unreachable(Box::new(slow))),
        };
        match next {
            Ok(Some(chunk)) => Some((Ok(chunk), Some((reader, guard)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    steps.boxed()
}

struct Blob {
    source: Arc<dyn ImageSource>,
    repository: Repository,
    descriptor: Descriptor,
    /// One connection alone is to be used.
    single_connection: bool,
    retry: RetryPolicy,
    counter: RetryCounter,
    /// Bytes that all connections for it have brought.
    received: AtomicU64,
}

struct Reader {
    blob: Arc<Blob>,
    /// For the part that is streamed; without it, it is streamed all the same.
    _connection: Option<OwnedSemaphorePermit>,
    meter: ThroughputMeter,
    /// The part that is being handed out.
    current: Option<Current>,
    /// Parts that are fetched meanwhile, in order.
    prefetched: VecDeque<Prefetched>,
    /// Where the first part begins that nobody fetches yet.
    next_offset: u64,
    end: u64,
}

enum Current {
    /// Straight from the connection.
    Streamed(Part),
    /// Fetched ahead; the permit is kept as long as the memory.
    Fetched { bytes: Option<Bytes>, _connection: OwnedSemaphorePermit },
}

/// A part that is fetched ahead.
struct Prefetched {
    task: AbortOnDropHandle<Result<Bytes, Error>>,
    permit: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match &mut self.current {
                Some(Current::Fetched { bytes, .. }) => match bytes.take() {
                    Some(chunk) => return Ok(Some(chunk)),
                    None => self.current = None,
                },
                Some(Current::Streamed(part)) => {
                    let asked = Instant::now();
                    let Some(chunk) = part.next().await? else {
                        self.current = None;
                        continue;
                    };
                    // A source that knows no parts is sending all of the blob.
                    let whole = self.blob.range_options().is_none() && self.prefetched.is_empty();
                    if whole && !part.range.is_empty() {
                        part.range.end = self.end;
                        self.next_offset = self.end;
                    }
                    let (bytes, waited) = (chunk.len() as u64, asked.elapsed());
                    if let Some(parts) = self.blob.range_options()
                        && self.meter.record(bytes, waited, parts)
                            == Some(Throughput::NeedsParallelism)
                    {
                        self.prefetch();
                    }
                    return Ok(Some(chunk));
                }
                None => match self.next_part().await? {
                    Some(current) => self.current = Some(current),
                    None => return Ok(None),
                },
            }
        }
    }

    /// The next part: one that was fetched ahead, or one to be streamed.
    async fn next_part(&mut self) -> Result<Option<Current>, Error> {
        if let Some(Prefetched { task, permit }) = self.prefetched.pop_front() {
            let ended = task.await;
            let bytes = ended.map_err(|error| self.blob.unreachable(Box::new(error)))??;
            self.prefetch();
            return Ok(Some(Current::Fetched { bytes: Some(bytes), _connection: permit }));
        }
        if self.next_offset >= self.end {
            return Ok(None);
        }
        let length =
            self.blob.range_options().map_or(u64::MAX, |parts| self.meter.next_range_len(parts));
        self.meter.start_request();
        let range = self.next_offset..self.next_offset.saturating_add(length).min(self.end);
        self.next_offset = range.end;
        Ok(Some(Current::Streamed(Part::new(Arc::clone(&self.blob), range))))
    }

    /// Fetches parts ahead, as long as there are connections for them.
    fn prefetch(&mut self) {
        let Some(parts) = self.blob.range_options() else { return };
        while self.next_offset < self.end {
            let Some(permit) = parts.try_acquire_connection() else { return };
            let range = self.next_offset..(self.next_offset + parts.range_len()).min(self.end);
            self.next_offset = range.end;
            let mut buffer = parts.buffer();
            let (mut part, parts) = (Part::new(Arc::clone(&self.blob), range), parts.clone());
            let task = AbortOnDropHandle::new(tokio::spawn(async move {
                while let Some(chunk) = part.next().await? {
                    parts.add_received(chunk.len() as u64);
                    buffer.bytes.extend_from_slice(&chunk);
                }
                Ok(Bytes::from_owner(buffer))
            }));
            self.prefetched.push_back(Prefetched { task, permit });
        }
    }
}

/// One part of a blob, opened again where its connection breaks.
struct Part {
    blob: Arc<Blob>,
    range: Range<u64>,
    failures: u32,
    /// Bytes since the last one.
    since_failure: u64,
    bytes: Option<ByteStream>,
    /// The source ended the part too early, without an error.
    unexpected_eof: bool,
}

impl Part {
    fn new(blob: Arc<Blob>, range: Range<u64>) -> Self {
        Self { blob, range, failures: 0, since_failure: 0, bytes: None, unexpected_eof: false }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.next_chunk().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                // What stands behind a part in the middle belongs to the next one.
                Ok(Some(_)) if self.range.is_empty() && self.is_mid_blob() => return Ok(None),
                Ok(Some(mut chunk)) => {
                    let left = self.range.end - self.range.start;
                    // Nothing stands behind the last part: who sends more sends something else, and
                    // may never end.
                    if !self.is_mid_blob() && chunk.len() as u64 > left {
                        return Err(self.wrong_size(self.range.start + chunk.len() as u64));
                    }
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    self.range.start += chunk.len() as u64;
                    self.blob.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    // A byte for each connection is not getting on.
                    self.since_failure += chunk.len() as u64;
                    if self.since_failure >= RESET_RETRIES_AFTER {
                        self.failures = 0;
                    }
                    self.unexpected_eof = false;
                    return Ok(Some(chunk));
                }
                Ok(None) if self.range.start >= self.range.end => return Ok(None),
                // Once more: a proxy may have cut it. Twice at the same place, or again and again: it
                // is all there is.
                Ok(None)
                    if !self.unexpected_eof && self.failures + 1 < self.blob.retry.max_attempts =>
                {
                    self.unexpected_eof = true;
                    let ended = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    self.back_off(&self.blob.unreachable(Box::new(ended))).await;
                }
                Ok(None) => return Err(self.wrong_size(self.range.start)),
                Err(Error::InvalidResponse { .. }) if self.unexpected_eof => {
                    return Err(self.wrong_size(self.range.start));
                }
                Err(error) if self.blob.retry.should_retry(&error, self.failures + 1) => {
                    self.back_off(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until it is time to open the part again.
    async fn back_off(&mut self, error: &Error) {
        self.bytes = None;
        self.failures += 1;
        self.since_failure = 0;
        let wait = self.blob.retry.back_off(error, self.failures);
        self.blob.counter.clone().scope(wait).await;
    }

    /// Whether the blob goes on behind this part.
    fn is_mid_blob(&self) -> bool {
        self.range.end < self.blob.descriptor.size
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Blob { source, repository, descriptor, retry, .. } = &*self.blob;
        let bytes = match &mut self.bytes {
            Some(bytes) => bytes,
            // What is complete is not asked for again; a blob of no bytes is, once.
            None if self.range.is_empty() && descriptor.size > 0 => return Ok(None),
            closed => closed.insert(source.blob(repository, descriptor, self.range.clone()).await?),
        };
        match tokio::time::timeout(retry.idle_timeout, bytes.next()).await {
            Ok(chunk) => chunk.transpose(),
            Err(elapsed) => Err(self.blob.unreachable(Box::new(elapsed))),
        }
    }

    /// The blob has so many bytes, or more.
    fn wrong_size(&self, actual: u64) -> Error {
        let (what, expected) = (self.blob.name(), self.blob.descriptor.size);
        Error::SizeMismatch { what, expected, actual }
    }
}

impl Blob {
    fn range_options(&self) -> Option<&RangeOptions> {
        self.source.range_options().filter(|_| !self.single_connection)
    }

    fn name(&self) -> String {
        format!("{}@{}", self.repository, self.descriptor.digest)
    }

    fn unreachable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        let host = self.source.registry().unwrap_or("the source").to_owned();
        Error::Unreachable { host, request: format!("blob {}", self.name()), source }
    }
}
