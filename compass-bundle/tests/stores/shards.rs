//! Bundles that several processes send in shards, and resumed uploads of planned bundles.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compass_bundle::document::BundleKind;
use compass_bundle::store::{
    ObjectStore, SentShard, Shard, ShardOptions, Store as _, StoreOptions, store_path,
};
use compass_bundle::{BundlePlan, Error, WriteOptions, write};
use compass_registry::testing::random_bytes;
use compass_registry::{Digest, RetryPolicy};

use crate::sample::{self, Counting, Shared};
use crate::server::{Part, Storage};
use crate::signature::Scheme;
use crate::{SCHEMES, StoreEnvironment};

/// The size of a layer that is cut into parts.
const LARGE: usize = 11_000_000;

/// A planned bundle and a counting source.
struct Sharded {
    storage: Storage,
    plan: Arc<BundlePlan>,
    source: Arc<Counting>,
    /// The bytes of the bundle as a local file.
    bytes: Vec<u8>,
}

impl Sharded {
    /// Plans a bundle of images with layers of these seeds and sizes.
    async fn new(scheme: Scheme, images: &[&[(u64, usize)]], kind: BundleKind) -> Self {
        let images: Vec<Vec<_>> = images
            .iter()
            .map(|layers| layers.iter().map(|(seed, size)| random_bytes(*seed, *size)).collect())
            .collect();
        let (images, references) = sample::store(&images).await;
        let plan = sample::plan(&images, &references, kind, true).await;
        let directory = tempfile::tempdir().unwrap();
        let local = Arc::new(images.clone());
        let written = write(&plan, local, directory.path(), &WriteOptions::default()).await;
        let bytes = std::fs::read(written.unwrap().path).unwrap();
        let source = Arc::new(Counting::new(images));
        Self { storage: Storage::start(scheme).await, plan: Arc::new(plan), source, bytes }
    }

    async fn plugin(scheme: Scheme) -> Self {
        let layers = [(1, LARGE), (2, 3_000_000), (3, LARGE), (4, 2000), (5, 15_000_000)];
        Self::new(scheme, &[&layers], BundleKind::Plugin).await
    }

    fn store(&self) -> ObjectStore {
        let retry = RetryPolicy::default().initial_backoff(Duration::from_millis(1));
        let environment = StoreEnvironment::new(self.storage.variables());
        let options = StoreOptions::default().environment(environment).retry(retry);
        ObjectStore::open(&self.storage.url(), &options).unwrap()
    }

    async fn send(&self, shard: &str) -> Result<SentShard, Error> {
        self.send_with(&ShardOptions::new(shard.parse().unwrap())).await
    }

    async fn send_with(&self, options: &ShardOptions) -> Result<SentShard, Error> {
        let source = Arc::new(Shared(Arc::clone(&self.source)));
        self.store().write_shard(&self.plan, source, options, &WriteOptions::default()).await
    }

    fn key(&self) -> String {
        format!("team/{}", store_path(self.plan.document()).unwrap().display())
    }

    /// Checks that the storage has the bundle and its checksum, and nothing else.
    fn require_published(&self) {
        assert!(self.storage.object(&self.key()).as_ref() == Some(&self.bytes), "the bytes differ");
        let checksum = self.storage.object(&format!("{}.sha256", self.key())).unwrap();
        let hex = Digest::of(&self.bytes).hex();
        assert!(String::from_utf8(checksum).unwrap().starts_with(&hex));
        let content = self.storage.state.content.lock().unwrap();
        assert_eq!((content.uploads.len(), content.objects.len()), (0, 2));
    }

