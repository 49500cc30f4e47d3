//! A source that caches small blobs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::source::stream_bytes;
use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSource, RangeOptions, RawManifest, Repository,
    RetryPolicy, TagOrDigest,
};

/// The maximum size of a cached blob in bytes. A typical image configuration has a few thousand
/// bytes.
const MAX_BLOB: u64 = 256 << 10;

/// The maximum total size of cached blobs in bytes. Blobs beyond it are not cached.
const MAX_TOTAL: usize = 16 << 20;

/// Caches small blobs that are read completely. Image configurations, for example, are read once to
/// inspect an image and again to copy it.
pub struct CachingSource {
    source: Arc<dyn ImageSource>,
    blobs: Arc<Blobs>,
}

#[derive(Default)]
struct Blobs(Mutex<HashMap<Digest, Bytes>>);

impl CachingSource {
    /// Creates a source that caches the blobs of another one.
    pub fn new(source: Arc<dyn ImageSource>) -> Self {
        Self { source, blobs: Arc::default() }
    }
}

impl Blobs {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Caches a blob if its digest is correct and the total size permits it.
    fn insert(&self, digest: Digest, bytes: Bytes) {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = blobs.values().map(Bytes::len).sum();
        if held + bytes.len() <= MAX_TOTAL && digest.algorithm().digest(&bytes) == digest {
            blobs.insert(digest, bytes);
        }
    }
}

#[async_trait]
impl ImageSource for CachingSource {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        self.source.manifest(repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let Descriptor { digest, size, .. } = *descriptor;
        if let Some(bytes) = self.blobs.get(&digest) {
            return Ok(stream_bytes(&bytes, range));
        }
        let whole = range == (0..size);
        let bytes = self.source.blob(repository, descriptor, range).await?;
        if !whole || size > MAX_BLOB {
            return Ok(bytes);
        }
        let (blobs, mut seen) = (Arc::clone(&self.blobs), BytesMut::new());
        let watched = bytes.inspect_ok(move |chunk| {
            seen.extend_from_slice(chunk);
            if seen.len() as u64 == size {
                blobs.insert(digest, seen.split().freeze());
            }
        });
        Ok(watched.boxed())
    }

    async fn holds_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        self.source.holds_blob(repository, descriptor).await
    }

    async fn resolve(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Digest, Error> {
        self.source.resolve(repository, reference).await
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        self.source.range_options()
    }

    fn registry(&self) -> Option<&str> {
        self.source.registry()
    }

    fn retry(&self) -> RetryPolicy {
        self.source.retry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::{ImageSourceExt as _, Repository};

    fn holding(blob: &[u8]) -> (MemoryStorage, Repository, Descriptor) {
        let (storage, name): (_, Repository) = (MemoryStorage::default(), "a/b".parse().unwrap());
        storage.add_blob(&name, blob.to_vec());
        (storage, name, Descriptor::of("text/plain", blob))
    }

    #[tokio::test]
    async fn cache_small_blob_is_requested_once() {
        for (size, kept) in [(100, true), ((256 << 10) + 1, false)] {
            let blob = vec![7; size];
            let (storage, name, descriptor) = holding(&blob);
            let cached = CachingSource::new(Arc::new(storage.clone()));
            assert_eq!(cached.read(&name, &descriptor).await.unwrap(), blob);
            crate::storage::Storage::delete_blob(&storage, &name, &descriptor.digest)
                .await
                .unwrap();
            let again = cached.read(&name, &descriptor).await;
            assert_eq!(again.is_ok(), kept, "{size}");
        }
    }

    #[tokio::test]
    async fn cache_serves_any_range() {
        let (storage, name, descriptor) = holding(b"0123456789");
        let cached = CachingSource::new(Arc::new(storage));
        cached.read(&name, &descriptor).await.unwrap();
        for (range, part) in [(0..10, "0123456789"), (3..5, "34"), (9..10, "9"), (10..10, "")] {
            let bytes = cached.blob(&name, &descriptor, range).await.unwrap();
            let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
            assert_eq!(bytes.concat(), part.as_bytes());
        }
    }
}
