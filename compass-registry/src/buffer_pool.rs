//! A pool of reusable buffers.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that are not in use. Reusing them avoids clearing memory, and allocating it, which is
/// slow for memory that moves between threads. Clones share the buffers.
#[derive(Debug, Clone, Default)]
pub struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that returns to its pool on drop.
#[derive(Debug)]
pub struct PooledBuffer {
    /// The content.
    pub bytes: Vec<u8>,
    pool: BufferPool,
}

impl BufferPool {
    /// Takes a buffer with arbitrary content, or a new one.
    pub fn take(&self) -> PooledBuffer {
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
