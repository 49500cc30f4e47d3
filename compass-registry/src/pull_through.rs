//! A pull-through cache: a read-only storage that fetches missing blobs from an upstream registry.
//!
//! - Each blob is fetched once, however many clients ask for it, and is sent to them as it arrives.
//!   Its last bytes are sent after its digest was verified.
//! - Blobs that were not used for the longest time are removed for new ones, so that the cache stays
//!   within its size.
//! - A tag is looked up at the upstream registry. While the upstream is down, cached images are
//!   served under their last known tags.

mod download;
mod lookup;
mod single_flight;
mod space;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};

use self::download::{Begun, Download};
use self::lookup::Upstream;
use self::space::Space;
use crate::client::Client;
use crate::storage::{DiskStorage, Metric, Storage};
use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSource as _, RawManifest, Repository, Tag,
    TagOrDigest,
};

/// The file that marks a directory as a cache, whose content may be removed at any time.
const MARKER_FILE: &str = ".compass-cache";

const MARKER_TEXT: &str = "The cache of `compass serve --upstream`; it may be removed.\n";

/// The maximum number of blobs that are fetched at a time.
const MAX_DOWNLOADS: usize = 8;

/// The maximum number of blobs whose sizes are remembered before they are fetched.
const MAX_KNOWN_SIZES: usize = 100_000;

/// A cache of the images of another registry. Clones share it.
///
/// Writes are not supported; serve it with
/// [`ServerOptions::read_only`](crate::server::ServerOptions::read_only).
#[derive(Debug, Clone)]
pub struct PullThroughCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    upstream: Upstream,
    disk: DiskStorage,
    space: Mutex<Space>,
    downloads: Mutex<HashMap<Digest, Arc<Download>>>,
    free_downloads: Semaphore,
    download_ended: Notify,
    /// The sizes of blobs that the manifests of a repository name.
    sizes: Mutex<HashMap<(Repository, Digest), u64>>,
    counters: Counters,
}

