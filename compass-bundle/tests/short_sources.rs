//! Sources that break the contract of `BundleSource`: they return fewer bytes than requested.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{
    Bundle, BundleSource, Error, ForeignPackage, Package, VerifyOptions, stream, verify_unreadable,
};
use compass_registry::testing::random_bytes;
use futures_util::TryStreamExt as _;

/// Returns at most `limit` bytes of each range.
#[derive(Debug)]
struct ShortSource {
    bytes: Bytes,
    limit: AtomicUsize,
}

#[async_trait]
impl BundleSource for ShortSource {
    fn name(&self) -> String {
        "short".to_owned()
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let start = usize::try_from(range.start).unwrap();
        let end = usize::try_from(range.end).unwrap();
        Ok(self.bytes.slice(start..end.min(start + self.limit.load(Ordering::Relaxed))))
    }
}

async fn source(limit: usize) -> Arc<ShortSource> {
    let (storage, references) = sample::store(&[vec![random_bytes(1, 300_000)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let chunks: Vec<Bytes> = stream(Arc::new(plan), Arc::new(storage)).try_collect().await.unwrap();
    Arc::new(ShortSource { bytes: chunks.concat().into(), limit: AtomicUsize::new(limit) })
}

fn assert_names_source(error: &Error) {
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("short"), "{error}");
}

#[tokio::test]
async fn open_short_source_is_io_error() {
    for limit in [0, 1, 14, 600, 10_000] {
        assert_names_source(&Bundle::read(source(limit).await).await.unwrap_err());
        assert_names_source(&Package::read(source(limit).await).await.unwrap_err());
    }
}

#[tokio::test]
async fn verify_short_source_ends_with_error() {
    let short = source(usize::MAX).await;
    let bundle = Bundle::read(short.clone()).await.unwrap();
    for limit in [0, 1, 100_000] {
        short.limit.store(limit, Ordering::Relaxed);
        let error = bundle.verify(&VerifyOptions::default()).await.unwrap_err();
        assert_names_source(&error);
        let damaged = Error::NotABundle { path: String::new(), reason: String::new() };
        let verified = verify_unreadable(short.clone(), &damaged, &VerifyOptions::default()).await;
        assert_names_source(&verified.unwrap_err());
    }
}

#[tokio::test]
async fn scan_short_source_ends_with_error() {
    let error = ForeignPackage::read(source(0).await).await.unwrap_err();
    assert!(error.to_string().contains("short"), "{error}");
}
