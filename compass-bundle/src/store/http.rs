//! Files on web servers that support range requests.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use compass_registry::http::HttpOptions;
use compass_registry::{Digest, RetryPolicy};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use crate::Error;
use crate::read::{BundleSource, MAX_CHECKSUM, remote_checksum};
use crate::store::redact_url;
use crate::write::CHECKSUM_END;

/// Maximum attempts per read.
const MAX_ATTEMPTS: u32 = 4;

/// The delay before the second attempt. It grows with each attempt.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const INTERRUPTED: &str = "the connection was interrupted";

const TOO_LONG: &str = "the server returned more bytes than requested";

/// Time without any received byte after which a connection fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A file on a web server.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Client,
    url: Url,
    /// The URL without secrets.
    shown: String,
    size: u64,
}

impl HttpFile {
    /// Opens a file. Proxies come from the environment.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if the URL is invalid; [`Error::Store`] if the file does not
    /// exist, or the server does not support range requests.
    pub async fn open(address: &str) -> Result<Self, Error> {
        let shown = redact_url(address);
        let url: Url = address.parse().map_err(|_| Error::invalid_address(address, "not a URL"))?;
        let client = client().map_err(|error| Error::store("read", &shown, error))?;
        let mut file = Self { client, url, shown, size: 0 };
        let response = with_retry(|| file.get(0..1)).await?;
        file.size = total_size(&response)
            .ok_or_else(|| file.refused("the server does not support range requests"))?;
        Ok(file)
    }

    /// Reads a small file with a suffix on its URL. Returns `None` for an error status that a retry
    /// would not change, such as 403 or 404.
    async fn read_sidecar(&self, ending: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{ending}", url.path()));
        let response = self.client.get(url).send().await;
        let mut response = response.map_err(|error| self.unsent(error))?;
        match response.status() {
            StatusCode::OK => {}
            status if RetryPolicy::is_transient_status(status.as_u16()) => {
                return Err(self.failed(format!("the server returned {status} for {ending}")));
            }
            _ => return Ok(None),
        }
        let mut bytes = Vec::new();
        while bytes.len() as u64 <= MAX_CHECKSUM
            && let Some(chunk) =
                response.chunk().await.map_err(|error| self.failed(error.without_url()))?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    async fn get(&self, range: Range<u64>) -> Result<Response, Error> {
        let asked = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = self.client.get(self.url.clone());
        let request = request.header(RANGE, asked).header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::OK => {
                Err(self.refused("the server does not support range requests: download the file"))
            }
            status if RetryPolicy::is_transient_status(status.as_u16()) => {
                Err(self.failed(format!("the server returned {status}")))
            }
            status => Err(self.refused(format!("the server returned {status}"))),
        }
    }

    /// Requests a range of the file that was opened.
    async fn get_range(&self, range: Range<u64>) -> Result<Response, Error> {
        let start = range.start;
        let response = self.get(range).await?;
        if range_start(&response) != Some(start) || total_size(&response) != Some(self.size) {
            return Err(self.refused("the server returned another range than requested"));
        }
        Ok(response)
    }

    async fn read_once(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut response = self.get_range(range).await?;
        let mut bytes = BytesMut::with_capacity(wanted);
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.failed(error.without_url()))?
        {
            if bytes.len() + chunk.len() > wanted {
                return Err(self.refused(TOO_LONG));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() < wanted {
            return Err(self.failed(INTERRUPTED));
        }
        Ok(bytes.freeze())
    }

    /// Converts an error of sending. Redirect errors are permanent.
    fn unsent(&self, error: reqwest::Error) -> Error {
        match error.is_redirect() {
            true => self.refused("the server redirects from https to http, or in a loop"),
            false => self.failed(error.without_url()),
        }
    }

    /// Creates a permanent error, which is not retried.
    fn refused(&self, why: impl Into<String>) -> Error {
        Error::store("read", &self.shown, PermanentFailure(why.into()))
    }

    fn failed(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::store("read", &self.shown, why)
    }
}

#[async_trait]
impl BundleSource for HttpFile {
    fn name(&self) -> String {
        self.shown.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        with_retry(|| self.read_once(range.clone())).await
    }

    fn read_stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        let stream = RangeStream { file: self, rest: range, response: None, failures: 0 };
        let chunks = stream::try_unfold(stream, |mut stream| async move {
            Ok(stream.next().await?.map(|chunk| (chunk, stream)))
        });
        chunks.boxed()
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        let Some(text) = with_retry(|| self.read_sidecar(CHECKSUM_END)).await? else {
            return Ok(None);
        };
        remote_checksum(&text, &self.shown, self.url.path()).map(Some)
    }
}

/// A range that is received while it is read. A broken connection is continued.
struct RangeStream {
    file: Arc<HttpFile>,
    rest: Range<u64>,
    response: Option<Response>,
    /// Failed attempts since the last received byte.
    failures: u32,
}

impl RangeStream {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.rest.is_empty() {
            match self.receive().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    self.failures = 0;
                    self.rest.start += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Err(error) if self.failures + 1 < MAX_ATTEMPTS && !is_permanent(&error) => {
                    tracing::info!(%error, "continuing to read a range");
                    self.response = None;
                    self.failures += 1;
                    tokio::time::sleep(RETRY_DELAY * self.failures).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Receives the next bytes of the response, which may be the first of a new one.
    async fn receive(&mut self) -> Result<Bytes, Error> {
        let file = &self.file;
        let response = match &mut self.response {
            Some(response) => response,
            none => none.insert(file.get_range(self.rest.clone()).await?),
        };
        let chunk = response.chunk().await.map_err(|error| file.failed(error.without_url()))?;
        let chunk = chunk.ok_or_else(|| file.failed(INTERRUPTED))?;
        match chunk.len() as u64 > self.rest.end - self.rest.start {
            true => Err(file.refused(TOO_LONG)),
            false => Ok(chunk),
        }
    }
}

/// A reason for which a retry would fail again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct PermanentFailure(String);

fn is_permanent(error: &Error) -> bool {
    matches!(error, Error::Store { source, .. } if source.is::<PermanentFailure>())
}

/// Retries reads that fail temporarily.
async fn with_retry<T, F: Future<Output = Result<T, Error>>>(
    read: impl Fn() -> F,
) -> Result<T, Error> {
    let mut attempts = 1;
    loop {
        match read().await {
            Err(error) if attempts < MAX_ATTEMPTS && !is_permanent(&error) => {
                tracing::info!(%error, "retrying to read a range");
                tokio::time::sleep(RETRY_DELAY * attempts).await;
                attempts += 1;
            }
            read => return read,
        }
    }
}

/// The file size in `Content-Range: bytes 0-0/<size>`.
fn total_size(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.trim().parse().ok()
}

fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// Builds a client that fails after [`IDLE_TIMEOUT`].
pub(super) fn client() -> Result<Client, compass_registry::Error> {
    HttpOptions::default().connect_timeout(IDLE_TIMEOUT).read_timeout(Some(IDLE_TIMEOUT)).build()
}
