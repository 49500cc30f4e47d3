use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Storage, Upload};
use crate::source::stream_bytes;
use crate::{Algorithm, ByteStream, Digest, Error, RawManifest, Repository, Tag, TagOrDigest};

/// Stores everything in memory, for tests and small amounts of data.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    blobs: BTreeMap<Digest, Bytes>,
    repositories: BTreeMap<Repository, RepositoryContent>,
}

#[derive(Debug, Default)]
struct RepositoryContent {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, RawManifest>,
    tags: BTreeMap<Tag, Digest>,
}

struct MemoryUpload {
    storage: MemoryStorage,
    repository: Repository,
    bytes: BytesMut,
}

impl MemoryStorage {
    /// Adds a blob to a repository.
    pub fn add_blob(&self, repository: &Repository, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = Bytes::from(bytes.into());
        let digest = Digest::of(&bytes);
        self.content().add(repository, digest, bytes);
        digest
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // A panic while the lock is held leaves at most an unreferenced blob.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn add(&mut self, repository: &Repository, digest: Digest, bytes: Bytes) {
        self.blobs.insert(digest, bytes);
        self.repositories.entry(repository.clone()).or_default().blobs.insert(digest);
    }

    fn blob(&self, repository: &Repository, digest: &Digest) -> Option<&Bytes> {
        let parts = self.repositories.get(repository)?;
        parts.blobs.get(digest).and_then(|digest| self.blobs.get(digest))
    }

    /// Removes the bytes of a blob that no repository has any more.
    fn remove_unreferenced(&mut self, digest: &Digest) {
        if !self.repositories.values().any(|parts| parts.blobs.contains(digest)) {
            self.blobs.remove(digest);
        }
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        Ok(self.content().blob(repository, digest).map(|bytes| bytes.len() as u64))
    }

    async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let bytes = self.content().blob(repository, digest).cloned();
        let missing = || Error::NotFound { what: format!("{repository}@{digest}") };
        Ok(stream_bytes(&bytes.ok_or_else(missing)?, range))
    }

    async fn begin_upload(&self, repository: &Repository) -> Result<Box<dyn Upload>, Error> {
        let (storage, repository) = (self.clone(), repository.clone());
        Ok(Box::new(MemoryUpload { storage, repository, bytes: BytesMut::new() }))
    }

    async fn mount_blob(
        &self,
        from: Option<&Repository>,
        to: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let mut content = self.content();
        let bytes = match from {
            Some(from) => content.blob(from, digest),
            None => content.blobs.get(digest),
        };
        let Some(bytes) = bytes.cloned() else { return Ok(false) };
        content.add(to, *digest, bytes);
        Ok(true)
    }

    async fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let mut content = self.content();
        let parts = content.repositories.get_mut(repository);
        let removed = parts.is_some_and(|parts| parts.blobs.remove(digest));
        content.remove_unreferenced(digest);
        Ok(removed)
    }

    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, Error> {
        let content = self.content();
        let Some(parts) = content.repositories.get(repository) else { return Ok(None) };
        let digest = match reference {
            TagOrDigest::Tag(tag) => parts.tags.get(tag),
            TagOrDigest::Digest(digest) => Some(digest),
        };
        Ok(digest.and_then(|digest| parts.manifests.get(digest)).cloned())
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let mut content = self.content();
        let parts = content.repositories.entry(repository.clone()).or_default();
        parts.manifests.insert(manifest.digest(), manifest.clone());
        if let Some(tag) = tag {
            parts.tags.insert(tag.clone(), manifest.digest());
        }
        Ok(())
    }

    async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<bool, Error> {
        let mut content = self.content();
        let Some(parts) = content.repositories.get_mut(repository) else { return Ok(false) };
        Ok(match reference {
            TagOrDigest::Tag(tag) => parts.tags.remove(tag).is_some(),
            TagOrDigest::Digest(digest) => {
                parts.tags.retain(|_, tagged| tagged != digest);
                parts.manifests.remove(digest).is_some()
            }
        })
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, Error> {
        let content = self.content();
        let Some(parts) = content.repositories.get(repository) else { return Ok(Vec::new()) };
        let refers = |manifest: &&RawManifest| manifest.subject() == Some(*subject);
        Ok(parts.manifests.values().filter(refers).map(RawManifest::digest).collect())
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

    async fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error> {
        Ok(algorithm.digest(&self.bytes))
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), Error> {
        self.storage.content().add(&self.repository, *digest, self.bytes.freeze());
        Ok(())
    }
}
