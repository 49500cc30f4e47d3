//! Options for reading a blob in several ranges at once, and a meter that decides whether that
//! helps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::buffer_pool::{BufferPool, PooledBuffer};

/// Options for reading large blobs in ranges. Some ranges are prefetched over more connections.
///
/// Ranges are prefetched only while a single connection is slow ([`ThroughputMeter`]). Clones share
/// the connections.
#[derive(Debug, Clone)]
pub struct RangeOptions {
    range_len: u64,
    sequential_bps: u64,
    connections: Arc<Semaphore>,
    /// Bytes that all connections together have received.
    received: Arc<AtomicU64>,
    buffers: BufferPool,
}

/// Whether more connections would raise the throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throughput {
    /// One connection saturates the link; more connections would only compete.
    SaturatesLink,
    /// One connection is slower than the link.
    NeedsParallelism,
}

/// Measures the throughput of one connection.
///
/// Only the time spent waiting for the connection counts: if the consumer is slower, more
/// connections do not help. They do not help either if all connections together receive as much as
/// the machine can process ([`LOCAL_LINK_BPS`]), because this connection then waits for the others.
#[derive(Debug, Clone, Default)]
pub struct ThroughputMeter {
    first_chunk_received: bool,
    bytes: u64,
    waited: Duration,
    /// The time of the last sample, and the bytes that all connections had received by then.
    last_sample: Option<(Instant, u64)>,
    throughput: Option<Throughput>,
}

/// The length in bytes of a range that is requested over one fast connection.
const SEQUENTIAL_WINDOW: u64 = 64 << 20;

/// The minimum waiting time of a sample of a slow connection. Shorter waits may be caused by a busy
/// machine.
const MIN_SAMPLE: Duration = Duration::from_millis(25);

impl ThroughputMeter {
    /// Returns the number of bytes to request next. This is one range, unless the connection is
    /// known to saturate the link.
    pub fn next_range_len(&self, options: &RangeOptions) -> u64 {
        match self.throughput {
            Some(Throughput::SaturatesLink) => SEQUENTIAL_WINDOW,
            _ => options.range_len(),
        }
    }

    /// Starts a request. The time until its first chunk is latency and does not count.
    pub fn start_request(&mut self) {
        self.first_chunk_received = false;
    }

    /// Records a chunk and the time spent waiting for it, and returns the throughput, if known.
    pub fn record(
        &mut self,
        bytes: u64,
        waited: Duration,
        options: &RangeOptions,
    ) -> Option<Throughput> {
        let received = options.add_received(bytes);
        let (since, before) = *self.last_sample.get_or_insert_with(|| (Instant::now(), received));
        if !self.first_chunk_received {
            self.first_chunk_received = true;
            return self.throughput;
        }
        self.bytes += bytes;
        self.waited += waited;
        let is_fast = exceeds(self.bytes, self.waited, options.sequential_bps);
        let is_sample =
            self.waited >= MIN_SAMPLE || (is_fast && self.bytes >= options.range_len() / 2);
        if is_sample {
            let elapsed = since.elapsed().max(self.waited);
            let is_fast = is_fast || exceeds(received - before, elapsed, LOCAL_LINK_BPS);
            self.throughput = Some(match is_fast {
                true => Throughput::SaturatesLink,
                false => Throughput::NeedsParallelism,
            });
            (self.bytes, self.waited) = (0, Duration::ZERO);
            self.last_sample = Some((Instant::now(), received));
        }
        self.throughput
    }
}

/// Whether `bytes` in `elapsed` are more than `bytes_per_second`.
fn exceeds(bytes: u64, elapsed: Duration, bytes_per_second: u64) -> bool {
    u128::from(bytes) * 1_000_000 > u128::from(bytes_per_second) * elapsed.as_micros()
}

/// Half a gigabit per second, in bytes. A single connection over a long distance is slower.
const DEFAULT_SEQUENTIAL_BPS: u64 = 62_500_000;

/// Two gigabits per second, in bytes. Above this, the machine itself limits the throughput, and
/// more connections do not help.
pub const LOCAL_LINK_BPS: u64 = 250_000_000;

impl Default for RangeOptions {
    /// Ranges of 2 MiB over twelve connections.
    fn default() -> Self {
        Self::new(2 << 20, 12)
    }
}

impl RangeOptions {
    /// Creates options for ranges of `range_len` bytes over `connections`, for all blobs together.
    ///
    /// Prefetched ranges are kept in memory, at most `range_len * connections` bytes.
    pub fn new(range_len: u64, connections: usize) -> Self {
        let connections = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self {
            range_len: range_len.max(1),
            sequential_bps: DEFAULT_SEQUENTIAL_BPS,
            connections,
            received: Arc::default(),
            buffers: BufferPool::default(),
        }
    }

    /// Sets the throughput above which one connection suffices, in bytes per second.
    ///
    /// The default is half a gigabit per second.
    #[must_use]
    pub fn sequential_above(self, bytes_per_second: u64) -> Self {
        Self { sequential_bps: bytes_per_second, ..self }
    }

    /// Adds bytes that a connection received, and returns the total of all connections.
    pub fn add_received(&self, bytes: u64) -> u64 {
        self.received.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Returns the length of a range in bytes.
    pub fn range_len(&self) -> u64 {
        self.range_len
    }

    /// Takes an empty buffer with the capacity of one range from the pool.
    pub(crate) fn buffer(&self) -> PooledBuffer {
        let mut buffer = self.buffers.take();
        buffer.bytes.clear();
        buffer.bytes.reserve_exact(usize::try_from(self.range_len).unwrap_or(0));
        buffer
    }

    /// Takes one more connection, or returns `None` if all are in use. Dropping the permit returns it.
    pub fn try_acquire_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(
        meter: &mut ThroughputMeter,
        options: &RangeOptions,
        by_others: u64,
    ) -> Option<Throughput> {
        meter.start_request();
        meter.record(1, Duration::ZERO, options);
        options.add_received(by_others);
        meter.record(1 << 20, MIN_SAMPLE, options)
    }

    #[test]
    fn meter_slow_connection_needs_parallelism() {
        let (mut meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        assert_eq!(sample(&mut meter, &options, 0), Some(Throughput::NeedsParallelism));
    }

    #[test]
    fn meter_counts_other_connections() {
        let (mut meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        let busy = sample(&mut meter, &options, LOCAL_LINK_BPS);
        assert_eq!(busy, Some(Throughput::SaturatesLink));
        let alone = sample(&mut meter, &options, 0);
        assert_eq!(alone, Some(Throughput::NeedsParallelism), "the others have ended");
    }
}
