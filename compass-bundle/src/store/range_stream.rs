//! Streams a range of a remote file from HTTP responses.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{RetryPolicy, RetryableError};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use reqwest::Response;
use tokio::time::timeout;

use crate::Error;

/// A remote file whose ranges are bodies of HTTP responses.
#[async_trait]
pub(super) trait RangeResponses: Send + Sync + 'static {
    /// Requests a range, and retries transient failures.
    async fn respond(&self, range: Range<u64>) -> Result<Response, Error>;

    /// Creates the error of a response that broke, or has too many bytes.
    fn failed(&self, why: Box<dyn std::error::Error + Send + Sync>) -> Error;

    /// The limits of retries and timeouts.
    fn policy(&self) -> RetryPolicy;
}

/// A response that broke before its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BrokenResponse(Box<dyn std::error::Error + Send + Sync>);

impl RetryableError for BrokenResponse {
    fn is_transient(&self) -> bool {
        true
    }
}

/// Reads a range as it arrives. A broken response is continued by another request.
pub(super) fn stream_range<F: RangeResponses>(
    file: Arc<F>,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let stream = RangeStream { file, rest: range, response: None, breaks: 0 };
    let chunks = stream::try_unfold(stream, |mut stream| async move {
        Ok(stream.next().await?.map(|chunk| (chunk, stream)))
    });
    chunks.boxed()
}

struct RangeStream<F> {
    file: Arc<F>,
    rest: Range<u64>,
    response: Option<Response>,
    /// Breaks since the last received byte.
    breaks: u32,
}

impl<F: RangeResponses> RangeStream<F> {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let policy = self.file.policy();
        while !self.rest.is_empty() {
            let response = match &mut self.response {
                Some(response) => response,
                none => none.insert(self.file.respond(self.rest.clone()).await?),
            };
            let broken: Box<dyn std::error::Error + Send + Sync> =
                match timeout(policy.idle_timeout, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => match self.accept(&chunk)? {
                        true => return Ok(Some(chunk)),
                        false => continue,
                    },
                    Ok(Ok(None)) => "the connection was interrupted".into(),
                    Ok(Err(error)) => error.without_url().into(),
                    Err(_) => {
                        let limit = policy.idle_timeout.as_secs();
                        format!("no byte arrived within {limit} s").into()
                    }
                };
            self.response = None;
            self.breaks += 1;
            let broken = BrokenResponse(broken);
            if !policy.should_retry(&broken, self.breaks) {
                return Err(self.file.failed(broken.0));
            }
            policy.back_off(&broken, self.breaks).await;
        }
        Ok(None)
    }

    /// Counts the bytes of a chunk. Returns whether there are any.
    fn accept(&mut self, chunk: &Bytes) -> Result<bool, Error> {
        let length = chunk.len() as u64;
        if length > self.rest.end - self.rest.start {
            return Err(self.file.failed("the server returned more bytes than requested".into()));
        }
        if length > 0 {
            self.breaks = 0;
        }
        self.rest.start += length;
        Ok(length > 0)
    }
}
