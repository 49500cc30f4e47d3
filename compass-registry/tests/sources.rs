//! Sources that send too much or too little.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::internal::open_blob_range;
use compass_registry::{
    ByteStream, Descriptor, Error, Hint, ImageSource, ImageSourceExt as _, RangeOptions,
    RawManifest, Repository, TagOrDigest, open_blob,
};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

/// A source that delays the start of blobs, and never ends their last part.
struct Endless(RangeOptions);

#[async_trait]
impl ImageSource for Endless {
    async fn manifest(&self, _: &Repository, _: &TagOrDigest) -> Result<RawManifest, Error> {
        Err(Error::NotFound { what: "a manifest".to_owned() })
    }

    async fn blob(
        &self,
        _: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let chunk = || Ok(Bytes::from(vec![0; 16 << 10]));
        if range.end == descriptor.size {
            return Ok(stream::repeat_with(chunk).boxed());
        }
        let slow = stream::repeat_with(chunk).then(|chunk| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            chunk
        });
        Ok(slow.boxed())
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        Some(&self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn endless_blob_fails() {
    let source = Arc::new(Endless(RangeOptions::new(64 << 10, 4)));
    let blob = |size| Descriptor { size, ..Descriptor::of("x", &[]) };
    let read = async |mut bytes: BoxStream<'_, Result<Bytes, Error>>| loop {
        match bytes.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error,
            None => panic!("it ended"),
        }
    };
    let ahead = open_blob(source.clone(), &name("a/b"), &blob(192 << 10));
    let error = read(ahead.boxed()).await;
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error:?}");
    let one = open_blob_range(source, &name("a/b"), &blob(100), 0..100);
    let error = read(one).await;
    assert!(matches!(error, Error::SizeMismatch { expected: 100, .. }), "{error:?}");
}

/// A source that sends one byte per request, and then fails or ends the stream.
struct Dripping {
    asked: AtomicUsize,
    breaks: bool,
}

#[async_trait]
impl ImageSource for Dripping {
    async fn manifest(&self, _: &Repository, _: &TagOrDigest) -> Result<RawManifest, Error> {
        Err(Error::NotFound { what: "a manifest".to_owned() })
    }

    async fn blob(
        &self,
        _: &Repository,
        _: &Descriptor,
        _: Range<u64>,
    ) -> Result<ByteStream, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let byte = Ok(Bytes::from("x"));
        if !self.breaks {
            return Ok(stream::iter([byte]).boxed());
        }
        let broken = Error::Unreachable {
            host: "a.b".to_owned(),
            request: "a blob".to_owned(),
            source: "reset".into(),
        };
        Ok(stream::iter([byte, Err(broken)]).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_per_connection_fails() {
    for breaks in [true, false] {
        let source = Arc::new(Dripping { asked: AtomicUsize::new(0), breaks });
        let descriptor = Descriptor { size: 10_000, ..Descriptor::of("x", &[]) };
        let mut bytes = open_blob_range(source.clone(), &name("a/b"), &descriptor, 0..10_000);
        let error = loop {
            match bytes.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("it ended"),
            }
        };
        assert!(!error.to_string().is_empty(), "{error:?}");
        let asked = source.asked.load(Ordering::Relaxed);
        assert_eq!(asked, 5, "one request per attempt: {error:?}");
    }
}

/// A source that sends bytes slowly, and never ends.
struct Trickling;

#[async_trait]
impl ImageSource for Trickling {
    async fn manifest(&self, _: &Repository, _: &TagOrDigest) -> Result<RawManifest, Error> {
        Err(Error::NotFound { what: "a manifest".to_owned() })
    }

    async fn blob(
        &self,
        _: &Repository,
        _: &Descriptor,
        _: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let bytes = stream::repeat_with(|| Ok(Bytes::from("x"))).then(|byte| async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            byte
        });
        Ok(bytes.boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn trickling_source_fails() {
    let descriptor = Descriptor { size: 1 << 20, ..Descriptor::of("x", &[]) };
    let before = tokio::time::Instant::now();
    let mut bytes = open_blob_range(Arc::new(Trickling), &name("a/b"), &descriptor, 0..1 << 20);
    let error = loop {
        match bytes.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it ended"),
        }
    };
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("below the minimum of 1024 bytes"), "{cause}");
    assert!(!error.is_transient() && error.hint() == Some(Hint::LowerMinSpeed), "{error:?}");
    assert_eq!(before.elapsed(), Duration::from_mins(5));

    let before = tokio::time::Instant::now();
    Trickling.read(&name("a/b"), &descriptor).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_mins(5));
}
