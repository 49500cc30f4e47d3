//! Fetches blobs, and sends them to clients while they arrive.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tempfile::TempPath;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::{Counters, PullThroughCache, unnamed_blob};
use crate::storage::ChunkReader;
use crate::{ByteStream, Descriptor, Digest, Error, Repository, open_blob};

/// The minimum size of a write in bytes, except for the last one.
const WRITE: usize = 256 << 10;

/// A blob that is being fetched to a file.
#[derive(Debug)]
pub(super) struct Download {
    file: Arc<File>,
    reader: ChunkReader,
    path: PathBuf,
    /// The name of the file, which is removed if it is not taken.
    unfinished: Mutex<Option<TempPath>>,
    progress: watch::Sender<Progress>,
}

/// The result of starting a download.
pub(super) enum Begun {
    /// The blob is being fetched.
    Running(Arc<Download>),
    /// The blob is in the cache.
    Cached,
    /// The blob does not fit into the cache.
    TooLarge,
}

/// Whether a download may start.
enum Admission {
    /// It need not.
    Unneeded(Begun),
    /// It may; this content must be removed for it.
    Granted(Vec<Digest>),
    /// Other blobs that are being fetched take the space.
    NoSpace,
}

#[derive(Debug, Clone)]
enum Progress {
    /// The bytes in the file. The last bytes of the blob are written after they were verified.
    Written(u64),
    Failed(Arc<Error>),
}

impl Download {
    /// Reads a range of the blob, as far as it arrives.
    pub(super) fn follow(self: Arc<Self>, range: Range<u64>) -> ByteStream {
        let progress = self.progress.subscribe();
        let parts = stream::try_unfold((self, progress, range), |state| async move {
            let (download, mut progress, range) = state;
            if range.is_empty() {
                return Ok(None);
            }
            let end = written_after(range.start, &mut progress).await?.min(range.end);
            let (file, path) = (Arc::clone(&download.file), download.path.clone());
            let part = download.reader.stream(file, path, range.start..end);
            Ok(Some((part, (download, progress, end..range.end))))
        });
        parts.try_flatten().boxed()
    }

    async fn write(&self, chunks: Vec<Bytes>, mut offset: u64) -> Result<u64, Error> {
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || {
            for chunk in chunks {
                file.write_all_at(&chunk, offset)?;
                offset += chunk.len() as u64;
            }
            Ok(offset)
        });
        let written = written.await.map_err(std::io::Error::from).flatten();
        let failed = |error| Error::io(format!("cannot write {}", self.path.display()), error);
        let offset = written.map_err(failed)?;
        self.progress.send_replace(Progress::Written(offset));
        Ok(offset)
    }
}

/// Waits until the file has more bytes than `position`, and returns their number.
async fn written_after(
    position: u64,
    progress: &mut watch::Receiver<Progress>,
) -> Result<u64, Error> {
    loop {
        match &*progress.borrow_and_update() {
            Progress::Failed(source) => return Err(Error::Upstream { source: Arc::clone(source) }),
            Progress::Written(written) if *written > position => return Ok(*written),
            Progress::Written(_) => {}
        }
        // The sender lives as long as the download, which the caller holds.
        let _ = progress.changed().await;
    }
}

impl PullThroughCache {
    /// Starts to fetch a blob, unless it is being fetched or in the cache.
    pub(super) async fn download(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
    ) -> Result<Begun, Error> {
        if size > self.space().max() {
            return Ok(Begun::TooLarge);
        }
        if let Some(running) = self.downloads().get(digest) {
            return Ok(Begun::Running(Arc::clone(running)));
        }
        let (file, unfinished) = self.0.disk.create_unfinished().await?;
        let new = Arc::new(Download {
            file: Arc::new(file),
            reader: self.0.disk.reader(),
            path: unfinished.to_path_buf(),
            unfinished: Mutex::new(Some(unfinished)),
            progress: watch::Sender::new(Progress::Written(0)),
        });
        let evicted = loop {
            let mut ended = pin!(self.0.download_ended.notified());
            ended.as_mut().enable();
            match self.admit(&new, digest, size) {
                Admission::Unneeded(begun) => return Ok(begun),
                Admission::Granted(evicted) => break evicted,
                Admission::NoSpace => ended.await,
            }
        };
        let (blob, download) = (unnamed_blob(*digest, size), Arc::clone(&new));
        let (cache, repository) = (self.clone(), repository.clone());
        tokio::spawn(async move {
            let fetched = cache.fetch(&repository, &blob, &download, &evicted).await;
            cache.finish(&repository, &blob, &download, fetched);
        });
        Ok(Begun::Running(new))
    }

    /// Reserves the space for a download.
    fn admit(&self, new: &Arc<Download>, digest: &Digest, size: u64) -> Admission {
        let mut downloads = self.downloads();
        if let Some(running) = downloads.get(digest) {
            return Admission::Unneeded(Begun::Running(Arc::clone(running)));
        }
        let mut space = self.space();
        // A download that ended is in the cache before it leaves the list.
        if space.contains(digest) {
            return Admission::Unneeded(Begun::Cached);
        }
        let Some(evicted) = space.reserve(size) else { return Admission::NoSpace };
        downloads.insert(*digest, Arc::clone(new));
        Admission::Granted(evicted)
    }

    /// Fetches a blob, verifies it and adds it to the cache.
    async fn fetch(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        download: &Download,
        evicted: &[Digest],
    ) -> Result<(), Error> {
        self.remove(evicted).await?;
        // The semaphore is never closed.
        let _permit = self.0.free_downloads.acquire().await;
        let client = Arc::new(self.0.upstream.client().clone());
        let mut content = open_blob(client, repository, blob);
        let (mut pending, mut bytes, mut offset) = (Vec::new(), 0, 0);
        while let Some(chunk) = content.next().await {
            let chunk = chunk?;
            bytes += chunk.len();
            pending.push(chunk);
            if bytes >= WRITE {
                offset = download.write(std::mem::take(&mut pending), offset).await?;
                bytes = 0;
            }
        }
        download.write(pending, offset).await?;
        let unfinished = download.unfinished.lock().unwrap_or_else(PoisonError::into_inner).take();
        match unfinished {
            Some(path) => self.0.disk.adopt(repository, &blob.digest, &download.file, path).await,
            None => Ok(()),
        }
    }

    /// Ends a download. Later requests find the blob in the cache, or fetch it again.
    fn finish(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        download: &Download,
        fetched: Result<(), Error>,
    ) {
        match fetched {
            Ok(()) => {
                self.space().insert(blob.digest, blob.size);
                Counters::add(&self.0.counters.fetched, 1);
                Counters::add(&self.0.counters.fetched_bytes, blob.size);
                self.downloads().remove(&blob.digest);
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error, digest = %blob.digest,
                    "cannot fetch a blob from the upstream registry"
                );
                Counters::add(&self.0.counters.upstream_errors, 1);
                self.space().release(blob.size);
                // A manifest may have named a wrong size.
                self.sizes().remove(&(repository.clone(), blob.digest));
                self.downloads().remove(&blob.digest);
                download.progress.send_replace(Progress::Failed(Arc::new(error)));
            }
        }
        self.0.download_ended.notify_waiters();
    }
}
