//! Reading one blob in several parts at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How a source likes large blobs to be read: in parts, of which some are fetched ahead of the one
/// that is being handed out, where one connection alone is slow. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Parts {
    bytes: u64,
    fast: u64,
    connections: Arc<Semaphore>,
}

/// Half a gigabit a second, in bytes: more than one connection makes of a long way.
const HALF_A_GIGABIT: u64 = 62_500_000;

impl Default for Parts {
    /// Parts of 2 MiB over twelve connections.
    fn default() -> Self {
        Self::new(2 << 20, 12)
    }
}

impl Parts {
    /// Parts of this many bytes over so many connections, for all blobs together. What is fetched
    /// ahead is kept in memory, so both also bound that.
    pub fn new(bytes: u64, connections: usize) -> Self {
        let connections = Arc::new(Semaphore::new(connections));
        Self { bytes: bytes.max(1), fast: HALF_A_GIGABIT, connections }
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

    /// One more connection, where there is one.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }
}
