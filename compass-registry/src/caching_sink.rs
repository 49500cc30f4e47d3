//! A sink that caches lookups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    Descriptor, Digest, Error, ImageSink, RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob,
};

/// Caches which blobs a sink has, and which manifests under their digests, for a short time.
///
/// The digests of tags are not cached: another client may set or move a tag at any time.
///
/// A copy that follows its plan thus does not look everything up again. Writes through this sink
/// remove the answers that they change. Changes by other clients are seen after the time limit. If
/// a blob disappears before that, the registry rejects the manifest, and the copy engine writes the
/// blob again.
pub struct CachingSink {
    sink: Arc<dyn ImageSink>,
    blobs: Answers<bool>,
    manifests: Answers<Option<Digest>>,
}

impl CachingSink {
    /// Creates a sink that caches the lookups in another one. An answer that is older than
    /// `max_age` is not used.
    pub fn new(sink: Arc<dyn ImageSink>, max_age: Duration) -> Self {
        Self { sink, blobs: Answers::new(max_age), manifests: Answers::new(max_age) }
    }
}

/// The repository and the digest of a blob or manifest.
type Key = (Repository, Digest);

/// Answers with their times.
struct Answers<V> {
    max_age: Duration,
    answers: Mutex<HashMap<Key, (V, Instant)>>,
}

impl<V: Clone> Answers<V> {
    fn new(max_age: Duration) -> Self {
        Self { max_age, answers: Mutex::default() }
    }

    /// Returns a recent answer, or runs `ask` and stores its answer.
    async fn get_or_ask(
        &self,
        key: Key,
        ask: impl Future<Output = Result<V, Error>>,
    ) -> Result<V, Error> {
        let known = self.answers().get(&key).cloned();
        if let Some((answer, _)) = known.filter(|(_, since)| since.elapsed() <= self.max_age) {
            return Ok(answer);
        }
        let since = Instant::now();
        let answer = ask.await?;
        self.answers().insert(key, (answer.clone(), since));
        Ok(answer)
    }

    fn forget(&self, key: &Key) {
        self.answers().remove(key);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Key, (V, Instant)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ImageSink for CachingSink {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        let answer = self.sink.manifest_digest(repository, reference);
        match reference {
            TagOrDigest::Digest(digest) => {
                self.manifests.get_or_ask((repository.clone(), *digest), answer).await
            }
            TagOrDigest::Tag(_) => answer.await,
        }
    }

    async fn verified_manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.sink.verified_manifest_digest(repository, reference).await
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        let key = (repository.clone(), descriptor.digest);
        self.blobs.get_or_ask(key, self.sink.has_blob(repository, descriptor)).await
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        let key = (repository.clone(), blob.descriptor().digest);
        let put = self.sink.put_blob(repository, blob).await;
        self.blobs.forget(&key);
        put
    }

    async fn mount_blob(
        &self,
        from: &Repository,
        to: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        self.blobs.forget(&(to.clone(), descriptor.digest));
        self.sink.mount_blob(from, to, descriptor).await
    }

    fn registry(&self) -> Option<&str> {
        self.sink.registry()
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let put = self.sink.put_manifest(repository, manifest, tag).await;
        self.manifests.forget(&(repository.clone(), manifest.digest()));
        put
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_blob;
    use crate::storage::MemoryStorage;

    const MAX_AGE: Duration = Duration::from_secs(30);

    fn name() -> Repository {
        "a/b".parse().unwrap()
    }

    /// A storage, and a sink that caches its lookups.
    fn cached() -> (MemoryStorage, CachingSink) {
        let storage = MemoryStorage::default();
        let sink = CachingSink::new(Arc::new(storage.clone()), MAX_AGE);
        (storage, sink)
    }

    #[tokio::test(start_paused = true)]
    async fn answer_is_kept_until_max_age() {
        let (storage, sink) = cached();
        let blob = Descriptor::of("text/plain", b"blob");
        assert!(!sink.has_blob(&name(), &blob).await.unwrap());
        storage.add_blob(&name(), b"blob");
        tokio::time::sleep(MAX_AGE).await;
        assert!(!sink.has_blob(&name(), &blob).await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(sink.has_blob(&name(), &blob).await.unwrap());
    }

    #[tokio::test]
    async fn writes_replace_answers() {
        let (_, sink) = cached();
        let source = MemoryStorage::default();
        source.add_blob(&name(), b"blob");
        let blob = Descriptor::of("text/plain", b"blob");
        assert!(!sink.has_blob(&name(), &blob).await.unwrap());
        sink.put_blob(&name(), open_blob(Arc::new(source), &name(), &blob)).await.unwrap();
        assert!(sink.has_blob(&name(), &blob).await.unwrap());

        let index = crate::media_type::OCI_INDEX;
        let json = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let manifest = RawManifest::new(index, json);
        let digest = TagOrDigest::from(manifest.digest());
        assert_eq!(sink.manifest_digest(&name(), &digest).await.unwrap(), None);
        sink.put_manifest(&name(), &manifest, None).await.unwrap();
        assert_eq!(sink.manifest_digest(&name(), &digest).await.unwrap(), Some(manifest.digest()));
    }

    #[tokio::test]
    async fn tag_of_other_client_is_seen() {
        let (storage, sink) = cached();
        let tag: Tag = "v1".parse().unwrap();
        let tagged = TagOrDigest::from(tag.clone());
        for type_name in ["first", "second"] {
            let before = sink.manifest_digest(&name(), &tagged).await.unwrap();
            let json = format!(
                r#"{{"schemaVersion":2,"artifactType":"text/{type_name}","manifests":[]}}"#
            );
            let manifest = RawManifest::new(crate::media_type::OCI_INDEX, json);
            assert_ne!(before, Some(manifest.digest()));
            storage.put_manifest(&name(), &manifest, Some(&tag)).await.unwrap();
            let after = sink.manifest_digest(&name(), &tagged).await.unwrap();
            assert_eq!(after, Some(manifest.digest()));
        }
    }
}
