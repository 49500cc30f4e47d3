//! Looks up manifests, tags and sizes at the upstream registry, and on the disk if it is down.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::single_flight::SingleFlight;
use super::{Counters, PullThroughCache};
use crate::client::Client;
use crate::storage::Storage;
use crate::{Digest, Error, ImageSource as _, ImageSourceExt as _, RawManifest, Repository, Tag};

/// How long the upstream registry is not asked again after a failure. Without it, every client would
/// wait for its timeouts.
const DOWN_INTERVAL: Duration = Duration::from_secs(5);

/// How long the digest of a tag is remembered, so that the upstream registry is not asked for each of
/// many clients that pull the same image.
const TAG_INTERVAL: Duration = Duration::from_secs(2);

/// The maximum number of remembered tags.
const MAX_TAGS: usize = 10_000;

/// Lookups in progress. Errors are shared by their callers.
type Lookups<K, T> = SingleFlight<K, Result<T, Arc<Error>>>;

/// The upstream registry.
pub(super) struct Upstream {
    client: Client,
    /// The last failure, and when it happened.
    failure: Mutex<Option<(Instant, Arc<Error>)>>,
    tags: Lookups<(Repository, Tag), Option<Digest>>,
    /// The digests that tags had a moment ago.
    recent_tags: Mutex<HashMap<(Repository, Tag), (Instant, Digest)>>,
    manifests: Lookups<(Repository, Digest), Option<RawManifest>>,
    sizes: Lookups<(Repository, Digest), Option<u64>>,
    referrers: Lookups<(Repository, Digest), Vec<Digest>>,
    tag_lists: Lookups<Repository, Option<Vec<Tag>>>,
    catalogs: Lookups<(), Vec<Repository>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Upstream {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            failure: Mutex::default(),
            tags: SingleFlight::default(),
            recent_tags: Mutex::default(),
            manifests: SingleFlight::default(),
            sizes: SingleFlight::default(),
            referrers: SingleFlight::default(),
            tag_lists: SingleFlight::default(),
            catalogs: SingleFlight::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The failure that happened a moment ago, if there was one.
    fn recent_failure(&self) -> Option<Arc<Error>> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = failure.as_ref().filter(|(at, _)| at.elapsed() < DOWN_INTERVAL);
        recent.map(|(_, error)| Arc::clone(error))
    }

    fn recent_tag(&self, key: &(Repository, Tag)) -> Option<Digest> {
        let tags = self.recent_tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.get(key).filter(|(at, _)| at.elapsed() < TAG_INTERVAL).map(|(_, digest)| *digest)
    }

    fn note_tag(&self, key: (Repository, Tag), digest: Digest) {
        let mut tags = self.recent_tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.len() >= MAX_TAGS {
            tags.clear();
        }
        tags.insert(key, (Instant::now(), digest));
    }

