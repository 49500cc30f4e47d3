//! The sources that bundles are read from.

use std::fmt::Debug;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::Digest;
use compass_registry::internal::ChunkReader;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::checksum::read_checksum;
use crate::Error;

/// Bytes per read of a stream, by default. Every read of a remote file is a request.
const STREAM_PART: u64 = 4 << 20;

/// A file that is read in ranges, locally or remotely.
///
/// Implementations: [`LocalFile`], [`Bytes`] in memory, and
/// [`SeekSource`](super::SeekSource) for readers of the standard library. `store::open_source`
/// opens files at URLs.
///
/// # Contract
/// [`read`](Self::read) returns exactly the bytes of the range; readers report fewer or more as
/// [`Error::Io`]. The file does not change while it is open.
///
/// # Cancellation
/// Futures may be dropped at any time. They hold no state that a later call needs.
///
/// # Retries
/// The implementation retries; readers report the first error.
#[async_trait]
pub trait BundleSource: Debug + Send + Sync {
    /// The path or URL, for messages.
    fn name(&self) -> String;

    /// The size in bytes.
    fn size(&self) -> u64;

    /// Reads a range, which is within the file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Store`] if the bytes cannot be read.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error>;

    /// Reads a range, which is within the file, in order.
    ///
    /// The default implementation calls [`read`](Self::read) for parts of 4 MiB. Sources that can
    /// return bytes as they arrive take less memory.
    fn read_stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>>
    where
        Self: 'static,
    {
        let parts = stream::try_unfold((self, range), |(source, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let next = range.end.min(range.start + STREAM_PART);
            let bytes = source.read(range.start..next).await?;
            if bytes.len() as u64 != next - range.start {
                return Err(wrong_length(&source.name(), bytes.len(), next - range.start));
            }
            Ok(Some((bytes, (source, next..range.end))))
        });
        parts.boxed()
    }

    /// The digest in the `.sha256` beside the file, if there is one.
    ///
    /// # Errors
    /// [`Error::InvalidChecksum`] if it does not name the file.
    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        Ok(None)
    }

    /// Returns the local file, if this is one. Local files are verified by several threads.
    fn local(&self) -> Option<&LocalFile> {
        None
    }
}

/// Reads a range and checks that the source returned all of it.
///
/// # Errors
/// [`Error::Io`] if it returned fewer or more bytes, and the errors of the source.
pub(crate) async fn read_exact(
    source: &dyn BundleSource,
    range: Range<u64>,
) -> Result<Bytes, Error> {
    let expected = range.end.saturating_sub(range.start);
    let bytes = source.read(range).await?;
    if bytes.len() as u64 == expected {
        return Ok(bytes);
    }
    Err(wrong_length(&source.name(), bytes.len(), expected))
}

fn wrong_length(name: &str, length: usize, expected: u64) -> Error {
    let message = format!("the source returned {length} bytes instead of {expected}");
    let error = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message);
    Error::io("read", Path::new(name))(error)
}

/// Creates the error of a failed read, which names the source.
pub(super) fn read_error(source: &dyn BundleSource, error: std::io::Error) -> Error {
    Error::io("read", Path::new(&source.name()))(error)
}

/// Bytes in memory, named `memory` in messages.
#[async_trait]
impl BundleSource for Bytes {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let part = part_of(&(0, self.clone()), &range);
        part.ok_or_else(|| read_error(self, std::io::ErrorKind::UnexpectedEof.into()))
    }
}

/// A local file.
#[derive(Debug, Clone)]
pub struct LocalFile {
    file: Arc<File>,
    reader: ChunkReader,
    path: PathBuf,
    size: u64,
    /// The time of the last change before the file was opened.
    changed: (i64, i64),
}

