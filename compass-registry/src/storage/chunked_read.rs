//! Reads files in chunks.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::coop::consume_budget;
use tokio::task::spawn_blocking;

use crate::buffer_pool::BufferPool;
use crate::{ByteStream, Error};

/// Bytes per chunk; small enough to stay in the CPU cache.
const CHUNK: usize = 64 << 10;

/// Bytes per chunk of the first readers. Larger chunks are faster; the limit bounds their memory.
const CHUNK_OF_FEW: usize = 128 << 10;

/// The number of readers with larger chunks.
const FEW_READERS: usize = 16;

/// Reads files in chunks. Clones share the number of their readers.
#[derive(Debug, Clone, Default)]
pub struct ChunkReader {
    readers: Arc<AtomicUsize>,
}

impl ChunkReader {
    /// Reads a range of a file, up to the end of the file at most.
    pub(crate) async fn open(&self, path: PathBuf, range: Range<u64>) -> Result<ByteStream, Error> {
        let opened = path.clone();
        let open = move || -> io::Result<_> {
            let file = File::open(opened)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let opened = spawn_blocking(open).await.map_err(io::Error::from).flatten();
        let (file, size) = opened.map_err(|error| failed(&path, error))?;
        Ok(self.stream(Arc::new(file), path, range.start..range.end.min(size)))
    }

    /// Reads a range of an open file; `path` names it in errors.
    ///
    /// The stream yields [`Error::Io`] if the file is shorter than the range.
    pub fn stream(&self, file: Arc<File>, path: PathBuf, range: Range<u64>) -> ByteStream {
        let chunk = match self.readers.fetch_add(1, Ordering::Relaxed) {
            ..FEW_READERS => CHUNK_OF_FEW,
            _ => CHUNK,
        };
        let readers = Arc::clone(&self.readers);
        let reader = Reader { readers, file, rest: range, chunk, memory: BufferPool::default() };
        let pieces = stream::try_unfold(reader, move |reader| {
            let path = path.clone();
            async move { reader.next().await.map_err(|error| failed(&path, error)) }
        });
        pieces.boxed()
    }
}

struct Reader {
    readers: Arc<AtomicUsize>,
    file: Arc<File>,
    rest: Range<u64>,
    /// Bytes per chunk.
    chunk: usize,
    memory: BufferPool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reader {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let (start, end) = (self.rest.start, self.rest.end);
        let size = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX).min(self.chunk);
        if size == 0 {
            return Ok(None);
        }
        // Reads from the page cache do not yield, so give other tasks their turn.
        consume_budget().await;
        let mut memory = self.memory.take();
        memory.bytes.resize(memory.bytes.len().max(size), 0);
        if !read_cached(&self.file, &mut memory.bytes[..size], start) {
            let file = Arc::clone(&self.file);
            let read = spawn_blocking(move || {
                file.read_exact_at(&mut memory.bytes[..size], start)?;
                Ok::<_, io::Error>(memory)
            });
            memory = read.await??;
        }
        self.rest.start += size as u64;
        Ok(Some((Bytes::from_owner(memory).slice(..size), self)))
    }
}

/// Reads from the page cache only; returns `false` if any byte is missing. Only reads from the disk
/// are worth another thread.
fn read_cached(file: &File, memory: &mut [u8], offset: u64) -> bool {
    let size = memory.len();
    let read = preadv2(file, &mut [IoSliceMut::new(memory)], offset, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|count| count == size)
}

fn failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { what: path.display().to_string() },
        kind @ io::ErrorKind::UnexpectedEof => {
            let error = io::Error::new(kind, "the file is shorter than expected: it was truncated");
            Error::io(format!("cannot read {}", path.display()), error)
        }
        _ => Error::io(format!("cannot read {}", path.display()), error),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    async fn part(path: &Path, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let pieces: Vec<_> =
            ChunkReader::default().open(path.to_owned(), range).await?.try_collect().await?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn open_range_stops_at_file_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        let content: Vec<u8> = (0..=3 * CHUNK).map(|n| (n / 7).to_le_bytes()[0]).collect();
        std::fs::write(&path, &content).unwrap();
        let size = content.len() as u64;
        for (from, to) in [(0, size), (5, 6), (1, CHUNK as u64 + 1), (size - 1, u64::MAX), (9, 9)] {
            let at = |offset: u64| usize::try_from(offset.min(size)).unwrap();
            assert!(part(&path, from..to).await.unwrap() == content[at(from)..at(to)], "{from}");
        }
        assert!(part(&path, size + 1..u64::MAX).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn open_incomplete_file_fails() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        assert!(matches!(part(&path, 0..1).await, Err(Error::NotFound { .. })));
        std::fs::write(&path, vec![1; 4 * CHUNK]).unwrap();
        let mut pieces = ChunkReader::default().open(path.clone(), 0..u64::MAX).await.unwrap();
        assert!(pieces.next().await.unwrap().is_ok());
        File::options().write(true).open(&path).unwrap().set_len(CHUNK as u64).unwrap();
        assert!(pieces.any(async |piece| piece.is_err()).await);
    }
}
