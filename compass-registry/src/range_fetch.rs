//! Options for reading a blob in several ranges at once, and a meter that decides whether that
//! helps.

mod link;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::link::Link;
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
    max_connections: u64,
    /// Bytes that all connections together have received.
    received: Arc<AtomicU64>,
    link: Arc<Mutex<Link>>,
    buffers: BufferPool,
}

/// Whether more connections would raise the throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throughput {
    /// One connection saturates the link; more connections would only compete.
    SaturatesLink,
    /// One connection is slower than the link.
    NeedsParallelism,
    /// All connections together receive as much as the machine can process.
    ParallelismSuffices,
}

/// Measures the throughput of one connection.
///
/// A connection is slow by the time spent waiting for it: if the consumer is slower, more
/// connections do not help. They do not help either if all connections together receive as much as
/// the machine can process ([`LOCAL_LINK_BPS`]), because this connection then waits for the others.
///
/// A connection is fast by the time that passed after its first bytes: on a busy machine, bytes
/// arrive between two waits.
#[derive(Debug, Clone, Default)]
pub struct ThroughputMeter {
    /// The time from the request to its first chunk; `None` before that.
    latency: Option<Duration>,
    /// The latencies since the last sample.
    latencies: Duration,
    bytes: u64,
    waited: Duration,
    /// The time of the last sample, and the bytes that all connections had received by then.
    last_sample: Option<(Instant, u64)>,
    throughput: Option<Throughput>,
}

/// The size in bytes of a blob that is worth more connections before the first is measured.
const LARGE_BLOB: u64 = 32 << 20;

/// The length in bytes of a range that is requested over one fast connection.
const SEQUENTIAL_WINDOW: u64 = 64 << 20;

/// The minimum waiting time of a sample of a slow connection. Shorter waits may be caused by a busy
/// machine.
const MIN_SAMPLE: Duration = Duration::from_millis(25);

/// The minimum number of bytes of a sample of a fast connection. Fewer may come from the buffers of
/// the system, which fill while the machine is busy.
const MIN_FAST_SAMPLE: u64 = 8 << 20;

impl ThroughputMeter {
    /// Creates the meter of the first connection that reads a blob of `size` bytes. The connection is
    /// assumed to be slow if the blob is large and the source is distant.
    pub fn for_blob(size: u64, options: Option<&RangeOptions>) -> Self {
        let is_slow =
            size >= LARGE_BLOB && options.is_some_and(|options| options.link().is_distant());
        Self { throughput: is_slow.then_some(Throughput::NeedsParallelism), ..Self::default() }
    }

    /// Returns the number of bytes to request next if other ranges are buffered in memory. This is
    /// one range, unless the connection is known to saturate the link.
    pub fn next_range_len(&self, options: &RangeOptions) -> u64 {
        match self.throughput {
            Some(Throughput::SaturatesLink) => SEQUENTIAL_WINDOW,
            _ => options.range_len(),
        }
    }

    /// Returns the number of bytes to request next if no range is buffered, such as one that is
    /// written to a file as it arrives.
    ///
    /// It is at least the length of a range, and grows until a transfer takes eight round trips of
    /// the link. `remaining` is the number of bytes that are not requested yet.
    pub fn next_unbuffered_range_len(&self, options: &RangeOptions, remaining: u64) -> u64 {
        let length = match self.throughput {
            Some(Throughput::SaturatesLink) => SEQUENTIAL_WINDOW,
            _ => options.link().range_len(),
        };
        length.min(options.share(remaining)).max(options.range_len)
    }

    /// Returns the latest known throughput.
    pub fn throughput(&self) -> Option<Throughput> {
        self.throughput
    }

    /// Starts a request. The time until its first chunk is latency and does not count.
    pub fn start_request(&mut self) {
        self.latency = None;
    }

