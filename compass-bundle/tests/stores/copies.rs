//! Layers that are copied from published bundles inside the storage.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use compass_bundle::store::{ObjectStore, Published, Store as _, store_path};
use compass_bundle::{BundlePlan, Error, WriteOptions, write};
use compass_registry::Digest;
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;

use crate::SCHEMES;
use crate::sample::{Counting, Shared};
use crate::world::World;

const MIB: u64 = 1 << 20;

/// The next version: one of two layers is new.
const LAYERS: [(u64, usize); 2] = [(0, 12_000_000), (7, 11_000_000)];

/// A published bundle, and the next version of it.
struct Copied {
    world: World,
    plan: Arc<BundlePlan>,
    images: MemoryStorage,
    /// The bytes of the next version.
    bytes: Vec<u8>,
}

impl Copied {
    async fn new(scheme: crate::signature::Scheme) -> Self {
        let world = World::new(scheme).await;
        world.publish().await.unwrap();
        let (plan, images) = world.next_version(&LAYERS).await;
        let source = Arc::new(images.clone());
        let options = WriteOptions::default();
        let written = write(&plan, source, world.directory.path(), &options).await.unwrap();
        let bytes = std::fs::read(&written.path).unwrap();
        Self { world, plan: Arc::new(plan), images, bytes }
    }

    fn key(&self) -> String {
        format!("team/{}", store_path(self.plan.document()).unwrap().display())
    }

    /// Publishes the local file of the next version.
    async fn publish(&self) -> Published {
        let path = self.world.directory.path().join(self.plan.file_name());
        self.world.publish_file(&path).await.unwrap()
    }

    /// Writes the next version to the store. Returns also how often each blob was opened.
    async fn write(&self) -> Result<(Published, Arc<Counting>), Error> {
        let counting = Arc::new(Counting::new(self.images.clone()));
        let source = Arc::new(Shared(Arc::clone(&counting)));
        let published =
            self.world.store().write(&self.plan, source, &WriteOptions::default()).await?;
        Ok((published, counting))
    }

    fn require_published(&self, published: &Published) {
        assert!(self.world.storage.object(&self.key()).as_ref() == Some(&self.bytes));
        assert_eq!(published.digest, Digest::of(&self.bytes));
        let checksum = self.world.storage.object(&format!("{}.sha256", self.key())).unwrap();
        assert!(String::from_utf8(checksum).unwrap().starts_with(&published.digest.hex()));
        assert_eq!(self.world.storage.uploads(), 0);
        let keys = self.world.storage.state.content.lock().unwrap();
        assert!(!keys.objects.keys().any(|key| key.ends_with(".upload")), "a marker is left");
        assert_eq!(published.sent + published.copied, published.size);
    }
}

/// The bytes that may be sent if the first layer is copied.
fn is_new_layer_only(published: &Published) -> bool {
    published.copied > 6 * MIB && published.sent <= LAYERS[1].1 as u64 + 5 * MIB + 20_000
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_copies_equal_layers() {
    for scheme in SCHEMES {
        let copied = Copied::new(scheme).await;
        let published = copied.publish().await;
        assert!(is_new_layer_only(&published), "{published:?}");
        copied.require_published(&published);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_fetches_no_copied_layer() {
    for scheme in SCHEMES {
        let copied = Copied::new(scheme).await;
        let (published, counting) = copied.write().await.unwrap();
        assert!(is_new_layer_only(&published), "{published:?}");
        copied.require_published(&published);
        let layer = Digest::of(&random_bytes(LAYERS[0].0, LAYERS[0].1));
        let opened = counting.opened.lock().unwrap();
        assert!(opened.len() == 2 && !opened.contains_key(&layer), "{opened:?}");
        assert!(opened.values().all(|count| *count == 1), "{opened:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_without_copy_sends_everything() {
    let copied = Copied::new(SCHEMES[0]).await;
    let options = copied.world.options().copy(false);
    let store = ObjectStore::open(&copied.world.storage.url(), &options).unwrap();
    let source = Arc::new(copied.images.clone());
    let published = store.write(&copied.plan, source, &WriteOptions::default()).await.unwrap();
    assert_eq!((published.copied, published.sent), (0, published.size));
    copied.require_published(&published);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_copies_are_sent() {
    for scheme in SCHEMES {
        for is_file in [true, false] {
            let copied = Copied::new(scheme).await;
            copied.world.storage.state.faults.refuses_copies.store(true, Ordering::Relaxed);
            let published = match is_file {
                true => copied.publish().await,
                false => copied.write().await.unwrap().0,
            };
            assert_eq!((published.copied, published.sent), (0, published.size));
            copied.require_published(&published);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_copies_are_sent() {
    for scheme in SCHEMES {
        for is_file in [true, false] {
            let copied = Copied::new(scheme).await;
            copied.world.storage.state.faults.changes_copies.store(true, Ordering::Relaxed);
            let published = match is_file {
                true => copied.publish().await,
                false => copied.write().await.unwrap().0,
            };
            assert_eq!(published.copied, 0);
            copied.require_published(&published);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_published_layer_is_not_used() {
    for scheme in SCHEMES {
        for is_file in [true, false] {
            let copied = Copied::new(scheme).await;
            {
                let mut content = copied.world.storage.state.content.lock().unwrap();
                let object = content.objects.get_mut(&copied.world.key()).unwrap();
                // In the part of the first layer that is copied.
                object.bytes[9_000_000] ^= 1;
            }
            let published = match is_file {
                true => copied.publish().await,
                false => copied.write().await.unwrap().0,
            };
            copied.require_published(&published);
            assert_eq!(published.copied, 0, "{published:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_published_bundle_is_skipped() {
    let copied = Copied::new(SCHEMES[0]).await;
    {
        let mut content = copied.world.storage.state.content.lock().unwrap();
        let object = content.objects.get_mut(&copied.world.key()).unwrap();
        object.bytes[..100].fill(0);
    }
    let published = copied.publish().await;
    assert_eq!(published.copied, 0);
    copied.require_published(&published);
}
