//! Memory that is used again.

use std::sync::{Arc, Mutex, PoisonError};

/// Memory that nobody needs at the moment. Allocators keep more of what comes and goes on several
/// threads than is used, and fresh memory has to be cleared. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

/// Memory that goes back when everybody is done with it.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    pub(crate) bytes: Vec<u8>,
    pool: BufferPool,
}

impl BufferPool {
    /// Memory with whatever was left in it.
    pub(crate) fn take(&self) -> PooledBuffer {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        PooledBuffer { bytes: used.unwrap_or_default(), pool: self.clone() }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}
