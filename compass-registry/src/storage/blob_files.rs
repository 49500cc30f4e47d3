//! Blobs as files named by digest, in `blobs/<algorithm>` (OCI image layout specification, §
//! Blobs). Shared by OCI layouts and the disk storage.

use std::collections::VecDeque;
use std::fs::Permissions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Upload;
use super::chunked_read::ChunkReader;
use crate::direct_io::{AlignedBuffer, DirectFile};
use crate::{Algorithm, ByteStream, Digest, Error, Hasher};

/// The name prefix of unfinished uploads.
const UPLOAD_PREFIX: &str = ".upload-";

/// The size of a read in bytes.
const READ: usize = 256 << 10;

#[derive(Debug, Clone)]
pub(crate) struct BlobFiles {
    directory: PathBuf,
    unfinished: PathBuf,
    cache_policy: CachePolicy,
    pub(crate) reader: ChunkReader,
}

/// Whether written blobs stay in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CachePolicy {
    /// Keep: the blob is read back soon.
    Keep,
    /// Bypass: the blob is not read back soon.
    #[cfg(feature = "layout")]
    Bypass,
}

/// Bytes buffered per write, as each write is sent to another thread.
const WRITE: usize = 512 << 10;

/// A file that is written sequentially. One write is in flight while the next buffer fills.
/// Cancelling an append loses no bytes.
struct FileUpload {
    file: Arc<DirectFile>,
    /// Bytes that are not in the buffer yet.
    pending: VecDeque<Bytes>,
    buffer: AlignedBuffer,
    /// The offset of the buffer in the file.
    start: u64,
    in_flight: InFlight,
    path: TempPath,
    directory: PathBuf,
    offset: u64,
}

enum InFlight {
    /// No write is in flight; holds the spare buffer.
    Idle(AlignedBuffer),
    Writing(JoinHandle<io::Result<AlignedBuffer>>),
    /// An earlier write failed.
    Failed,
}

impl InFlight {
    /// Waits for the write in flight and returns its buffer. The caller must set the next state.
    async fn join(&mut self) -> io::Result<AlignedBuffer> {
        if let Self::Writing(task) = self {
            let written = task.await;
            *self = Self::Failed;
            return written?;
        }
        match std::mem::replace(self, Self::Failed) {
            Self::Idle(memory) => Ok(memory),
            _ => Err(failed_before()),
        }
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write failed")
}

impl FileUpload {
    fn new(file: DirectFile, path: TempPath, directory: PathBuf) -> Self {
        Self {
            file: Arc::new(file),
            pending: VecDeque::new(),
            buffer: AlignedBuffer::default(),
            start: 0,
            in_flight: InFlight::Idle(AlignedBuffer::default()),
            path,
            directory,
            offset: 0,
        }
    }

    /// Copies pending bytes into the buffer. This frees their memory early, while it is still in
    /// the CPU cache.
    async fn fill_buffer(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.pending.front_mut() {
            if self.buffer.is_full() {
                self.write_buffer().await?;
                self.buffer.begin_at(self.start, WRITE);
                continue;
            }
            let left = self.buffer.fill(bytes).len();
            bytes.advance(bytes.len() - left);
            if left == 0 {
                self.pending.pop_front();
            }
        }
        Ok(())
    }

    async fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut next = self.in_flight.join().await?;
        let start = self.start;
        self.start += self.buffer.len() as u64;
        next.begin_at(self.start, 0);
        let (full, file) = (std::mem::replace(&mut self.buffer, next), Arc::clone(&self.file));
        self.in_flight = InFlight::Writing(spawn_blocking(move || {
            file.write_all_at(full.bytes(), start)?;
            Ok(full)
        }));
        Ok(())
    }

    /// Writes all pending bytes.
    async fn flush(&mut self) -> io::Result<()> {
        self.fill_buffer().await?;
        self.write_buffer().await?;
        self.in_flight = InFlight::Idle(self.in_flight.join().await?);
        Ok(())
    }
}

impl BlobFiles {
    /// Opens the blobs in `root/blobs`. Unfinished uploads are stored in `unfinished`, which must
    /// be on the same file system.
    pub(crate) fn new(root: &Path, unfinished: PathBuf, cache_policy: CachePolicy) -> Self {
        Self {
            directory: root.join("blobs"),
            unfinished,
            cache_policy,
            reader: ChunkReader::default(),
        }
    }

    pub(crate) async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.path(digest);
        match tokio::fs::metadata(&path).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot access {}", path.display()), error)),
        }
    }

    pub(crate) async fn read(
        &self,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        self.reader.open(self.path(digest), range).await.map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Error::NotFound { what: digest.to_string() }
            }
            error => error,
        })
    }

    pub(crate) async fn begin_upload(&self) -> Result<Box<dyn Upload>, Error> {
        let directory = &self.unfinished;
        tokio::fs::create_dir_all(directory)
            .await
            .map_err(|error| Error::io(format!("cannot create {}", directory.display()), error))?;
        let (file, path) = tempfile::Builder::new()
            .permissions(default_permissions())
            .prefix(UPLOAD_PREFIX)
            .tempfile_in(&self.unfinished)
            .map_err(|error| {
                Error::io(format!("cannot create a file in {}", self.unfinished.display()), error)
            })?
            .into_parts();
        let file = match self.cache_policy {
            CachePolicy::Keep => DirectFile::buffered(file),
            #[cfg(feature = "layout")]
            CachePolicy::Bypass => DirectFile::new(file, &path),
        };
        Ok(Box::new(FileUpload::new(file, path, self.directory.clone())))
    }

    /// Removes the uploads that earlier processes did not finish. No other process may be writing.
    pub(crate) async fn remove_unfinished(&self) -> Result<(), Error> {
        remove_files(&self.unfinished, UPLOAD_PREFIX).await
    }

    /// Removes all blobs except those whose names `keep` accepts. No other process may be writing.
    pub(crate) async fn retain(&self, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
        for algorithm in Algorithm::ALL {
            retain_files(&self.directory.join(algorithm.name()), &keep).await?;
        }
        Ok(())
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        path_in(&self.directory, digest)
    }
}