impl LocalFile {
    /// Opens a file. This blocks.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened, [`Error::NotABundle`] if it is not a regular file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("open", path))?;
        if metadata.is_dir() {
            let name = path.display();
            let reason = format!(
                "it is a directory: archive it (`tar -C {name} -cf IMAGE.tar .`) and use the archive"
            );
            return Err(Error::not_a_bundle(name, reason));
        }
        if !metadata.is_file() {
            return Err(Error::not_a_bundle(path.display(), "it is not a file"));
        }
        Ok(Self::new(file, path.to_owned(), &metadata))
    }

    /// Creates the reader of a temporary file without a name. This blocks.
    #[cfg(feature = "store")]
    pub(crate) fn unnamed(file: File) -> Result<Self, Error> {
        let path = std::env::temp_dir();
        let metadata = file.metadata().map_err(Error::io("open a file in", &path))?;
        Ok(Self::new(file, path, &metadata))
    }

    fn new(file: File, path: PathBuf, metadata: &Metadata) -> Self {
        let (size, changed) = (metadata.len(), change_time(metadata));
        Self { file: Arc::new(file), reader: ChunkReader::default(), path, size, changed }
    }

    /// Whether the file has the size and the time of its last change that it had when it was opened.
    pub(crate) fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        now.is_ok_and(|now| now.len() == self.size && change_time(&now) == self.changed)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads bytes into `buffer`. This blocks.
    pub(crate) fn read_into(&self, buffer: &mut Vec<u8>, range: Range<u64>) -> Result<(), Error> {
        buffer.resize(usize::try_from(range.end - range.start).unwrap_or_default(), 0);
        let read = self.file.read_exact_at(buffer, range.start);
        read.map_err(Error::io("read", &self.path))
    }
}

/// The time of the last change of a file or of its times, which no program can set.
fn change_time(metadata: &Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}

#[async_trait]
impl BundleSource for LocalFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let file = self.clone();
        let read = spawn_blocking(move || {
            let mut bytes = Vec::new();
            file.read_into(&mut bytes, range)?;
            Ok(bytes.into())
        });
        read.await.unwrap_or_else(|stopped| Err(read_error(self, std::io::Error::other(stopped))))
    }

    fn read_stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        let chunks = self.reader.stream(Arc::clone(&self.file), self.path.clone(), range);
        chunks.map(|chunk| chunk.map_err(Error::from)).boxed()
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        read_checksum(&self.path)
    }

    fn local(&self) -> Option<&LocalFile> {
        Some(self)
    }
}

/// A source that reads ahead, so that several small reads take one request.
#[derive(Debug)]
pub(crate) struct BufferedSource {
    source: Arc<dyn BundleSource>,
    window: Mutex<(u64, Bytes)>,
}

/// The minimum size of a read in bytes.
const WINDOW: u64 = 32 << 10;

/// Returns a range of the file, if these bytes at this offset contain it.
fn part_of((offset, bytes): &(u64, Bytes), range: &Range<u64>) -> Option<Bytes> {
    let start = usize::try_from(range.start.checked_sub(*offset)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(*offset)?).ok()?;
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

impl BufferedSource {
    pub(crate) fn new(source: Arc<dyn BundleSource>) -> Self {
        Self { source, window: Mutex::default() }
    }

    pub(crate) fn source(&self) -> &Arc<dyn BundleSource> {
        &self.source
    }

    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let size = self.source.size();
        if range.start > range.end || range.end > size {
            let reason = "it refers to bytes behind its end";
            return Err(Error::not_a_bundle(self.source.name(), reason));
        }
        if range.end - range.start >= WINDOW {
            return read_exact(&*self.source, range).await;
        }
        if let Some(bytes) = self.cached(&range) {
            return Ok(bytes);
        }
        let ahead = range.start..size.min(range.start + WINDOW);
        let bytes = read_exact(&*self.source, ahead).await?;
        let end = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // Use these bytes instead of the shared window, which another task may have replaced.
        let requested = bytes.slice(..end.min(bytes.len()));
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = (range.start, bytes);
        Ok(requested)
    }

    fn cached(&self, range: &Range<u64>) -> Option<Bytes> {
        part_of(&self.window.lock().unwrap_or_else(PoisonError::into_inner), range)
    }
}
