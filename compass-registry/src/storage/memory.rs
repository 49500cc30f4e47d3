use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};

use super::{Storage, Upload};
use crate::{ByteStream, Digest, Error, Locator, RawManifest, Repository, Tag};

/// Keeps everything in memory, for tests and small things.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    blobs: BTreeMap<Digest, Bytes>,
    repositories: BTreeMap<Repository, Manifests>,
}

#[derive(Debug, Default)]
struct Manifests {
    by_digest: BTreeMap<Digest, RawManifest>,
    tags: BTreeMap<Tag, Digest>,
}

struct MemoryUpload {
    storage: MemoryStorage,
    bytes: BytesMut,
}

impl MemoryStorage {
    /// Adds a blob.
    pub fn add_blob(&self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = Bytes::from(bytes.into());
        let digest = Digest::of(&bytes);
        self.content().blobs.insert(digest, bytes);
        digest
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // Every change is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.content().blobs.get(digest).map(|bytes| bytes.len() as u64))
    }

    async fn read_blob(&self, digest: &Digest, range: Range<u64>) -> Result<ByteStream, Error> {
        let bytes = self.content().blobs.get(digest).cloned();
        let bytes = bytes.ok_or_else(|| Error::NotFound { what: digest.to_string() })?;
        let within = |position| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.slice(within(range.start)..within(range.end));
        Ok(stream::once(async { Ok(part) }).boxed())
    }

    async fn begin_upload(&self) -> Result<Box<dyn Upload>, Error> {
        Ok(Box::new(MemoryUpload { storage: self.clone(), bytes: BytesMut::new() }))
    }

    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<Option<RawManifest>, Error> {
        let content = self.content();
        let Some(manifests) = content.repositories.get(repository) else { return Ok(None) };
        let digest = match locator {
            Locator::Tag(tag) => manifests.tags.get(tag),
            Locator::Digest(digest) => Some(digest),
        };
        Ok(digest.and_then(|digest| manifests.by_digest.get(digest)).cloned())
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let mut content = self.content();
        let manifests = content.repositories.entry(repository.clone()).or_default();
        manifests.by_digest.insert(manifest.digest(), manifest.clone());
        if let Some(tag) = tag {
            manifests.tags.insert(tag.clone(), manifest.digest());
        }
        Ok(())
    }

    async fn delete_manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<bool, Error> {
        let mut content = self.content();
        let Some(manifests) = content.repositories.get_mut(repository) else { return Ok(false) };
        Ok(match locator {
            Locator::Tag(tag) => manifests.tags.remove(tag).is_some(),
            Locator::Digest(digest) => {
                manifests.tags.retain(|_, tagged| tagged != digest);
                manifests.by_digest.remove(digest).is_some()
            }
        })
    }

    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, Error> {
        let content = self.content();
        Ok(content.repositories.get(repository).map(|one| one.tags.keys().cloned().collect()))
    }

    async fn repositories(&self) -> Result<Vec<Repository>, Error> {
        Ok(self.content().repositories.keys().cloned().collect())
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn append(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), Error> {
        self.storage.content().blobs.insert(*digest, self.bytes.freeze());
        Ok(())
    }
}
