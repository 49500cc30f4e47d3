//! Reading one blob in several parts at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How a source likes large blobs to be read: in parts, of which some are fetched ahead of the one
/// that is being handed out, where one connection alone is slow. Clones share the memory that is set apart for that.
#[derive(Debug, Clone)]
pub struct Parts {
    bytes: u64,
    at_once: usize,
    fast: u64,
    memory: Arc<Semaphore>,
}

/// Half a gigabit a second, in bytes: more than one connection makes of a long way.
const HALF_A_GIGABIT: u64 = 62_500_000;

impl Default for Parts {
    /// Parts of 4 MiB, eight at once, and as many in memory.
    fn default() -> Self {
        Self::new(4 << 20, 8, 8)
    }
}

impl Parts {
    /// Parts of this many bytes, of which so many are read at once for one blob, and at most
    /// `ahead` are kept in memory for all blobs together.
    pub fn new(bytes: u64, at_once: usize, ahead: usize) -> Self {
        let memory = Arc::new(Semaphore::new(ahead));
        Self { bytes: bytes.max(1), at_once, fast: HALF_A_GIGABIT, memory }
    }

    /// One connection that carries so many bytes a second is fast enough alone. It is half a
    /// gigabit where nothing is said.
    #[must_use]
    pub fn unless_faster_than(self, bytes_per_second: u64) -> Self {
        Self { fast: bytes_per_second, ..self }
    }

    /// Whether a connection that carried so many bytes is fast enough alone.
    pub(crate) fn is_fast(&self, bytes: u64, took: Duration) -> bool {
        u128::from(bytes) * 1_000_000 > u128::from(self.fast) * took.as_micros()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn at_once(&self) -> usize {
        self.at_once
    }

    /// Room for one more part, where there is some.
    pub(crate) fn memory(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.memory).try_acquire_owned().ok()
    }
}
