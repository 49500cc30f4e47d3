//! Reading one blob in several parts at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How a source likes large blobs to be read: in parts, of which some are fetched ahead of the one
/// that is being handed out. Clones share the memory that is set apart for that.
#[derive(Debug, Clone)]
pub struct Parts {
    bytes: u64,
    at_once: usize,
    memory: Arc<Semaphore>,
}

impl Default for Parts {
    /// Parts of 4 MiB, six at once, and eight in memory.
    fn default() -> Self {
        Self::new(4 << 20, 6, 8)
    }
}

impl Parts {
    /// Parts of this many bytes, of which so many are read at once for one blob, and at most
    /// `ahead` are kept in memory for all blobs together.
    pub fn new(bytes: u64, at_once: usize, ahead: usize) -> Self {
        Self { bytes: bytes.max(1), at_once, memory: Arc::new(Semaphore::new(ahead)) }
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