fn path_in(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(digest.algorithm().name()).join(digest.hex())
}

#[async_trait]
impl Upload for FileUpload {
    async fn append(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = if matches!(self.in_flight, InFlight::Failed) {
            Err(failed_before())
        } else {
            self.offset += bytes.len() as u64;
            self.pending.push_back(bytes);
            self.fill_buffer().await
        };
        written.map_err(|error| Error::io(format!("cannot write {}", self.path.display()), error))
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    async fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error> {
        let path = self.path.to_path_buf();
        let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
        self.flush().await.map_err(failed)?;
        let mut file = File::open(&path).await.map_err(failed)?;
        let (mut hasher, mut chunk) = (Hasher::new(algorithm), BytesMut::with_capacity(READ));
        while file.read_buf(&mut chunk).await.map_err(failed)? > 0 {
            hasher.update(&chunk);
            chunk.clear();
        }
        Ok(hasher.finish())
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<(), Error> {
        let path = path_in(&self.directory, digest);
        let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
        self.flush().await.map_err(failed)?;
        let file = self.file;
        persist(path, self.path, move || file.file().sync_data()).await
    }
}

/// Syncs a complete file, and gives it its final name.
pub(super) async fn persist(
    path: PathBuf,
    unfinished: TempPath,
    sync: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), Error> {
    let shown = path.display().to_string();
    let persisted = spawn_blocking(move || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        sync()?;
        unfinished.persist(&path).map_err(|error| error.error)
    });
    let persisted = persisted.await.map_err(io::Error::from).flatten();
    persisted.map_err(|error| Error::io(format!("cannot write {shown}"), error))
}

fn cleanup_error(directory: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot clean up {}", directory.display()), error)
}

/// Lists a directory for cleanup; `None` if it does not exist.
async fn entries_of(directory: &Path) -> Result<Option<tokio::fs::ReadDir>, Error> {
    match tokio::fs::read_dir(directory).await {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cleanup_error(directory, error)),
    }
}

/// Removes the files whose names start with a prefix.
async fn remove_files(directory: &Path, prefix: &str) -> Result<(), Error> {
    let failed = |error| cleanup_error(directory, error);
    let Some(mut entries) = entries_of(directory).await? else { return Ok(()) };
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let is_named = entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes());
        if is_named && entry.file_type().await.map_err(failed)?.is_file() {
            tokio::fs::remove_file(entry.path()).await.map_err(failed)?;
        }
    }
    Ok(())
}

async fn retain_files(directory: &Path, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
    let failed = |error| cleanup_error(directory, error);
    let Some(mut entries) = entries_of(directory).await? else { return Ok(()) };
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if !entry.file_name().to_str().is_some_and(&keep) {
            tokio::fs::remove_file(entry.path()).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Returns the permissions of ordinary files, which the umask restricts.
fn default_permissions() -> Permissions {
    Permissions::from_mode(0o666)
}

/// The name prefix of unfinished small files.
pub(crate) const TEMP_PREFIX: &str = ".part-";

/// Removes the small files that earlier processes did not finish. No other process may be writing.
#[cfg(feature = "layout")]
pub(crate) async fn remove_temporary_files(directory: &Path) -> Result<(), Error> {
    remove_files(directory, TEMP_PREFIX).await
}

/// Writes a small file atomically.
pub(crate) async fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
    let directory = path.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(directory).await.map_err(failed)?;
    let mut temporary = tempfile::Builder::new();
    let temporary =
        temporary.permissions(default_permissions()).prefix(TEMP_PREFIX).tempfile_in(directory);
    let (file, temporary) = temporary.map_err(failed)?.into_parts();
    let mut file = File::from_std(file);
    file.write_all(bytes).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    file.sync_data().await.map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))
}

/// Reads a small file, if it exists.
pub(crate) async fn read_optional(path: &Path) -> Result<Option<Bytes>, Error> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn upload_continues_after_cancelled_append() {
        for cache_policy in [
            CachePolicy::Keep,
            #[cfg(feature = "layout")]
            CachePolicy::Bypass,
        ] {
            check(cache_policy).await;
        }
    }

    async fn check(cache_policy: CachePolicy) {
        let directory = tempfile::tempdir().unwrap();
        let unfinished = directory.path().join("unfinished");
        let files = BlobFiles::new(directory.path(), unfinished, cache_policy);
        let mut upload = files.begin_upload().await.unwrap();
        let (mut whole, mut given_up) = (Vec::new(), 0);
        // Drop the future at any point, as a disconnecting client does.
        for number in 0..40 {
            let chunk = vec![number; 8 * WRITE];
            whole.extend_from_slice(&chunk);
            given_up += usize::from(upload.append(chunk.into()).now_or_never().is_none());
        }
        assert!(given_up > 0 && upload.offset() == whole.len() as u64);
        let digest = Digest::of(&whole);
        assert_eq!(upload.digest(Algorithm::Sha256).await.unwrap(), digest);
        upload.commit(&digest).await.unwrap();
        assert_eq!(std::fs::read(files.path(&digest)).unwrap(), whole);
    }
}
