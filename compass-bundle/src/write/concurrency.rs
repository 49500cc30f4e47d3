//! Decides how many blobs are fetched at once.
//!
//! A near source saturates the machine with one blob, and the file is hashed in order, so that blobs
//! that arrive early wait. A distant source needs several at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use compass_registry::internal::LOCAL_LINK_BPS;

/// The average wait per blob after which a sample of the source's throughput is taken.
const MIN_SAMPLE: Duration = Duration::from_millis(25);

/// The size of a blob in bytes up to which it cannot saturate the machine.
const SMALL_BLOB: u64 = 4 << 20;

/// Decides whether one more blob is fetched, from the throughput of the source.
#[derive(Debug)]
pub(super) struct AdaptiveConcurrency {
    max: usize,
    received: AtomicU64,
    waits: Mutex<WaitStats>,
}

/// The time that was spent waiting for the source since the last sample. Time for hashing and for
/// the disk is excluded, because it does not depend on the source.
#[derive(Debug)]
struct WaitStats {
    /// Number of blobs that are waited for now.
    waiting: u32,
    /// The waits of all blobs, added up to `counted`.
    waited: Duration,
    counted: Instant,
    /// Bytes that had been received at the last sample.
    received: u64,
    /// Bytes per second in the last sample.
    rate: u64,
    /// Whether a large blob was started since the last sample.
    started_large: bool,
}

impl WaitStats {
    fn count(&mut self) {
        let now = Instant::now();
        self.waited += (now - self.counted) * self.waiting;
        self.counted = now;
    }
}

/// A wait for the source that ends when this is dropped.
struct Wait<'a>(&'a AdaptiveConcurrency);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.waits();
        waits.count();
        waits.waiting -= 1;
    }
}

impl AdaptiveConcurrency {
    /// Creates the state for at most `max` blobs at once.
    pub(super) fn new(max: usize) -> Self {
        let waits = WaitStats {
            waiting: 0,
            waited: Duration::ZERO,
            counted: Instant::now(),
            received: 0,
            rate: 0,
            started_large: false,
        };
        Self { max: max.max(1), received: AtomicU64::new(0), waits: Mutex::new(waits) }
    }

    fn waits(&self) -> MutexGuard<'_, WaitStats> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits bytes of one blob and counts the time as a wait for the source.
    pub(super) async fn time_wait<T>(&self, bytes: impl Future<Output = T>) -> T {
        let wait = {
            let mut waits = self.waits();
            waits.count();
            waits.waiting += 1;
            Wait(self)
        };
        let received = bytes.await;
        drop(wait);
        received
    }

    /// Counts received bytes.
    pub(super) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a blob of this size as in flight.
    pub(super) fn started(&self, size: u64) {
        if size <= SMALL_BLOB {
            return;
        }
        let mut waits = self.waits();
        if !waits.started_large {
            waits.count();
            waits.waited = Duration::ZERO;
            waits.received = self.received.load(Ordering::Relaxed);
            waits.started_large = true;
        }
    }

    /// Returns whether to start one more blob in addition to those in flight.
    pub(super) fn may_start(&self, in_flight: usize) -> bool {
        if in_flight == 0 {
            return true;
        }
        let blobs = u32::try_from(in_flight).unwrap_or(u32::MAX);
        let mut waits = self.waits();
        waits.count();
        if waits.waited >= MIN_SAMPLE.saturating_mul(blobs) {
            let received = self.received.load(Ordering::Relaxed);
            let each = u64::try_from((waits.waited / blobs).as_micros()).unwrap_or(u64::MAX);
            waits.rate = (received - waits.received).saturating_mul(1_000_000) / each.max(1);
            (waits.received, waits.waited) = (received, Duration::ZERO);
            waits.started_large = false;
        }
        in_flight < self.max && !waits.started_large && waits.rate < LOCAL_LINK_BPS
    }

    /// Waits until the next sample may be complete.
    pub(super) async fn next_sample(&self) {
        tokio::time::sleep(MIN_SAMPLE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn may_start_slow_source_is_true_up_to_max() {
        let concurrency = AdaptiveConcurrency::new(3);
        assert!(concurrency.may_start(0));
        concurrency.started(100);
        assert!(concurrency.may_start(1));
        concurrency.started(SMALL_BLOB + 1);
        assert!(!concurrency.may_start(2), "a large blob is measured alone");
        concurrency.time_wait(sleep(2 * MIN_SAMPLE)).await;
        assert!(concurrency.may_start(2), "no bytes were received: the source is slow");
        assert!(!concurrency.may_start(3), "the maximum");
    }

    #[tokio::test]
    async fn may_start_fast_source_is_false() {
        let concurrency = AdaptiveConcurrency::new(8);
        concurrency.started(1 << 30);
        concurrency.time_wait(sleep(MIN_SAMPLE)).await;
        concurrency.add_received(u64::from(u32::MAX));
        assert!(!concurrency.may_start(1));
        assert!(concurrency.may_start(0));
        concurrency.time_wait(sleep(MIN_SAMPLE)).await;
        assert!(concurrency.may_start(1), "the source became slow");
    }

    #[tokio::test]
    async fn may_start_slow_disk_is_not_slow_source() {
        let concurrency = AdaptiveConcurrency::new(8);
        concurrency.started(1 << 30);
        concurrency.time_wait(sleep(MIN_SAMPLE / 5)).await;
        concurrency.add_received(1 << 30);
        sleep(10 * MIN_SAMPLE).await;
        assert!(!concurrency.may_start(1));
    }
}