    /// Records a chunk and the time spent waiting for it, and returns the throughput, if known.
    pub fn record(
        &mut self,
        bytes: u64,
        waited: Duration,
        options: &RangeOptions,
    ) -> Option<Throughput> {
        let received = options.add_received(bytes);
        let Some((since, before)) = self.last_sample else {
            (self.latency, self.last_sample) = (Some(waited), Some((Instant::now(), received)));
            return self.throughput;
        };
        if self.latency.is_none() {
            self.latency = Some(waited);
            self.latencies += waited;
            return self.throughput;
        }
        self.bytes += bytes;
        self.waited += waited;
        let is_waited_for = !exceeds(self.bytes, self.waited, options.sequential_bps);
        let is_sample =
            self.waited >= MIN_SAMPLE || (!is_waited_for && self.bytes >= MIN_FAST_SAMPLE);
        if is_sample {
            if is_waited_for {
                options.link().observe(self.latency, self.bytes, self.waited);
            }
            let elapsed = since.elapsed().max(self.waited);
            let receiving = elapsed.saturating_sub(self.latencies).max(self.waited);
            self.throughput = Some(if exceeds(self.bytes, receiving, options.sequential_bps) {
                Throughput::SaturatesLink
            } else if !is_waited_for || exceeds(received - before, elapsed, LOCAL_LINK_BPS) {
                Throughput::ParallelismSuffices
            } else {
                Throughput::NeedsParallelism
            });
            (self.bytes, self.waited, self.latencies) = (0, Duration::ZERO, Duration::ZERO);
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
    /// Ranges of 2 MiB over sixteen connections.
    fn default() -> Self {
        Self::new(2 << 20, 16)
    }
}

impl RangeOptions {
    /// Creates options for ranges of `range_len` bytes over `connections`, for all blobs together.
    ///
    /// A reader that yields bytes in order keeps prefetched ranges in memory, at most `range_len *
    /// connections` bytes.
    pub fn new(range_len: u64, connections: usize) -> Self {
        let connections = connections.min(Semaphore::MAX_PERMITS);
        Self {
            range_len: range_len.max(1),
            sequential_bps: DEFAULT_SEQUENTIAL_BPS,
            connections: Arc::new(Semaphore::new(connections)),
            max_connections: connections as u64,
            received: Arc::default(),
            link: Arc::default(),
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

    /// Records the time from a request to its response.
    pub(crate) fn observe_response(&self, time: Duration) {
        self.link().observe_response(time);
    }

    /// Adds bytes that a connection received, and returns the total of all connections.
    pub(crate) fn add_received(&self, bytes: u64) -> u64 {
        self.received.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Returns the length in bytes of a range that is buffered in memory.
    ///
    /// It does not follow the link: with a fixed amount of memory, many connections with short
    /// ranges receive more than few with long ones.
    pub(crate) fn range_len(&self) -> u64 {
        self.range_len
    }

    /// Returns a connection's share of the bytes that are not requested yet, so that all connections
    /// end at about the same time.
    fn share(&self, remaining: u64) -> u64 {
        let used = self.max_connections - self.connections.available_permits() as u64;
        remaining / used.max(1)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an empty buffer with the capacity of one range from the pool.
    pub(crate) fn buffer(&self) -> PooledBuffer {
        let mut buffer = self.buffers.take();
        buffer.bytes.clear();
        buffer.bytes.reserve_exact(usize::try_from(self.range_len).unwrap_or(0));
        buffer
    }

    /// Takes one more connection, or returns `None` if all are in use. Dropping the permit returns it.
    #[doc(hidden)]
    pub fn try_acquire_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::link::far;
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
        assert_eq!(busy, Some(Throughput::ParallelismSuffices));
        assert_eq!(meter.next_range_len(&options), options.range_len(), "others share the rest");
        let alone = sample(&mut meter, &options, 0);
        assert_eq!(alone, Some(Throughput::NeedsParallelism), "the others have ended");
    }

    #[test]
    fn unbuffered_range_len_distributes_remaining_bytes() {
        let (meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        let length = |remaining| meter.next_unbuffered_range_len(&options, remaining);
        assert_eq!(length(u64::MAX), options.range_len(), "nothing is known");
        *options.link() = far();
        let all = std::iter::from_fn(|| options.try_acquire_connection());
        let permits: Vec<_> = all.collect();
        assert_eq!(length(1 << 30), 16_000_000);
        assert_eq!(length(16 * 6_000_000), 6_000_000);
        assert_eq!(length(1), options.range_len());
        drop(permits);
        assert_eq!(length(12_000_000), 12_000_000, "a single connection");
    }

    #[test]
    fn meter_cached_answer_is_no_latency() {
        let (mut meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        meter.start_request();
        meter.record(1, Duration::ZERO, &options);
        meter.start_request();
        meter.record(1, Duration::from_millis(50), &options);
        meter.record(1_000_000, MIN_SAMPLE, &options);
        assert_eq!(meter.next_unbuffered_range_len(&options, 1 << 30), 16_000_000);
    }

    #[test]
    fn meter_busy_machine_is_no_fast_connection() {
        let (mut meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        meter.start_request();
        meter.record(1, Duration::from_millis(50), &options);
        let buffered = meter.record(2 << 20, Duration::from_millis(1), &options);
        assert_eq!(buffered, None);
        std::thread::sleep(Duration::from_millis(200));
        let throughput = meter.record(6 << 20, Duration::from_millis(1), &options);
        assert_eq!(throughput, Some(Throughput::ParallelismSuffices));
    }

    #[test]
    fn meter_for_large_blob_of_distant_source_needs_parallelism() {
        let options = RangeOptions::default();
        let throughput = |size| ThroughputMeter::for_blob(size, Some(&options)).throughput();
        assert_eq!(throughput(LARGE_BLOB), None, "nothing is known");
        options.observe_response(Duration::from_millis(50));
        assert_eq!(throughput(LARGE_BLOB), Some(Throughput::NeedsParallelism));
        assert_eq!(throughput(LARGE_BLOB - 1), None);
        assert_eq!(ThroughputMeter::for_blob(LARGE_BLOB, None).throughput(), None);
    }

    #[test]
    fn meter_late_fast_connection_saturates_link() {
        let (mut meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        let latency = Duration::from_secs(10);
        meter.start_request();
        meter.last_sample = Instant::now().checked_sub(latency).map(|then| (then, 0));
        meter.record(1, latency, &options);
        meter.record(1 << 30, Duration::from_micros(1), &options);
        assert_eq!(meter.throughput, Some(Throughput::SaturatesLink));
    }

    #[test]
    fn meter_measures_link() {
        let (mut meter, options) = (ThroughputMeter::default(), RangeOptions::default());
        meter.start_request();
        meter.record(1, Duration::from_millis(50), &options);
        meter.record(1_000_000, MIN_SAMPLE, &options);
        assert_eq!(meter.next_range_len(&options), options.range_len());
        assert_eq!(meter.next_unbuffered_range_len(&options, 1 << 30), 16_000_000);
    }
}