/// Numbers for monitoring.
#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
    uncached: AtomicU64,
    evicted: AtomicU64,
    stale: AtomicU64,
    upstream_errors: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl PullThroughCache {
    /// Opens a cache in a directory for this process alone.
    ///
    /// `max_bytes` bounds the size of the cached blobs and manifests. The client should have short
    /// time limits, because the clients of the cache wait for it.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] if the directory is not empty and not a cache; [`Error::Io`] if
    /// another process uses it, or it cannot be written.
    pub async fn open(
        upstream: Client,
        directory: impl Into<PathBuf>,
        max_bytes: u64,
    ) -> Result<Self, Error> {
        let directory = directory.into();
        mark(&directory).await?;
        let disk = DiskStorage::open_exclusive(directory.join("registry")).await?;
        let (space, evicted) = Space::load(&disk, max_bytes).await?;
        let cache = Self(Arc::new(Inner {
            upstream: Upstream::new(upstream),
            disk,
            space: Mutex::new(space),
            downloads: Mutex::default(),
            free_downloads: Semaphore::new(MAX_DOWNLOADS),
            download_ended: Notify::new(),
            sizes: Mutex::default(),
            counters: Counters::default(),
        }));
        cache.remove(&evicted).await?;
        Ok(cache)
    }

    fn space(&self) -> MutexGuard<'_, Space> {
        self.0.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn downloads(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Download>>> {
        self.0.downloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<(Repository, Digest), u64>> {
        self.0.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes blobs and manifests from the disk.
    async fn remove(&self, digests: &[Digest]) -> Result<(), Error> {
        for digest in digests {
            tracing::debug!(%digest, "removed from the cache");
            Counters::add(&self.0.counters.evicted, 1);
            self.0.disk.remove_content(digest).await?;
        }
        Ok(())
    }

    /// Opens a blob on the disk, also one of another repository that this one is known to have.
    async fn cached_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: &Range<u64>,
    ) -> Result<Option<ByteStream>, Error> {
        let disk = &self.0.disk;
        if Storage::blob_size(disk, repository, digest).await?.is_none() {
            let is_known = self.sizes().contains_key(&(repository.clone(), *digest));
            if !is_known {
                return Ok(None);
            }
            // A blob that arrives in the meantime is listed after it is on the disk.
            let is_listed = self.space().contains(digest);
            if !disk.mount_blob(None, repository, digest).await? {
                if is_listed {
                    self.space().forget(digest);
                }
                return Ok(None);
            }
        }
        match disk.read_blob(repository, digest, range.clone()).await {
            Ok(bytes) => {
                self.touch(digest);
                Counters::add(&self.0.counters.hits, 1);
                Ok(Some(bytes))
            }
            // It was removed in between.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records that a blob or manifest was used.
    fn touch(&self, digest: &Digest) {
        if self.space().touch(digest) {
            self.0.disk.touch(digest);
        }
    }

    /// Remembers the sizes of the blobs of a manifest.
    fn note_sizes(&self, repository: &Repository, manifest: &RawManifest) {
        let Ok(content) = manifest.parse() else { return };
        let mut sizes = self.sizes();
        if sizes.len() > MAX_KNOWN_SIZES {
            sizes.clear();
        }
        for Descriptor { digest, size, .. } in content.distributable_blobs() {
            sizes.insert((repository.clone(), *digest), *size);
        }
    }
}

/// Describes a blob that no manifest describes.
fn unnamed_blob(digest: Digest, size: u64) -> Descriptor {
    let media_type = "application/octet-stream".to_owned();
    Descriptor { media_type, digest, size, platform: None }
}

/// Marks a directory as a cache.
async fn mark(directory: &Path) -> Result<(), Error> {
    let failed = |error| Error::io(format!("cannot open {}", directory.display()), error);
    tokio::fs::create_dir_all(directory).await.map_err(failed)?;
    let marker = directory.join(MARKER_FILE);
    if tokio::fs::try_exists(&marker).await.map_err(failed)? {
        return Ok(());
    }
    let mut entries = tokio::fs::read_dir(directory).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        // The root of a file system.
        if entry.file_name() != "lost+found" {
            let what = directory.display().to_string();
            let reason = "it is not empty and not a cache: choose an empty directory".to_owned();
            return Err(Error::InvalidContent { what, reason });
        }
    }
    tokio::fs::write(&marker, MARKER_TEXT).await.map_err(failed)
}

#[async_trait]
impl Storage for PullThroughCache {
    async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        match Storage::blob_size(&self.0.disk, repository, digest).await? {
            Some(size) => Ok(Some(size)),
            None => self.upstream_size(repository, digest).await,
        }
    }

    async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        loop {
            if let Some(bytes) = self.cached_blob(repository, digest, &range).await? {
                return Ok(bytes);
            }
            let size = self.upstream_size(repository, digest).await?;
            let missing = || Error::NotFound { what: format!("{repository}@{digest}") };
            let size = size.ok_or_else(missing)?;
            let range = range.start..range.end.min(size);
            match self.download(repository, digest, size).await? {
                Begun::Running(download) => return Ok(download.follow(range)),
                // Another request has fetched it since this one looked.
                Begun::Cached => {}
                Begun::TooLarge => {
                    Counters::add(&self.0.counters.uncached, 1);
                    let blob = unnamed_blob(*digest, size);
                    let client = self.0.upstream.client();
                    return self.upstream_result(client.blob(repository, &blob, range).await);
                }
            }
        }
    }

    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, Error> {
        let manifest = match reference {
            TagOrDigest::Digest(digest) => self.manifest_by_digest(repository, digest).await?,
            TagOrDigest::Tag(tag) => self.manifest_by_tag(repository, tag).await?,
        };
        if let Some(manifest) = &manifest {
            self.note_sizes(repository, manifest);
            self.touch(&manifest.digest());
        }
        Ok(manifest)
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, Error> {
        match self.upstream_referrers(repository, subject).await {
            Err(error) if self.serves_stale(&error) => {
                self.0.disk.referrers(repository, subject).await
            }
            listed => listed,
        }
    }

    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, Error> {
        match self.upstream_tags(repository).await {
            Err(error) if self.serves_stale(&error) => self.0.disk.tags(repository).await,
            listed => listed,
        }
    }

    async fn repositories(&self) -> Result<Vec<Repository>, Error> {
        match self.upstream_repositories().await {
            Err(error) if self.serves_stale(&error) => self.0.disk.repositories().await,
            listed => listed,
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        let (used, counters) = (self.space().used(), &self.0.counters);
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        vec![
            Metric::gauge("compass_cache_bytes", "Bytes in the cache.", used),
            Metric::counter(
                "compass_cache_hits_total",
                "Blobs that were sent from the cache.",
                load(&counters.hits),
            ),
            Metric::counter(
                "compass_cache_fetched_total",
                "Blobs that were fetched from the upstream registry.",
                load(&counters.fetched),
            ),
            Metric::counter(
                "compass_cache_fetched_bytes_total",
                "Bytes of blobs that were fetched from the upstream registry.",
                load(&counters.fetched_bytes),
            ),
            Metric::counter(
                "compass_cache_uncached_total",
                "Blobs that were passed on, because they are larger than the cache.",
                load(&counters.uncached),
            ),
            Metric::counter(
                "compass_cache_evicted_total",
                "Blobs and manifests that were removed for others.",
                load(&counters.evicted),
            ),
            Metric::counter(
                "compass_cache_stale_total",
                "Answers from the cache, because the upstream registry was down.",
                load(&counters.stale),
            ),
            Metric::counter(
                "compass_cache_upstream_errors_total",
                "Requests to the upstream registry that failed.",
                load(&counters.upstream_errors),
            ),
        ]
    }
}
