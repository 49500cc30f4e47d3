//! How many blobs are worth fetching at once.
//!
//! A source that is near fills the machine with one blob alone: what comes in the order of the file
//! is hashed while it passes, and need not be read back. From one that is far, more come at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Two gigabits a second, in bytes: what comes faster is not helped by one blob more.
const ENOUGH: u64 = 250_000_000;

/// How long a large blob has to show how fast it comes.
const MOMENT: Duration = Duration::from_millis(50);

/// A blob that is too small to fill the machine.
const SMALL: u64 = 4 << 20;

/// Parts of blobs that are fetched before it is their turn: each connection takes memory of its own,
/// and what is not proven yet is fetched again after a run was killed.
const AHEAD: usize = 6;

/// Decides whether one more blob is fetched.
#[derive(Debug)]
pub(super) struct Appetite {
    most: usize,
    arrived: AtomicU64,
    /// Large blobs under way.
    large: AtomicUsize,
    looked: Mutex<Look>,
    ahead: Arc<Semaphore>,
}

/// What was seen last.
#[derive(Debug)]
struct Look {
    at: Instant,
    arrived: u64,
    /// Bytes a second.
    rate: u64,
    /// Whether a large blob has begun since.
    began_large: bool,
}

impl Appetite {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Self {
        let looked = Look { at: Instant::now(), arrived: 0, rate: 0, began_large: false };
        let (looked, ahead) = (Mutex::new(looked), Arc::new(Semaphore::new(AHEAD)));
        let (arrived, large) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { most: most.max(1), arrived, large, looked, ahead }
    }

    /// Room for one more part ahead, where there is some.
    pub(super) fn room_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.ahead).try_acquire_owned().ok()
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
        let mut look = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if !look.began_large {
            let arrived = self.arrived.load(Ordering::Relaxed);
            *look = Look { at: Instant::now(), arrived, began_large: true, ..*look };
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
        let mut look = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let took = look.at.elapsed();
        if took >= MOMENT {
            let arrived = self.arrived.load(Ordering::Relaxed);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
            let rate = (arrived - look.arrived).saturating_mul(1_000_000) / micros;
            *look = Look { at: Instant::now(), arrived, rate, began_large: false };
        }
        under_way < self.most && !look.began_large && look.rate < ENOUGH
    }

    /// Until it is worth asking again.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(MOMENT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_blobs_come_together_and_a_large_one_shows_first_how_fast_it_is() {
        let appetite = Appetite::new(3);
        assert!(appetite.is_there(0));
        appetite.began(100);
        assert!(appetite.is_there(1));
        appetite.began(SMALL + 1);
        assert!(!appetite.is_there(2));
        std::thread::sleep(MOMENT);
        assert!(appetite.is_there(2), "nothing has come: it is far away");
        assert!(!appetite.is_there(3), "three are the most");
    }

    #[test]
    fn what_comes_fast_comes_alone() {
        let appetite = Appetite::new(8);
        assert!(appetite.began(1 << 30), "it is alone");
        assert!(!appetite.began(1 << 30), "it is not");
        appetite.ended(1 << 30);
        std::thread::sleep(MOMENT);
        appetite.arrived(u64::from(u32::MAX));
        assert!(!appetite.is_there(1));
        assert!(appetite.is_there(0));
        std::thread::sleep(MOMENT);
        assert!(appetite.is_there(1), "it has become slow");
    }
}