    fn forget_tag(&self, key: &(Repository, Tag)) {
        self.recent_tags.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Remembers a failure that each further request would wait for. Invalid responses arrive at once,
    /// and may concern one repository only.
    fn note_failure(&self, error: &Arc<Error>) {
        if error.is_transient() || matches!(**error, Error::Unreachable { .. }) {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some((Instant::now(), Arc::clone(error)));
        }
    }
}

impl PullThroughCache {
    /// Counts and wraps a failure of the upstream registry.
    pub(super) fn upstream_result<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error.is_not_found() {
            true => error,
            false => self.upstream_error(Arc::new(error)),
        })
    }

    pub(super) fn upstream_error(&self, source: Arc<Error>) -> Error {
        Counters::add(&self.0.counters.upstream_errors, 1);
        Error::Upstream { source }
    }

    /// Whether to answer from the disk after an error of the upstream registry.
    pub(super) fn serves_stale(&self, error: &Error) -> bool {
        let is_stale = matches!(error, Error::Upstream { source } if is_down(source));
        if is_stale {
            Counters::add(&self.0.counters.stale, 1);
            tracing::warn!(error = error as &dyn std::error::Error, "answering from the cache");
        }
        is_stale
    }

    /// Runs a lookup at the upstream registry, or waits for the same lookup of another request.
    async fn look_up<K, T>(
        &self,
        lookups: &Lookups<K, T>,
        key: K,
        start: impl FnOnce(Client) -> BoxFuture<'static, Result<T, Error>>,
    ) -> Result<T, Error>
    where
        K: Eq + Hash + Clone + Send + 'static,
        T: Clone + Send + Sync + 'static,
    {
        let upstream = &self.0.upstream;
        if let Some(source) = upstream.recent_failure() {
            return Err(Error::Upstream { source });
        }
        let client = upstream.client.clone();
        let shared = || start(client).map(|result| result.map_err(Arc::new)).boxed();
        let aborted = || Error::io("cannot look up content", std::io::ErrorKind::Other.into());
        let result = lookups.run(key, shared).await.ok_or_else(aborted)?;
        result.map_err(|error| {
            upstream.note_failure(&error);
            self.upstream_error(error)
        })
    }

    pub(super) async fn manifest_by_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<RawManifest>, Error> {
        let disk = &self.0.disk;
        let digest = match self.resolve(repository, tag).await {
            Ok(Some(digest)) => digest,
            Ok(None) => return Ok(None),
            Err(error) => {
                let cached =
                    cached(Storage::manifest(disk, repository, &tag.clone().into()).await)?;
                return match cached {
                    Some(manifest) if self.serves_stale(&error) => Ok(Some(manifest)),
                    _ => Err(error),
                };
            }
        };
        let manifest = self.manifest_by_digest(repository, &digest).await;
        if !matches!(manifest, Ok(Some(_))) {
            // The registry may have told a wrong digest, which the next request should not wait for.
            self.0.upstream.forget_tag(&(repository.clone(), tag.clone()));
        }
        let manifest = manifest?;
        if let Some(manifest) = &manifest {
            let known = cached(Storage::manifest(disk, repository, &tag.clone().into()).await)?;
            if known.is_none_or(|known| known.digest() != digest) {
                self.keep_manifest(repository, manifest, Some(tag)).await?;
            }
        }
        Ok(manifest)
    }

    /// Returns the digest of a tag at the upstream registry.
    async fn resolve(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, Error> {
        let (upstream, key) = (&self.0.upstream, (repository.clone(), tag.clone()));
        if let Some(digest) = upstream.recent_tag(&key) {
            return Ok(Some(digest));
        }
        let (name, reference) = (repository.clone(), tag.clone().into());
        let resolved = self
            .look_up(&upstream.tags, key.clone(), |client| {
                async move { found(client.resolve(&name, &reference).await) }.boxed()
            })
            .await?;
        if let Some(digest) = resolved {
            upstream.note_tag(key, digest);
        }
        Ok(resolved)
    }

    pub(super) async fn manifest_by_digest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, Error> {
        let reference = (*digest).into();
        if let Some(manifest) =
            cached(Storage::manifest(&self.0.disk, repository, &reference).await)?
        {
            return Ok(Some(manifest));
        }
        let (name, key) = (repository.clone(), (repository.clone(), *digest));
        let fetched = self
            .look_up(&self.0.upstream.manifests, key, |client| {
                async move { found(client.verified_manifest(&name, &reference).await) }.boxed()
            })
            .await?;
        if let Some(manifest) = &fetched {
            self.keep_manifest(repository, manifest, None).await?;
        }
        Ok(fetched)
    }

    /// Writes a manifest to the disk, if there is space for it.
    async fn keep_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let size = manifest.descriptor().size;
        let Some(evicted) = self.space().reserve(size) else { return Ok(()) };
        self.remove(&evicted).await?;
        let written = self.0.disk.put_manifest(repository, manifest, tag).await;
        match written {
            Ok(()) => self.space().insert(manifest.digest(), size),
            Err(_) => self.space().release(size),
        }
        written
    }

    /// The size of a blob, from a manifest that was served, or from the upstream registry.
    pub(super) async fn upstream_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let key = (repository.clone(), *digest);
        if let Some(size) = self.sizes().get(&key) {
            return Ok(Some(*size));
        }
        let (name, wanted) = (repository.clone(), *digest);
        let size = self
            .look_up(&self.0.upstream.sizes, key.clone(), |client| {
                async move { client.blob_size(&name, &wanted).await }.boxed()
            })
            .await?;
        if let Some(size) = size {
            self.sizes().insert(key, size);
        }
        Ok(size)
    }

    pub(super) async fn upstream_referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, Error> {
        let (name, wanted) = (repository.clone(), *subject);
        let start = |client: Client| {
            async move {
                let listed = client.referrers(&name, &wanted, None).await?;
                let mut digests: Vec<_> =
                    listed.into_iter().map(|one| one.descriptor.digest).collect();
                digests.sort();
                Ok(digests)
            }
            .boxed()
        };
        self.look_up(&self.0.upstream.referrers, (repository.clone(), *subject), start).await
    }

    pub(super) async fn upstream_tags(
        &self,
        repository: &Repository,
    ) -> Result<Option<Vec<Tag>>, Error> {
        let name = repository.clone();
        let start = |client: Client| {
            async move {
                let tags = found(client.tags(&name).await)?;
                Ok(tags.map(|mut tags| {
                    tags.sort();
                    tags
                }))
            }
            .boxed()
        };
        self.look_up(&self.0.upstream.tag_lists, repository.clone(), start).await
    }

    pub(super) async fn upstream_repositories(&self) -> Result<Vec<Repository>, Error> {
        let start = |client: Client| {
            async move {
                let mut repositories = client.repositories().await?;
                repositories.sort();
                Ok(repositories)
            }
            .boxed()
        };
        self.look_up(&self.0.upstream.catalogs, (), start).await
    }
}

/// Whether a registry cannot be reached, or something else answers in its place.
fn is_down(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. } | Error::NotARegistry { .. } | Error::InvalidResponse { .. }
    ) || error.is_transient()
}

/// Converts the error of missing content to `None`.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Treats a manifest whose bytes were evicted as missing.
fn cached(result: Result<Option<RawManifest>, Error>) -> Result<Option<RawManifest>, Error> {
    found(result).map(Option::flatten)
}
