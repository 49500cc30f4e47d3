//! A storage, and a bundle to publish.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compass_bundle::document::BundleKind;
use compass_bundle::store::{
    ObjectStore, PublishOptions, Published, Store, StoreEnvironment, StoreOptions, store_path,
};
use compass_bundle::{Bundle, BundleContents, BundlePlan, Error, WriteOptions, write};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use compass_registry::{Digest, RetryPolicy};

use crate::sample;
use crate::server::Storage;
use crate::signature::Scheme;

/// A storage, and a bundle of five parts to publish.
pub(crate) struct World {
    pub(crate) storage: Storage,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) contents: BundleContents,
    pub(crate) plan: Arc<BundlePlan>,
    pub(crate) images: MemoryStorage,
    pub(crate) bundle: PathBuf,
}

impl World {
    pub(crate) async fn new(scheme: Scheme) -> Self {
        Self::with_layers(scheme, &[12_000_000, 12_000_000]).await
    }

    pub(crate) async fn with_layers(scheme: Scheme, sizes: &[usize]) -> Self {
        let layers = sizes.iter().zip(0..).map(|(size, seed)| random_bytes(seed, *size)).collect();
        let (images, references) = sample::store(&[layers]).await;
        let contents = sample::contents(&images, &references, BundleKind::Plugin, false).await;
        let plan = BundlePlan::new(&contents).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(images.clone());
        let written = write(&plan, source, directory.path(), &WriteOptions::default()).await;
        let bundle = written.unwrap().path;
        let storage = Storage::start(scheme).await;
        Self { storage, directory, contents, plan: Arc::new(plan), images, bundle }
    }

    pub(crate) fn options(&self) -> StoreOptions {
        let retry = RetryPolicy::default()
            .initial_backoff(Duration::from_millis(1))
            .idle_timeout(Duration::from_secs(10));
        let environment = StoreEnvironment::new(self.storage.variables());
        StoreOptions::default().environment(environment).retry(retry)
    }

    pub(crate) fn store(&self) -> ObjectStore {
        ObjectStore::open(&self.storage.url(), &self.options()).unwrap()
    }

    pub(crate) async fn publish(&self) -> Result<Published, Error> {
        self.publish_file(&self.bundle).await
    }

    pub(crate) async fn publish_file(&self, file: &Path) -> Result<Published, Error> {
        let bundle = Bundle::open(file).await?;
        let options = PublishOptions::default();
        self.store().publish(file, bundle.document(), &options).await
    }

    pub(crate) async fn write(&self) -> Result<Published, Error> {
        let source = Arc::new(self.images.clone());
        self.store().write(&self.plan, source, &WriteOptions::default()).await
    }

    pub(crate) fn key(&self) -> String {
        format!("team/{}", store_path(self.plan.document()).unwrap().display())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.bundle).unwrap()
    }

    /// The plan of the next version, with these layers, and the source of its blobs.
    pub(crate) async fn next_version(
        &self,
        layers: &[(u64, usize)],
    ) -> (BundlePlan, MemoryStorage) {
        let layers = layers.iter().map(|(seed, size)| random_bytes(*seed, *size)).collect();
        let (images, references) = sample::store(&[layers]).await;
        let mut contents = sample::contents(&images, &references, BundleKind::Plugin, false).await;
        "v0.2.0".clone_into(&mut contents.version);
        (BundlePlan::new(&contents).unwrap(), images)
    }

    /// Writes a bundle with the same name and size, and another time.
    pub(crate) async fn other_bundle(&self, seed: u64) -> PathBuf {
        let contents = self.contents.clone().modified(1_600_000_000 + seed);
        let plan = BundlePlan::new(&contents).unwrap();
        let directory = self.directory.path().join(format!("other{seed}"));
        std::fs::create_dir(&directory).unwrap();
        let source = Arc::new(self.images.clone());
        write(&plan, source, &directory, &WriteOptions::default()).await.unwrap().path
    }

    /// Checks that the storage has the bundle and its checksum, and no unfinished upload.
    pub(crate) fn require_published(&self) {
        assert!(self.storage.object(&self.key()) == Some(self.bytes()), "the bytes differ");
        let checksum = self.storage.object(&format!("{}.sha256", self.key())).unwrap();
        let hex = Digest::of(&self.bytes()).hex();
        assert!(String::from_utf8(checksum).unwrap().starts_with(&hex));
        assert_eq!(self.storage.uploads(), 0, "unfinished uploads");
    }

    /// Lets an upload fail after two of its parts. Returns the bytes in the storage.
    pub(crate) async fn interrupt(&self) -> u64 {
        let faults = &self.storage.state.faults;
        faults.last_part.store(2, Ordering::Relaxed);
        let error = self.publish().await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        faults.last_part.store(0, Ordering::Relaxed);
        assert_eq!((self.storage.uploads(), self.storage.object(&self.key())), (1, None));
        let content = self.storage.state.content.lock().unwrap();
        let parts = content.uploads.values().flat_map(|upload| upload.parts.values());
        parts.map(|part| part.bytes.len() as u64).sum()
    }
}