    /// Checks that no blob was opened more than once.
    fn require_each_blob_once(&self) {
        let opened = self.source.opened.lock().unwrap();
        assert!(!opened.is_empty() && opened.values().all(|count| *count == 1), "{opened:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_in_any_order_equal_file() {
    for scheme in SCHEMES {
        let sharded = Sharded::plugin(scheme).await;
        let mut sent = 0;
        for (shard, is_last) in [("3/3", false), ("1/3", false), ("2/3", true)] {
            let result = sharded.send(shard).await.unwrap();
            assert_eq!(result.missing_parts == 0, is_last, "{result:?}");
            assert_eq!(result.digest.is_some(), is_last);
            sent += result.sent;
        }
        assert_eq!(sent, sharded.plan.size());
        sharded.require_published();
        sharded.require_each_blob_once();
        let again = sharded.send("3/3").await.unwrap();
        assert!(again.present && again.sent == 0, "{again:?}");
        assert_eq!(again.digest, Some(Digest::of(&sharded.bytes)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_at_once_have_one_completion() {
    for scheme in SCHEMES {
        let sharded = Sharded::plugin(scheme).await;
        let shards: Vec<_> = (1..=8).map(|number| format!("{number}/8")).collect();
        let sent = shards.iter().map(|shard| sharded.send(shard));
        let sent = futures_util::future::join_all(sent).await;
        let sent: Vec<_> = sent.into_iter().map(Result::unwrap).collect();
        assert!(sent.iter().any(|one| one.missing_parts == 0), "{sent:?}");
        sharded.require_published();
        sharded.require_each_blob_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_completions_all_succeed() {
    for scheme in SCHEMES {
        let sharded = Sharded::plugin(scheme).await;
        sharded.send("1/2").await.unwrap();
        // All of them send the last share, and complete the bundle.
        let races = futures_util::future::join_all((0..8).map(|_| sharded.send("2/2"))).await;
        for result in races {
            assert_eq!(result.unwrap().missing_parts, 0);
        }
        sharded.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_shard_is_sent_again() {
    let sharded = Sharded::plugin(Scheme::Aws).await;
    sharded.source.limit.store(8_000_000, Ordering::Relaxed);
    let stopped = tokio::time::timeout(Duration::from_secs(3), sharded.send("1/2")).await;
    assert!(stopped.is_err(), "{stopped:?}");
    sharded.source.limit.store(u64::MAX, Ordering::Relaxed);
    assert!(sharded.send("2/2").await.unwrap().missing_parts > 0);
    assert_eq!(sharded.send("1/2").await.unwrap().missing_parts, 0);
    sharded.require_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_layer_is_read_once() {
    for kind in [BundleKind::Plugin, BundleKind::Product] {
        let shared = (1, LARGE);
        let images: [&[(u64, usize)]; 3] =
            [&[shared, (2, 1000)], &[(3, 2_000_000), shared], &[shared, (4, LARGE)]];
        let sharded = Sharded::new(Scheme::Aws, &images, kind).await;
        for shard in ["1/2", "2/2"] {
            sharded.send(shard).await.unwrap();
        }
        sharded.require_published();
        let layer = Digest::of(&random_bytes(1, LARGE));
        assert_eq!(sharded.source.opened.lock().unwrap()[&layer], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_without_checksum_are_completed_later() {
    let sharded = Sharded::plugin(Scheme::Oss).await;
    for number in [1, 2] {
        let shard = Shard::new(number, 2).unwrap();
        let sent = sharded.send_with(&ShardOptions::new(shard).checksum(false)).await.unwrap();
        assert_eq!(sent.digest, None);
    }
    assert!(sharded.storage.object(&sharded.key()).as_ref() == Some(&sharded.bytes));
    assert_eq!(sharded.storage.object(&format!("{}.sha256", sharded.key())), None);
    let source = Arc::new(Shared(Arc::clone(&sharded.source)));
    let options = WriteOptions::default();
    let written = sharded.store().write(&sharded.plan, source, &options).await.unwrap();
    assert!(written.present && written.sent == 0);
    sharded.require_published();
    sharded.require_each_blob_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_part_is_found_by_read_back() {
    for scheme in SCHEMES {
        let sharded = Sharded::plugin(scheme).await;
        sharded.send("1/2").await.unwrap();
        {
            let mut content = sharded.storage.state.content.lock().unwrap();
            let upload = content.uploads.values_mut().next().unwrap();
            let part = upload.parts.values_mut().next().unwrap();
            let mut bytes = part.bytes.to_vec();
            bytes[1_000_000] ^= 1;
            *part = Part::new(bytes.into());
        }
        let error = sharded.send("2/2").await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        assert_eq!(sharded.storage.object(&sharded.key()), None, "the damaged object is removed");
        for shard in ["1/2", "2/2"] {
            sharded.send(shard).await.unwrap();
        }
        sharded.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_resumed_reads_only_missing_layers() {
    for scheme in SCHEMES {
        let sharded = Sharded::plugin(scheme).await;
        sharded.send("1/2").await.unwrap();
        let source = Arc::new(Shared(Arc::clone(&sharded.source)));
        let options = WriteOptions::default();
        let written = sharded.store().write(&sharded.plan, source, &options).await.unwrap();
        assert!(!written.present && written.sent < written.size);
        sharded.require_published();
        sharded.require_each_blob_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shard_of_other_bytes_is_conflict() {
    let sharded = Sharded::plugin(Scheme::Aws).await;
    for shard in ["1/2", "2/2"] {
        sharded.send(shard).await.unwrap();
    }
    let layers = [(1, LARGE), (2, 3_000_000), (3, LARGE), (4, 2000), (6, 15_000_000)];
    let mut other = Sharded::new(Scheme::Aws, &[&layers], BundleKind::Plugin).await;
    other.storage = sharded.storage.clone();
    assert!(matches!(other.send("1/2").await, Err(Error::Conflict { .. })));
    sharded.require_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_bundle_is_sent_by_first_shard() {
    let sharded = Sharded::new(Scheme::Oss, &[&[(1, 1000)]], BundleKind::Plugin).await;
    assert_eq!(sharded.send("2/2").await.unwrap().missing_parts, 1);
    assert_eq!(sharded.send("1/2").await.unwrap().missing_parts, 0);
    sharded.require_published();
}
