//! A source that reads from any seekable reader.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::source::{BundleSource, read_error};
use crate::Error;

/// A source that reads from a [`Read`] and [`Seek`], such as a file or a `Cursor`.
///
/// The file is the content of the reader from its offset 0 on. Reads run on blocking threads, one at
/// a time; [`LocalFile`](super::LocalFile) reads concurrently.
///
/// # Cancellation
/// A read that was started runs to its end on its thread, and its result is dropped.
pub struct SeekSource<R> {
    name: String,
    size: u64,
    reader: Arc<Mutex<R>>,
}

impl<R: Read + Seek + Send + 'static> SeekSource<R> {
    /// Determines the size of the content by seeking to its end. This blocks.
    ///
    /// `name` is the name in messages.
    ///
    /// # Errors
    /// [`Error::Io`] if the reader cannot seek.
    pub fn new(name: impl Into<String>, mut reader: R) -> Result<Self, Error> {
        let name = name.into();
        let size = reader.seek(SeekFrom::End(0)).map_err(Error::io("seek in", name.as_ref()))?;
        Ok(Self { name, size, reader: Arc::new(Mutex::new(reader)) })
    }
}

impl<R> fmt::Debug for SeekSource<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The reader may have no `Debug`.
        let mut text = f.debug_struct("SeekSource");
        text.field("name", &self.name).field("size", &self.size).finish_non_exhaustive()
    }
}

#[async_trait]
impl<R: Read + Seek + Send + 'static> BundleSource for SeekSource<R> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let reader = Arc::clone(&self.reader);
        let read = spawn_blocking(move || {
            let size = range.end.saturating_sub(range.start);
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            // Every read seeks first, so that a panic of another read has no effect.
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.seek(SeekFrom::Start(range.start))?;
            reader.read_exact(&mut bytes)?;
            Ok(Bytes::from(bytes))
        });
        let read = read.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)));
        read.map_err(|error| read_error(self, error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, ErrorKind};

    use super::*;

    async fn read_in_ranges(source: &dyn BundleSource) {
        assert_eq!(source.size(), 1000);
        let content: Vec<u8> = (0..1000).map(|n: u32| n.to_le_bytes()[0]).collect();
        for range in [0..1000, 999..1000, 10..20, 0..1, 500..500] {
            let bytes = source.read(range.clone()).await.unwrap();
            let start = usize::try_from(range.start).unwrap();
            assert_eq!(bytes, content[start..usize::try_from(range.end).unwrap()]);
        }
    }

    fn assert_is_short(read: &Result<Bytes, Error>) {
        let Err(Error::Io { source, .. }) = read else { panic!("{read:?}") };
        assert_eq!(source.kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn sources_return_exact_ranges() {
        let content: Vec<u8> = (0..1000).map(|n: u32| n.to_le_bytes()[0]).collect();
        read_in_ranges(&Bytes::from(content.clone())).await;
        read_in_ranges(&SeekSource::new("cursor", Cursor::new(content)).unwrap()).await;
    }

    #[tokio::test]
    async fn sources_short_content_is_error() {
        let bytes = Bytes::from_static(b"0123456789");
        assert_is_short(&bytes.read(5..11).await);
        assert_is_short(&bytes.read(11..12).await);
        let source = SeekSource::new("cursor", Cursor::new(bytes)).unwrap();
        assert_is_short(&source.read(5..11).await);
        assert_eq!(source.read(5..10).await.unwrap(), "56789");
    }

    #[tokio::test]
    async fn seek_source_shrunk_reader_is_error() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"0123456789").unwrap();
        let source = SeekSource::new("file", file.try_clone().unwrap()).unwrap();
        file.set_len(5).unwrap();
        assert_is_short(&source.read(0..10).await);
    }
}
