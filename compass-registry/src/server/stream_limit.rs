//! Bounds the number of blobs that are sent at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use futures_util::TryStreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServerOptions;
use super::error::ApiError;
use super::metrics::Metrics;
use crate::ByteStream;

/// Bounds the number of blobs that are sent at a time, and so the memory and the open files.
#[derive(Debug, Clone)]
pub(super) struct StreamLimit {
    free: Arc<Semaphore>,
    /// How long a request waits before it is refused.
    wait: Duration,
}

impl StreamLimit {
    pub(super) fn new(options: &ServerOptions) -> Self {
        let streams = options.max_streams.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(streams)), wait: options.stream_wait }
    }

    /// Waits until another blob may be sent.
    ///
    /// # Errors
    /// 503 if no transfer ends in time.
    pub(super) async fn acquire(
        &self,
        metrics: &Metrics,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let acquiring = Arc::clone(&self.free).acquire_owned();
        match tokio::time::timeout(self.wait, acquiring).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                metrics.count_refused_stream();
                let message = "the server is busy with too many transfers";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TOOMANYREQUESTS", message))
            }
        }
    }
}

/// The body of a response that counts its bytes, and returns the permit at its end.
///
/// A client sees only that the connection breaks if the storage fails, so the reason is logged.
pub(super) fn body(bytes: ByteStream, permit: OwnedSemaphorePermit, metrics: &Metrics) -> Body {
    let (counted, metrics) = (metrics.start_stream(), metrics.clone());
    let bytes = bytes.inspect_ok(move |chunk| {
        let _held = &permit;
        counted.sent(chunk.len());
    });
    Body::from_stream(bytes.inspect_err(move |error| {
        metrics.count_failed_stream();
        tracing::error!(error = error as &dyn std::error::Error, "a transfer failed");
    }))
}
