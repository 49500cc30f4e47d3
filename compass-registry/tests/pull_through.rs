//! The pull-through cache: single flight, verification, its size, and an upstream that is down.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::pull_through::PullThroughCache;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{Fault, FaultyRegistry, SampleImage, Script, read_image};
use compass_registry::{Digest, Error, ImageRef, Repository, RetryPolicy, Tag, TagOrDigest};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;

const SIZE: u64 = 1 << 30;

struct World {
    directory: tempfile::TempDir,
    image: SampleImage,
    upstream: FaultyRegistry,
}

impl World {
    async fn new(layers: &[usize], script: Script) -> Self {
        let (storage, image) = (MemoryStorage::default(), SampleImage::new(1, layers));
        image.store(&storage, &name(), &tag()).await.unwrap();
        let upstream = FaultyRegistry::start(storage, script).await.unwrap();
        Self { directory: tempfile::tempdir().unwrap(), image, upstream }
    }

    async fn cache(&self, max_bytes: u64) -> PullThroughCache {
        open(&self.upstream.host(), self.directory.path(), max_bytes).await.unwrap()
    }

    fn layer(&self, number: usize) -> Digest {
        Digest::of(&self.image.blobs[number + 1])
    }
}

async fn open(host: &str, directory: &Path, max_bytes: u64) -> Result<PullThroughCache, Error> {
    let retry = RetryPolicy::default().max_attempts(1).connect_retry(Duration::ZERO);
    let options =
        ClientOptions::default().credentials(Arc::new(FaultyRegistry::credentials())).retry(retry);
    let client = Client::new(host, options).unwrap();
    loop {
        match PullThroughCache::open(client.clone(), directory, max_bytes).await {
            // A previous cache is still writing its last blob.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::ResourceBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

fn name() -> Repository {
    "release/web".parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

fn web() -> ImageRef {
    ImageRef::new(name(), tag())
}

async fn read(cache: &PullThroughCache, digest: &Digest) -> Result<Vec<u8>, Error> {
    let chunks: Vec<Bytes> =
        cache.read_blob(&name(), digest, 0..u64::MAX).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// The bytes of all files in the directories of blobs and uploads.
fn disk_usage(directory: &Path) -> u64 {
    let mut bytes = 0;
    for folder in ["registry/blobs/sha256", "registry/uploads"] {
        for file in std::fs::read_dir(directory.join(folder)).into_iter().flatten() {
            bytes += file.unwrap().metadata().unwrap().len();
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_fetch_each_blob_once() {
    let world = World::new(&[3_000_000, 70_000, 1], Script::default()).await;
    let options = ServerOptions::default().read_only(true);
    let server = Server::start(world.cache(SIZE).await, "127.0.0.1:0", options).await.unwrap();
    let pulls = (0..200).map(|_| {
        let client = Client::new(&server.host(), ClientOptions::default()).unwrap();
        async move { read_image(Arc::new(client), &web()).await.unwrap().digest() }
    });
    let pulled = join_all(pulls.map(tokio::spawn)).await;
    let expected = world.image.manifest.digest();
    assert!(pulled.into_iter().all(|digest| digest.unwrap() == expected));
    assert_eq!(world.upstream.blob_bytes(), world.image.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_image_is_served_while_upstream_is_down() {
    let world = World::new(&[300_000], Script::default()).await;
    let cache = world.cache(SIZE).await;
    read_image(Arc::new(cache.clone()), &web()).await.unwrap();
    drop(cache);
    let World { directory, image, upstream } = world;
    let host = upstream.host();
    drop(upstream);
    // After the process was killed, too.
    let unfinished = directory.path().join("registry/uploads/.upload-x");
    std::fs::write(&unfinished, "half").unwrap();
    let cache = open(&host, directory.path(), SIZE).await.unwrap();
    assert!(!unfinished.exists());
    read_image(Arc::new(cache.clone()), &web()).await.unwrap();
    assert_eq!(cache.tags(&name()).await.unwrap(), Some(vec![tag()]));
    assert_eq!(cache.repositories().await.unwrap(), [name()]);
    let other: Tag = "v2".parse().unwrap();
    for missing in [TagOrDigest::Tag(other), TagOrDigest::Digest(Digest::of(b"x"))] {
        let error = Storage::manifest(&cache, &name(), &missing).await.unwrap_err();
        assert!(matches!(error, Error::Upstream { .. }), "{error:?}");
    }
    let stale = cache.metrics().into_iter().find(|one| one.name == "compass_cache_stale_total");
    assert!(stale.unwrap().value > 0);
    assert_eq!(read(&cache, &Digest::of(&image.blobs[1])).await.unwrap(), image.blobs[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_content_of_upstream_is_none() {
    let world = World::new(&[100], Script::default()).await;
    let cache = world.cache(SIZE).await;
    let other: Tag = "v2".parse().unwrap();
    assert_eq!(Storage::manifest(&cache, &name(), &other.into()).await.unwrap(), None);
    assert_eq!(Storage::blob_size(&cache, &name(), &Digest::of(b"x")).await.unwrap(), None);
    // A blob that no manifest has named yet.
    let size = Storage::blob_size(&cache, &name(), &world.layer(0)).await.unwrap();
    assert_eq!(size, Some(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blob_is_not_cached() {
    // Requests: the size, the blob, the blob again.
    let script = Script(vec![(2, Fault::WrongByte(200_000))]);
    let world = World::new(&[500_000], script).await;
    let cache = world.cache(SIZE).await;
    let digest = world.layer(0);
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(read(&cache, &digest).await);
    }
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, 1, "{results:?}");
    assert!(results.into_iter().flatten().all(|bytes| bytes == world.image.blobs[1]));
    // Readers get the last bytes before the blob has its final name, and the error before the
    // damaged file is removed.
    while disk_usage(world.directory.path()) != 500_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_stays_within_its_size() {
    let world = World::new(&[400_000, 410_000, 420_000, 2_000_000], Script::default()).await;
    let cache = world.cache(1_000_000).await;
    for round in 0..2 {
        for number in 0..4 {
            let bytes = read(&cache, &world.layer(number)).await.unwrap();
            assert!(bytes == world.image.blobs[number + 1], "round {round}, layer {number}");
            assert!(disk_usage(world.directory.path()) <= 1_000_000);
        }
    }
    let value = |name| cache.metrics().into_iter().find(|one| one.name == name).unwrap().value;
    assert!(value("compass_cache_evicted_total") > 0);
    assert_eq!(value("compass_cache_uncached_total"), 2, "the last layer is too large");
    assert!(value("compass_cache_bytes") <= 1_000_000);
    drop(cache);
    // A smaller cache removes the least recently used blobs.
    let cache = world.cache(450_000).await;
    assert!(disk_usage(world.directory.path()) <= 450_000);
    drop(cache);
}

#[tokio::test]
async fn open_other_directory_is_error() {
    let world = World::new(&[100], Script::default()).await;
    std::fs::write(world.directory.path().join("notes.txt"), "mine").unwrap();
    let host = world.upstream.host();
    let refused = open(&host, world.directory.path(), SIZE).await.unwrap_err().to_string();
    assert!(refused.contains("not empty and not a cache"), "{refused}");
}
