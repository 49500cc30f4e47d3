//! The memory of the parts that are read and sent. It is limited in bytes.

use std::sync::Arc;

use bytes::Bytes;
use compass_registry::internal::{BufferPool, PooledBuffer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::BODY_CHUNK;
use super::part_layout::MIN_PART;

/// The memory of all parts of a process in bytes. Large blobs are cut into parts of about 5 MiB, so
/// that three of them are sent while the next one is read.
const MAX_MEMORY: u64 = 24 << 20;

/// The largest part that is kept in memory, in bytes. Two of them fit.
pub(super) const MAX_IN_MEMORY: u64 = 2 * MIN_PART;

/// The memory of the parts of an upload. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct PartMemory {
    pool: BufferPool,
    /// A permit for each chunk.
    chunks: Arc<Semaphore>,
    /// The number of permits of a part that is in a file.
    chunks_of_file: u32,
}

/// The memory of one part. It is available to other parts when all clones are dropped.
#[derive(Debug, Clone)]
pub(super) struct Reserved {
    /// `None` only if the semaphore was closed, which does not happen.
    _chunks: Option<Arc<OwnedSemaphorePermit>>,
}

/// The bytes of a part in chunks of [`BODY_CHUNK`].
pub(super) struct ChunkedBytes {
    pool: BufferPool,
    complete: Vec<Bytes>,
    current: Option<PooledBuffer>,
}

impl PartMemory {
    /// Creates the memory of an upload that sends at most `concurrent_files` parts from files at once.
    pub(super) fn new(concurrent_files: u32) -> Self {
        let chunks = u32::try_from(MAX_MEMORY / BODY_CHUNK).unwrap_or(u32::MAX);
        Self {
            pool: BufferPool::default(),
            chunks: Arc::new(Semaphore::new(chunks as usize)),
            chunks_of_file: chunks / concurrent_files.max(1),
        }
    }

    /// Waits until a part of this size fits into the memory.
    ///
    /// A caller must not wait while it keeps parts that it could pass on to be sent.
    pub(super) async fn reserve(&self, size: u64) -> Reserved {
        self.acquire(u32::try_from(size.div_ceil(BODY_CHUNK)).unwrap_or(u32::MAX)).await
    }

    /// Waits until another part from a file may be sent.
    pub(super) async fn reserve_file(&self) -> Reserved {
        self.acquire(self.chunks_of_file).await
    }

    async fn acquire(&self, chunks: u32) -> Reserved {
        let permit = Arc::clone(&self.chunks).acquire_many_owned(chunks).await;
        Reserved { _chunks: permit.ok().map(Arc::new) }
    }

    /// Creates a buffer for a part whose memory was reserved.
    pub(super) fn buffer(&self) -> ChunkedBytes {
        ChunkedBytes { pool: self.pool.clone(), complete: Vec::new(), current: None }
    }
}

impl ChunkedBytes {
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let length = usize::try_from(BODY_CHUNK).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            let chunk = self.current.get_or_insert_with(|| {
                let mut chunk = self.pool.take();
                chunk.bytes.clear();
                chunk.bytes.reserve_exact(length);
                chunk
            });
            let (now, later) = bytes.split_at(bytes.len().min(length - chunk.bytes.len()));
            chunk.bytes.extend_from_slice(now);
            bytes = later;
            if chunk.bytes.len() == length {
                self.complete.extend(self.current.take().map(Bytes::from_owner));
            }
        }
    }

    /// Returns the chunks. All but the last one have [`BODY_CHUNK`] bytes.
    pub(super) fn finish(mut self) -> Arc<[Bytes]> {
        self.complete.extend(self.current.take().map(Bytes::from_owner));
        self.complete.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_bytes_keeps_order() {
        let bytes: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let memory = PartMemory::new(1);
        let mut buffer = memory.buffer();
        for part in bytes.chunks(99_999) {
            buffer.push(part);
        }
        let chunks = buffer.finish();
        assert_eq!(chunks.concat(), bytes);
        let (last, full) = chunks.split_last().unwrap();
        assert!(full.iter().all(|chunk| chunk.len() as u64 == BODY_CHUNK) && !last.is_empty());
    }

    #[tokio::test]
    async fn reserve_waits_for_memory() {
        let memory = PartMemory::new(2);
        let (large, file) = (memory.reserve(MAX_IN_MEMORY).await, memory.reserve_file().await);
        let third = memory.reserve(MIN_PART);
        assert!(futures_util::FutureExt::now_or_never(third).is_none());
        drop((large.clone(), file));
        memory.reserve(MIN_PART).await;
        drop(large);
        memory.reserve(MAX_MEMORY).await;
    }
}
