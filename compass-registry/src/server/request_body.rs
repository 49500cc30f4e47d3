//! Request bodies with an idle timeout and a minimum speed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::Registry;
use super::activity::Activity;
use super::error::ApiError;
use super::memory_budget::GrowingShare;
use crate::min_speed::SpeedGuard;

/// The body of a request.
pub(super) struct RequestBody {
    chunks: BodyDataStream,
    idle_timeout: Duration,
    speed_guard: SpeedGuard,
    received: u64,
    activity: Option<Arc<Activity>>,
}

impl RequestBody {
    pub(super) fn new(body: Body, request: &Parts, registry: &Registry) -> Self {
        Self {
            chunks: body.into_data_stream(),
            idle_timeout: registry.body_idle_timeout,
            speed_guard: registry.speed_guard.clone(),
            received: 0,
            activity: request.extensions.get::<Arc<Activity>>().cloned(),
        }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// 400 if the connection breaks; 408 if no byte arrives within the idle timeout, or if the
    /// client is too slow.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let invalid = |status, message| ApiError::new(status, "BLOB_UPLOAD_INVALID", message);
        self.set_working(false);
        let received = self.received;
        let next = tokio::time::timeout(self.idle_timeout, self.chunks.next());
        let next = self.speed_guard.watch(|| received, next).await;
        self.set_working(true);
        let next = next.map_err(|slow| {
            invalid(StatusCode::REQUEST_TIMEOUT, format!("the body was too slow: {slow}"))
        })?;
        let next = next.map_err(|_| {
            let message = format!("the body was idle for {:?}", self.idle_timeout);
            invalid(StatusCode::REQUEST_TIMEOUT, message)
        })?;
        let next = next.transpose().map_err(|_| {
            let message = "the connection broke while reading the body".to_owned();
            invalid(StatusCode::BAD_REQUEST, message)
        })?;
        self.received += next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(next)
    }

    /// Reads the whole body, or returns `None` if it exceeds `limit` bytes.
    ///
    /// The memory share grows with the bytes received, so that a stalled client reserves no more
    /// memory than its bytes need.
    ///
    /// # Errors
    /// As [`Self::next`], and 503 if no memory becomes free.
    pub(super) async fn read_to_end(
        mut self,
        limit: usize,
        memory: &mut GrowingShare,
    ) -> Result<Option<Bytes>, ApiError> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            let length = bytes.len() + chunk.len();
            if length > limit {
                return Ok(None);
            }
            // A growing buffer allocates up to twice its length.
            memory.grow(2 * length).await?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes.freeze()))
    }

    fn set_working(&self, is_working: bool) {
        if let Some(activity) = &self.activity {
            activity.set_working(is_working);
        }
    }
}
