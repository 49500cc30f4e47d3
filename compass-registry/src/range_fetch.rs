//! Reading one blob in several parts at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::buffer_pool::{Recycled, Recycler};

/// How a source likes large blobs to be read: in parts, of which some are fetched ahead of the one
/// that is being handed out, where one connection alone is slow. Clones share the connections.
#[derive(Debug, Clone)]
pub struct RangeOptions {
    bytes: u64,
    fast: u64,
    connections: Arc<Semaphore>,
    /// Bytes that all connections together have brought.
    arrived: Arc<AtomicU64>,
    memory: Recycler,
}

/// How fast a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throughput {
    /// Others beside it would be in its way.
    SaturatesLink,
    /// Others beside it bring more.
    NeedsParallelism,
}

/// Finds out how fast a connection is. Only the time counts in which it was waited for: who takes
/// the bytes may be slower, and more connections would not help. Nor would they where the ones there
/// are bring as much as a machine takes: then this one waits for them.
#[derive(Debug, Clone, Default)]
pub struct ThroughputMeter {
    began: bool,
    bytes: u64,
    waited: Duration,
    /// When it was judged last, and what all connections together had brought by then.
    judged: Option<(Instant, u64)>,
    speed: Option<Throughput>,
}

/// Bytes that one connection carries where it is fast enough alone; then it is judged again.
const SEQUENTIAL_WINDOW: u64 = 64 << 20;

/// Waiting that tells something: a busy machine takes less for other things.
const MIN_SAMPLE: Duration = Duration::from_millis(25);

impl ThroughputMeter {
    /// How many bytes to ask for at once: a part where the connection is not known to be fast.
    pub fn next_range_len(&self, parts: &RangeOptions) -> u64 {
        match self.speed {
            Some(Throughput::SaturatesLink) => SEQUENTIAL_WINDOW,
            _ => parts.range_len(),
        }
    }

    /// Something is asked for: the next chunk waits for the answer.
    pub fn start_request(&mut self) {
        self.began = false;
    }

    /// Takes a chunk into account that was waited for, and says how fast the connection is, as far
    /// as that is known.
    pub fn record(
        &mut self,
        bytes: u64,
        waited: Duration,
        parts: &RangeOptions,
    ) -> Option<Throughput> {
        let arrived = parts.add_received(bytes);
        let (since, before) = *self.judged.get_or_insert_with(|| (Instant::now(), arrived));
        if !self.began {
            self.began = true;
            return self.speed;
        }
        self.bytes += bytes;
        self.waited += waited;
        let fast = is_faster(self.bytes, self.waited, parts.fast);
        // To be slow takes more waiting than a busy machine explains.
        let judged = self.waited >= MIN_SAMPLE || (fast && self.bytes >= parts.range_len() / 2);
        if judged {
            let took = since.elapsed().max(self.waited);
            let fast = fast || is_faster(arrived - before, took, LOCAL_LINK_BPS);
            self.speed =
                Some(if fast { Throughput::SaturatesLink } else { Throughput::NeedsParallelism });
            (self.bytes, self.waited) = (0, Duration::ZERO);
            self.judged = Some((Instant::now(), arrived));
        }
        self.speed
    }
}

/// Whether so many bytes are more than those a second.
fn is_faster(bytes: u64, took: Duration, bytes_per_second: u64) -> bool {
    u128::from(bytes) * 1_000_000 > u128::from(bytes_per_second) * took.as_micros()
}

/// Half a gigabit a second, in bytes: more than one connection makes of a long way.
const DEFAULT_SEQUENTIAL_BPS: u64 = 62_500_000;

/// Two gigabits a second, in bytes: a machine that takes so much is not helped by one more blob or
/// connection.
pub const LOCAL_LINK_BPS: u64 = 250_000_000;

impl Default for RangeOptions {
    /// Parts of 2 MiB over twelve connections.
    fn default() -> Self {
        Self::new(2 << 20, 12)
    }
}

impl RangeOptions {
    /// Parts of this many bytes over so many connections, for all blobs together. What is fetched
    /// ahead is kept in memory, so both also bound that.
    pub fn new(bytes: u64, connections: usize) -> Self {
        let connections = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self {
            bytes: bytes.max(1),
            fast: DEFAULT_SEQUENTIAL_BPS,
            connections,
            arrived: Arc::default(),
            memory: Recycler::default(),
        }
    }

    /// One connection that carries so many bytes a second is fast enough alone. It is half a
    /// gigabit where nothing is said.
    #[must_use]
    pub fn sequential_above(self, bytes_per_second: u64) -> Self {
        Self { fast: bytes_per_second, ..self }
    }

    /// Counts bytes that a connection has brought, and says how many all of them have.
    pub fn add_received(&self, bytes: u64) -> u64 {
        self.arrived.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Bytes of a part.
    pub fn range_len(&self) -> u64 {
        self.bytes
    }

    /// Empty memory for one part.
    pub(crate) fn memory(&self) -> Recycled {
        let mut memory = self.memory.take();
        memory.bytes.clear();
        memory.bytes.reserve_exact(usize::try_from(self.bytes).unwrap_or(0));
        memory
    }

    /// One more connection, where there is one. It is given back when it is dropped.
    pub fn try_acquire_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        pace: &mut ThroughputMeter,
        parts: &RangeOptions,
        meanwhile: u64,
    ) -> Option<Throughput> {
        pace.start_request();
        pace.record(1, Duration::ZERO, parts);
        parts.add_received(meanwhile);
        pace.record(1 << 20, MIN_SAMPLE, parts)
    }

    #[test]
    fn a_connection_is_slow_when_it_is_waited_for_and_no_other_brings_more() {
        let (mut pace, parts) = (ThroughputMeter::default(), RangeOptions::default());
        assert_eq!(judge(&mut pace, &parts, 0), Some(Throughput::NeedsParallelism));
    }

    #[test]
    fn a_connection_that_waits_for_others_which_fill_the_machine_is_not_slow() {
        let (mut pace, parts) = (ThroughputMeter::default(), RangeOptions::default());
        assert_eq!(judge(&mut pace, &parts, LOCAL_LINK_BPS), Some(Throughput::SaturatesLink));
        assert_eq!(
            judge(&mut pace, &parts, 0),
            Some(Throughput::NeedsParallelism),
            "the others are gone"
        );
    }
}
