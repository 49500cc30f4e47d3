//! Writes bundles from a slow source, whose blobs are fetched in ranges over several connections.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// The length of a range in bytes.
const RANGE: u64 = 64 << 10;

/// The maximum number of connections.
const CONNECTIONS: usize = 5;

/// The size of a large layer in bytes.
const LARGE: usize = 2_200_000;

/// A source that waits before each chunk of a blob.
struct SlowSource {
    source: Shared,
    ranges: RangeOptions,
    delay: Duration,
    /// Offset of a byte of the large blobs that the source changes.
    wrong_byte: Option<u64>,
    open: Arc<AtomicUsize>,
    /// The maximum number of connections that were open at once.
    max_open: AtomicUsize,
}

/// An open connection.
struct Connection(Arc<AtomicUsize>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SlowSource {
    fn new(source: &Arc<Counting>) -> Self {
        Self {
            source: Shared(Arc::clone(source)),
            ranges: RangeOptions::new(RANGE, CONNECTIONS).sequential_above(u64::MAX),
            delay: Duration::from_millis(5),
            wrong_byte: None,
            open: Arc::default(),
            max_open: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl ImageSource for SlowSource {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        self.source.manifest(repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.max_open.fetch_max(open, Ordering::Relaxed);
        let connection = Connection(Arc::clone(&self.open));
        let (mut position, delay) = (range.start, self.delay);
        let wrong = self.wrong_byte.filter(|wrong| *wrong < descriptor.size);
        let bytes = self.source.blob(repository, descriptor, range).await?;
        let bytes = bytes.map_ok(move |chunk| {
            let _connection = &connection;
            let mut chunk = chunk.to_vec();
            let at = wrong.and_then(|wrong| wrong.checked_sub(position));
            if let Some(byte) = at.and_then(|at| chunk.get_mut(usize::try_from(at).unwrap())) {
                *byte ^= 1;
            }
            position += chunk.len() as u64;
            chunk.into()
        });
        let delayed = bytes.then(move |chunk| async move {
            tokio::time::sleep(delay).await;
            chunk
        });
        Ok(delayed.boxed())
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        Some(&self.ranges)
    }
}

fn images() -> Vec<Vec<Vec<u8>>> {
    let shared = random_bytes(1, LARGE);
    vec![vec![shared.clone(), random_bytes(2, 700_001)], vec![shared, random_bytes(3, 65_535 * 3)]]
}

fn digest_of_file(path: &Path) -> Digest {
    Digest::of(&std::fs::read(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn write_parallel_ranges_yields_same_bundle() {
    for kind in [BundleKind::Plugin, BundleKind::Product] {
        let (storage, references) = sample::store(&images()).await;
        let plan = sample::plan(&storage, &references, kind, false).await;
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = WriteOptions::default();
        let expected = write(&plan, Arc::new(storage.clone()), one.path(), &options).await.unwrap();
        for jobs in [1, 8] {
            let source = Arc::new(Counting::new(storage.clone()));
            let slow = Arc::new(SlowSource::new(&source));
            let options = WriteOptions::default().jobs(jobs);
            let written = write(&plan, slow.clone(), other.path(), &options).await.unwrap();
            assert_eq!(written.digest, expected.digest);
            assert_eq!(digest_of_file(&written.path), expected.digest);
            let bundle = Bundle::open(&written.path).await.unwrap();
            assert!(bundle.verify(&VerifyOptions::default()).await.unwrap().is_ok());
            assert_eq!(source.bytes(), plan.blob_bytes(), "each byte is fetched once");
            assert!(slow.max_open.load(Ordering::Relaxed) > 2, "several connections");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_interrupted_ranges_are_resumed() {
    let (storage, references) = sample::store(&images()).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = WriteOptions::default();
    let expected = write(&plan, Arc::new(storage.clone()), one.path(), &options).await.unwrap();
    for step in 1..6 {
        let source = Arc::new(Counting::new(storage.clone()));
        source.limit.store(plan.blob_bytes() * step / 6, Ordering::Relaxed);
        let run = write(&plan, Arc::new(SlowSource::new(&source)), other.path(), &options);
        let waited = tokio::time::timeout(Duration::from_millis(500), run).await;
        assert!(waited.is_err(), "the run cannot end before its bytes have arrived");
        source.limit.store(u64::MAX, Ordering::Relaxed);
        let written = loop {
            let slow = Arc::new(SlowSource::new(&source));
            match write(&plan, slow, other.path(), &options).await {
                Err(Error::Busy { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                written => break written.unwrap(),
            }
        };
        assert_eq!(written.digest, expected.digest, "after {step} of 6 parts");
        assert_eq!(digest_of_file(&written.path), expected.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_wrong_range_is_error_naming_blob() {
    let (storage, references) = sample::store(&[vec![random_bytes(1, LARGE)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let layer = Digest::of(&random_bytes(1, LARGE));
    let directory = tempfile::tempdir().unwrap();
    for fast_enough in [u64::MAX, 0] {
        let mut source = SlowSource::new(&Arc::new(Counting::new(storage.clone())));
        source.ranges = RangeOptions::new(RANGE, CONNECTIONS).sequential_above(fast_enough);
        source.wrong_byte = Some(800_000);
        let options = WriteOptions::default();
        let error = write(&plan, Arc::new(source), directory.path(), &options).await.unwrap_err();
        assert!(error.to_string().contains(&layer.to_string()), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }
}
