//! Minimum speed for remote reads. A server that sends a byte now and then would otherwise never
//! fail.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{Digest, RetryPolicy};
use futures_util::stream::BoxStream;
use tokio::time::timeout;

use super::redact_url;
use crate::{BundleSource, Error, LocalFile};

/// A source whose reads fail below a minimum speed.
#[derive(Debug)]
pub(super) struct MinSpeedSource {
    source: Arc<dyn BundleSource>,
    policy: RetryPolicy,
}

/// A transfer was below the minimum speed.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes did not arrive within {} s: the minimum speed is {least} bytes a second", .time.as_secs())]
pub(crate) struct TooSlow {
    pub(super) bytes: u64,
    pub(super) time: Duration,
    pub(super) least: u64,
}

impl MinSpeedSource {
    /// Opens a source. The time to open it is limited to the window over which the speed is
    /// measured.
    pub(super) async fn open<S: BundleSource + 'static>(
        address: &str,
        policy: &RetryPolicy,
        opening: impl Future<Output = Result<S, Error>>,
    ) -> Result<Arc<dyn BundleSource>, Error> {
        let source = in_time(policy, &redact_url(address), 0, opening).await?;
        Ok(Arc::new(Self { source: Arc::new(source), policy: *policy }))
    }
}

#[async_trait]
impl BundleSource for MinSpeedSource {
    fn name(&self) -> String {
        self.source.name()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let bytes = range.end.saturating_sub(range.start);
        in_time(&self.policy, &self.name(), bytes, self.source.read(range)).await
    }

    /// The minimum speed does not apply, because the reader of the stream may be slow.
    fn read_stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        Arc::clone(&self.source).read_stream(range)
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        in_time(&self.policy, &self.name(), 0, self.source.checksum()).await
    }

    fn local(&self) -> Option<&LocalFile> {
        self.source.local()
    }
}

/// Fails a transfer that is slower than the minimum speed.
///
/// A transfer may always take the window over which the speed is measured.
async fn in_time<T>(
    policy: &RetryPolicy,
    name: &str,
    bytes: u64,
    transfer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let least = policy.min_speed;
    if least == 0 || policy.speed_window.is_zero() {
        return transfer.await;
    }
    let time = policy.speed_window.max(Duration::from_secs(bytes / least));
    let slow = |_| Error::store("read", name, TooSlow { bytes, time, least });
    timeout(time, transfer).await.map_err(slow)?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source with a fixed speed in bytes a second.
    #[derive(Debug)]
    struct Slow(u64);

    #[async_trait]
    impl BundleSource for Slow {
        fn name(&self) -> String {
            "https://host/a".to_owned()
        }

        fn size(&self) -> u64 {
            1 << 30
        }

        async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
            tokio::time::sleep(Duration::from_secs((range.end - range.start) / self.0)).await;
            Ok(Bytes::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn read_below_min_speed_is_error() {
        let policy = RetryPolicy::default();
        let read = async |speed: u64, bytes: u64, policy: &RetryPolicy| {
            let opened =
                MinSpeedSource::open("https://host/a", policy, async { Ok(Slow(speed)) }).await;
            opened.unwrap().read(0..bytes).await
        };
        assert!(read(2000, 1 << 30, &policy).await.is_ok());
        let slow = read(500, 1 << 30, &policy).await.unwrap_err();
        let why = std::error::Error::source(&slow).unwrap().to_string();
        assert!(why.contains("the minimum speed is 1024 bytes"), "{why}");
        assert_eq!(slow.hint(), Some(compass_registry::Hint::LowerMinSpeed));
        // A short transfer may take the whole window.
        assert!(read(1, 250, &policy).await.is_ok());
        assert!(read(1, 400, &policy).await.is_err());
        let patient = policy.min_speed(0);
        assert!(read(1, 1 << 20, &patient).await.is_ok());
    }
}
