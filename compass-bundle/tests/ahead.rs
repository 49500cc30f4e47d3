//! Prefetched parts of a blob over a slow connection: the bundle has the same bytes, and each byte
//! is fetched once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use compass_bundle::document::BundleKind;
use compass_bundle::{Bundle, Error, VerifyOptions, WriteOptions, write};
use compass_registry::testing::random_bytes;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, RangeOptions, RawManifest,
    Repository, TagOrDigest,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sample::{Counting, Shared};

/// A source that lets parts of a blob be fetched ahead over several connections.
struct Slow {
    source: Shared,
    parts: RangeOptions,
    /// Offset of a byte of the large blobs that the source changes.
    wrong: Option<u64>,
}

impl Slow {
    fn new(source: &Arc<Counting>) -> Arc<Self> {
        let parts = RangeOptions::new(64 << 10, 5).sequential_above(u64::MAX);
        Arc::new(Self { source: Shared(Arc::clone(source)), parts, wrong: None })
    }
}

#[async_trait]
impl ImageSource for Slow {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        self.source.manifest(repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let mut position = range.start;
        let wrong = self.wrong.filter(|wrong| *wrong < descriptor.size);
        let bytes = self.source.blob(repository, descriptor, range).await?;
        let bytes = bytes.map_ok(move |chunk| {
            let mut chunk = chunk.to_vec();
            let at = wrong.and_then(|wrong| wrong.checked_sub(position));
            if let Some(byte) = at.and_then(|at| chunk.get_mut(usize::try_from(at).unwrap())) {
                *byte ^= 1;
            }
            position += chunk.len() as u64;
            chunk.into()
        });
        Ok(bytes.boxed())
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        Some(&self.parts)
    }
}

/// Size in bytes of a large blob, which is hashed together with the file while it arrives in order.
const LARGE: usize = 4_400_000;

fn images() -> Vec<Vec<Vec<u8>>> {
    let shared = random_bytes(1, LARGE);
    vec![vec![shared.clone(), random_bytes(2, 700_001)], vec![shared, random_bytes(3, 65_535 * 3)]]
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_come_early_make_the_same_bundle() {
    for kind in [BundleKind::Plugin, BundleKind::Product] {
        let (storage, references) = sample::store(&images()).await;
        let plan = sample::plan(&storage, &references, kind, false).await;
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = WriteOptions::default();
        let expected = write(&plan, Arc::new(storage.clone()), one.path(), &options).await.unwrap();
        for jobs in [1, 8] {
            let source = Arc::new(Counting::new(storage.clone()));
            let options = WriteOptions { jobs, ..WriteOptions::default() };
            let written = write(&plan, Slow::new(&source), other.path(), &options).await.unwrap();
            assert_eq!(written.digest, expected.digest);
            let file = std::fs::read(&written.path).unwrap();
            assert_eq!(Digest::of(&file), expected.digest, "what is said is what was written");
            let bundle = Bundle::open(&written.path).await.unwrap();
            assert!(bundle.verify(&VerifyOptions::default()).await.unwrap().is_ok());
            assert_eq!(source.bytes(), plan.blob_bytes(), "each byte came once");
            let opened: u64 = source.opened.lock().unwrap().values().sum();
            assert!(opened > plan.blob_bytes() / (2 * (64 << 10)) / 2, "in parts: {opened}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_run_that_was_interrupted_goes_on() {
    let (storage, references) = sample::store(&images()).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = WriteOptions::default();
    let expected = write(&plan, Arc::new(storage.clone()), one.path(), &options).await.unwrap();
    for step in 1..6 {
        let source = Arc::new(Counting::new(storage.clone()));
        source.limit.store(plan.blob_bytes() * step / 6, Ordering::Relaxed);
        let run = write(&plan, Slow::new(&source), other.path(), &options);
        let waited = tokio::time::timeout(Duration::from_millis(500), run).await;
        assert!(waited.is_err(), "the run cannot end before its bytes have come");
        source.limit.store(u64::MAX, Ordering::Relaxed);
        let written = loop {
            match write(&plan, Slow::new(&source), other.path(), &options).await {
                Err(Error::Busy { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                written => break written.unwrap(),
            }
        };
        assert_eq!(written.digest, expected.digest, "after {step} of 6 parts");
        assert_eq!(Digest::of(&std::fs::read(&written.path).unwrap()), expected.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_wrong_is_an_error_that_names_the_blob() {
    let (storage, references) = sample::store(&[vec![random_bytes(1, LARGE)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let layer = Digest::of(&random_bytes(1, LARGE));
    let directory = tempfile::tempdir().unwrap();
    for fast_enough in [u64::MAX, 0] {
        let source = Shared(Arc::new(Counting::new(storage.clone())));
        let parts = RangeOptions::new(64 << 10, 5).sequential_above(fast_enough);
        let slow = Arc::new(Slow { source, parts, wrong: Some(800_000) });
        let options = WriteOptions::default();
        let failed = write(&plan, slow, directory.path(), &options).await.unwrap_err();
        assert!(failed.to_string().contains(&layer.to_string()), "{failed}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }
}
