//! How many blobs are worth fetching at once.
//!
//! A source that is near fills the machine with one blob alone: what comes in the order of the file
//! is hashed while it passes, and need not be read back. From one that is far, more come at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use compass_registry::range_fetch::LOCAL_LINK_BPS;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long each blob is waited for until it is known how fast they come.
const MOMENT: Duration = Duration::from_millis(25);

/// A blob that is too small to fill the machine.
const SMALL: u64 = 4 << 20;

/// Parts of blobs that are fetched before it is their turn: each connection takes memory of its own,
/// and what is not proven yet is fetched again after a run was killed.
const AHEAD: usize = 9;

/// Decides whether one more blob is fetched.
#[derive(Debug)]
pub(super) struct Appetite {
    most: usize,
    arrived: AtomicU64,
    /// Large blobs under way.
    large: AtomicUsize,
    waits: Mutex<Waits>,
    ahead: Arc<Semaphore>,
}

/// What was waited for since the last look. Only that tells how fast the source is: the rest of the
/// time went to the hash and the disk.
#[derive(Debug)]
struct Waits {
    /// Blobs that are being waited for now.
    waiting: u32,
    /// All waiting up to this moment, of all blobs together.
    waited: Duration,
    counted: Instant,
    /// Bytes that had arrived at the last look.
    arrived: u64,
    /// Bytes a second, as they were then.
    rate: u64,
    /// Whether a large blob has begun since.
    began_large: bool,
}

impl Waits {
    fn count(&mut self) {
        let now = Instant::now();
        self.waited += (now - self.counted) * self.waiting;
        self.counted = now;
    }
}

/// Somebody waits until this is dropped.
struct Waiting<'a>(&'a Appetite);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.waits();
        waits.count();
        waits.waiting -= 1;
    }
}

impl Appetite {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Self {
        let waits = Waits {
            waiting: 0,
            waited: Duration::ZERO,
            counted: Instant::now(),
            arrived: 0,
            rate: 0,
            began_large: false,
        };
        Self {
            most: most.max(1),
            arrived: AtomicU64::new(0),
            large: AtomicUsize::new(0),
            waits: Mutex::new(waits),
            ahead: Arc::new(Semaphore::new(AHEAD)),
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more part ahead, where there is some.
    pub(super) fn room_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.ahead).try_acquire_owned().ok()
    }

    /// Waits for what a source brings of one blob.
    pub(super) async fn wait<T>(&self, arrival: impl Future<Output = T>) -> T {
        let waiting = {
            let mut waits = self.waits();
            waits.count();
            waits.waiting += 1;
            Waiting(self)
        };
        let arrived = arrival.await;
        drop(waiting);
        arrived
    }

    /// So many bytes have come.
    pub(super) fn arrived(&self, bytes: u64) {
        self.arrived.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A blob of this size is being fetched. Says whether it is the only large one.
    pub(super) fn began(&self, size: u64) -> bool {
        if size <= SMALL {
            return false;
        }
        let mut waits = self.waits();
        if !waits.began_large {
            waits.count();
            waits.waited = Duration::ZERO;
            waits.arrived = self.arrived.load(Ordering::Relaxed);
            waits.began_large = true;
        }
        self.large.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// A blob of this size has come.
    pub(super) fn ended(&self, size: u64) {
        if size > SMALL {
            self.large.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether one more is worth it beside those that are under way.
    pub(super) fn is_there(&self, under_way: usize) -> bool {
        if under_way == 0 {
            return true;
        }
        let blobs = u32::try_from(under_way).unwrap_or(u32::MAX);
        let mut waits = self.waits();
        waits.count();
        if waits.waited >= MOMENT.saturating_mul(blobs) {
            let arrived = self.arrived.load(Ordering::Relaxed);
            let each = u64::try_from((waits.waited / blobs).as_micros()).unwrap_or(u64::MAX);
            waits.rate = (arrived - waits.arrived).saturating_mul(1_000_000) / each.max(1);
            (waits.arrived, waits.waited) = (arrived, Duration::ZERO);
            waits.began_large = false;
        }
        under_way < self.most && !waits.began_large && waits.rate < LOCAL_LINK_BPS
    }

    /// Until it is worth asking again.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(MOMENT).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn small_blobs_come_together_and_a_large_one_shows_first_how_fast_it_is() {
        let appetite = Appetite::new(3);
        assert!(appetite.is_there(0));
        appetite.began(100);
        assert!(appetite.is_there(1));
        appetite.began(SMALL + 1);
        assert!(!appetite.is_there(2));
        appetite.wait(sleep(2 * MOMENT)).await;
        assert!(appetite.is_there(2), "nothing has come: it is far away");
        assert!(!appetite.is_there(3), "three are the most");
    }

    #[tokio::test]
    async fn what_comes_fast_comes_alone() {
        let appetite = Appetite::new(8);
        assert!(appetite.began(1 << 30), "it is alone");
        assert!(!appetite.began(1 << 30), "it is not");
        appetite.ended(1 << 30);
        appetite.wait(sleep(MOMENT)).await;
        appetite.arrived(u64::from(u32::MAX));
        assert!(!appetite.is_there(1));
        assert!(appetite.is_there(0));
        appetite.wait(sleep(MOMENT)).await;
        assert!(appetite.is_there(1), "it has become slow");
    }

    #[tokio::test]
    async fn a_slow_disk_does_not_make_a_source_slow() {
        let appetite = Appetite::new(8);
        appetite.began(1 << 30);
        appetite.wait(sleep(MOMENT / 5)).await;
        appetite.arrived(1 << 30);
        sleep(10 * MOMENT).await;
        assert!(!appetite.is_there(1));
    }
}
