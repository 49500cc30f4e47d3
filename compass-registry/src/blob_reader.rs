//! Reads a blob in ranges, and resumes broken connections. Several ranges are read in parallel if
//! that is faster. The verifier reads from this stream, so that it need not hash again after a
//! broken connection.

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
use crate::verify::no_progress;
use crate::{ByteStream, Descriptor, Error, ImageSource, MAX_EMPTY_CHUNKS, Repository};

/// The number of received bytes after which earlier failures no longer count.
const RESET_RETRIES_AFTER: u64 = 64 << 10;

/// Streams a range of a blob in order, over a single connection or over several.
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
    // Request empty blobs as well, so that a missing one is an error.
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
    let retry = &reader.blob.retry;
    let guard = SpeedGuard::new(retry.min_speed, retry.speed_window);
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
    /// Whether prefetching over more connections is disabled.
    single_connection: bool,
    retry: RetryPolicy,
    counter: RetryCounter,
    /// Bytes that all connections of this blob have received.
    received: AtomicU64,
}

struct Reader {
    blob: Arc<Blob>,
    /// The permit for the connection of the streamed part, which is streamed even without one.
    _connection: Option<OwnedSemaphorePermit>,
    meter: ThroughputMeter,
    /// The part that is being yielded.
    current: Option<Current>,
    /// The parts that are being prefetched, in order.
    prefetched: VecDeque<Prefetched>,
    /// The offset after the last part that is streamed or prefetched.
    next_offset: u64,
    end: u64,
}

enum Current {
    /// Yielded directly from the connection.
    Streamed(Part),
    /// Prefetched into memory. The permit also limits the memory, so it is held as long as the
    /// bytes.
    Fetched { bytes: Option<Bytes>, _connection: OwnedSemaphorePermit },
}

/// A part that a task prefetches.
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
                    // A source without ranges sends the rest of the blob.
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

    /// Returns the next part: a prefetched one, or a new one to stream.
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

    /// Starts to prefetch parts while connections are available.
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

/// A part of a blob, which is reopened if its connection breaks.
struct Part {
    blob: Arc<Blob>,
    range: Range<u64>,
    failures: u32,
    /// Bytes received since the last failure.
    since_failure: u64,
    bytes: Option<ByteStream>,
    /// Whether the source just ended the part early, without an error.
    unexpected_eof: bool,
    /// Consecutive empty chunks of the source.
    empty_chunks: u32,
}

impl Part {
    fn new(blob: Arc<Blob>, range: Range<u64>) -> Self {
        Self {
            blob,
            range,
            failures: 0,
            since_failure: 0,
            bytes: None,
            unexpected_eof: false,
            empty_chunks: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.next_chunk().await {
                Ok(Some(chunk)) if chunk.is_empty() => {
                    self.empty_chunks += 1;
                    if self.empty_chunks > MAX_EMPTY_CHUNKS {
                        return Err(no_progress(&self.blob.name()));
                    }
                }
                // Bytes after a part in the middle of the blob belong to the next part.
                Ok(Some(_)) if self.range.is_empty() && self.is_mid_blob() => return Ok(None),
                Ok(Some(mut chunk)) => {
                    let left = self.range.end - self.range.start;
                    // Bytes after the last part mean that the content is wrong, and the stream may
                    // never end.
                    if !self.is_mid_blob() && chunk.len() as u64 > left {
                        return Err(self.wrong_size(self.range.start + chunk.len() as u64));
                    }
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    self.range.start += chunk.len() as u64;
                    self.blob.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    // A few bytes per connection do not count as progress.
                    self.since_failure += chunk.len() as u64;
                    if self.since_failure >= RESET_RETRIES_AFTER {
                        self.failures = 0;
                    }
                    self.unexpected_eof = false;
                    self.empty_chunks = 0;
                    return Ok(Some(chunk));
                }
                Ok(None) if self.range.start >= self.range.end => return Ok(None),
                // Retry once, as a proxy may have truncated the response. If the response ends at
                // the same position again, the blob is too short.
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

    /// Waits before the part is reopened.
    async fn back_off(&mut self, error: &Error) {
        self.bytes = None;
        self.failures += 1;
        self.since_failure = 0;
        let wait = self.blob.retry.back_off(error, self.failures);
        self.blob.counter.clone().scope(wait).await;
    }

    /// Whether the blob continues after this part.
    fn is_mid_blob(&self) -> bool {
        self.range.end < self.blob.descriptor.size
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Blob { source, repository, descriptor, retry, .. } = &*self.blob;
        let bytes = match &mut self.bytes {
            Some(bytes) => bytes,
            // A completed part is not requested again. An empty blob is requested once.
            None if self.range.is_empty() && descriptor.size > 0 => return Ok(None),
            closed => closed.insert(source.blob(repository, descriptor, self.range.clone()).await?),
        };
        match tokio::time::timeout(retry.idle_timeout, bytes.next()).await {
            Ok(chunk) => chunk.transpose(),
            Err(elapsed) => Err(self.blob.unreachable(Box::new(elapsed))),
        }
    }

    /// Creates the error for a blob of `actual` or more bytes.
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
