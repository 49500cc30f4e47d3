//! Adapts the number of concurrent blob transfers to their durations.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The limit at the start. The limit does not shrink below this number, unless the maximum is
/// smaller.
const INITIAL_LIMIT: usize = 8;

/// The size in bytes below which blobs form one size class.
/// Round trips dominate the duration of such transfers.
const SMALL_BLOB: u64 = 64 << 10;

/// The number of size classes. Sizes in one class differ by about a factor of two.
const SIZE_CLASSES: usize = 48;

/// A limit on concurrent transfers that grows while this raises the throughput.
///
/// If a transfer takes about as long as the fastest one of its size, the link and both ends have
/// capacity left, and the limit grows by one. The limit thus doubles within the duration of one
/// transfer. If a transfer takes more than twice as long, it competes with the others for bandwidth
/// or for the registry, or the registry rejected requests; the limit then shrinks by one. TCP Vegas
/// uses the same signal.
pub(super) struct AdaptiveConcurrency {
    max: usize,
    permits: Semaphore,
    state: Mutex<State>,
}

/// The permission to transfer one blob.
pub(super) struct TransferPermit<'c> {
    concurrency: &'c AdaptiveConcurrency,
    permit: Option<SemaphorePermit<'c>>,
    size: u64,
    started: Instant,
}

struct State {
    limit: usize,
    /// The shortest duration of a transfer, by size class.
    fastest: [Option<Duration>; SIZE_CLASSES],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adjustment {
    Grow,
    Keep,
    Shrink,
}

impl AdaptiveConcurrency {
    /// Limits transfers to at most `max`, and at least one.
    pub(super) fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        let limit = INITIAL_LIMIT.min(max);
        let state = Mutex::new(State { limit, fastest: [None; SIZE_CLASSES] });
        Self { max, permits: Semaphore::new(limit), state }
    }

    /// Waits for the permission to transfer a blob of `size` bytes.
    pub(super) async fn acquire(&self, size: u64) -> TransferPermit<'_> {
        // The semaphore is never closed, so that there is always a permit.
        let permit = self.permits.acquire().await.ok();
        TransferPermit { concurrency: self, permit, size, started: Instant::now() }
    }
}

impl TransferPermit<'_> {
    /// Records that the transfer succeeded, and adjusts the limit to its duration.
    /// A transfer that fails or is cancelled only releases its permit.
    pub(super) fn finished(self) {
        let AdaptiveConcurrency { max, permits, state } = self.concurrency;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.observe(self.size, self.started.elapsed()) {
            Adjustment::Grow if state.limit < *max => {
                state.limit += 1;
                permits.add_permits(1);
            }
            Adjustment::Shrink if state.limit > INITIAL_LIMIT => {
                state.limit -= 1;
                self.permit.into_iter().for_each(SemaphorePermit::forget);
            }
            _ => {}
        }
    }
}

impl State {
    /// Compares the duration of a transfer with the shortest one of its size class.
    fn observe(&mut self, size: u64, duration: Duration) -> Adjustment {
        let class = (size / SMALL_BLOB + 1).ilog2() as usize;
        let fastest = &mut self.fastest[class.min(SIZE_CLASSES - 1)];
        let known = fastest.replace(fastest.map_or(duration, |known| known.min(duration)));
        match known {
            Some(known) if duration <= known * 3 / 2 => Adjustment::Grow,
            Some(known) if duration > known * 2 => Adjustment::Shrink,
            _ => Adjustment::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn limit(concurrency: &AdaptiveConcurrency) -> usize {
        concurrency.state.lock().unwrap().limit
    }

    /// Transfers `blobs` blobs of 1 MiB as concurrently as the limit allows.
    async fn transfer(
        concurrency: &AdaptiveConcurrency,
        blobs: usize,
        duration: impl Fn(usize) -> Duration,
    ) {
        let transfers = (0..blobs).map(async |_| {
            let permit = concurrency.acquire(MIB).await;
            tokio::time::sleep(duration(limit(concurrency))).await;
            permit.finished();
        });
        futures_util::future::join_all(transfers).await;
    }

    #[tokio::test(start_paused = true)]
    async fn limit_constant_duration_grows_to_maximum() {
        let concurrency = AdaptiveConcurrency::new(40);
        transfer(&concurrency, 200, |_| Duration::from_millis(150)).await;
        assert_eq!(limit(&concurrency), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_saturated_link_stays_near_start() {
        let concurrency = AdaptiveConcurrency::new(64);
        let shared = |in_flight| Duration::from_millis(10 * u64::try_from(in_flight).unwrap());
        transfer(&concurrency, 1000, shared).await;
        assert!((INITIAL_LIMIT..=2 * INITIAL_LIMIT).contains(&limit(&concurrency)));
    }

    #[tokio::test(start_paused = true)]
    async fn limit_slower_registry_shrinks_to_start() {
        let concurrency = AdaptiveConcurrency::new(32);
        transfer(&concurrency, 100, |_| Duration::from_millis(100)).await;
        transfer(&concurrency, 100, |_| Duration::from_millis(900)).await;
        assert_eq!(limit(&concurrency), INITIAL_LIMIT);
        assert_eq!(concurrency.permits.available_permits(), INITIAL_LIMIT);
    }

    #[test]
    fn limit_small_maximum_is_kept() {
        let concurrency = AdaptiveConcurrency::new(1);
        assert_eq!((limit(&concurrency), concurrency.permits.available_permits()), (1, 1));
    }

    #[test]
    fn observe_ignores_other_size_classes() {
        let mut state = State { limit: 8, fastest: [None; SIZE_CLASSES] };
        let second = Duration::from_secs(1);
        assert_eq!(state.observe(100, second / 100), Adjustment::Keep);
        assert_eq!(state.observe(u64::MAX, second), Adjustment::Keep);
        assert_eq!(state.observe(SMALL_BLOB - 1, second / 100), Adjustment::Grow);
        assert_eq!(state.observe(0, second), Adjustment::Shrink);
    }
}
