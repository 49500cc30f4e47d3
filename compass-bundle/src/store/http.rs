//! Files on web servers that support range requests.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use compass_registry::http::{HttpOptions, retry_after};
use compass_registry::internal::PlainClient;
use compass_registry::{Digest, RetryPolicy, RetryableError};
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use crate::Error;
use crate::read::{BundleSource, MAX_CHECKSUM, remote_checksum};
use crate::store::range_stream::{RangeResponses, stream_range};
use crate::store::redact_url;
use crate::write::CHECKSUM_END;

/// A file on a web server.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Client,
    /// Reads streams, if it can.
    plain: Option<PlainClient>,
    url: Url,
    /// The URL without secrets.
    shown: String,
    size: u64,
    policy: RetryPolicy,
}

impl HttpFile {
    /// Opens a file. Proxies come from the environment.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if the URL is invalid; [`Error::Store`] if the file does not
    /// exist, or the server does not support range requests.
    pub async fn open(address: &str, policy: &RetryPolicy) -> Result<Self, Error> {
        let shown = redact_url(address);
        let url: Url = address.parse().map_err(|_| Error::invalid_address(address, "not a URL"))?;
        let client = client(policy).map_err(|error| Error::store("read", &shown, error))?;
        let plain =
            PlainClient::for_url(url.as_str(), &HttpOptions::default(), policy.idle_timeout);
        let mut file = Self { client, plain, url, shown, size: 0, policy: *policy };
        let response = policy.run(|| file.get(0..1)).await?;
        file.size = total_size(&response)
            .ok_or_else(|| file.refused("the server does not support range requests"))?;
        Ok(file)
    }

    /// Reads a small file with a suffix on its URL. Returns `None` for an error status that a retry
    /// would not change, such as 403 or 404.
    async fn read_sidecar(&self, ending: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{ending}", url.path()));
        let response = self.client.get(url).send().await;
        let mut response = response.map_err(|error| self.unsent(error))?;
        match response.status() {
            StatusCode::OK => {}
            status if RetryPolicy::is_transient_status(status.as_u16()) => {
                let error = self.broken(format!("the server returned {status} for {ending}"));
                return Err(error.after(&response));
            }
            _ => return Ok(None),
        }
        let mut bytes = Vec::new();
        while bytes.len() as u64 <= MAX_CHECKSUM
            && let Some(chunk) =
                response.chunk().await.map_err(|error| self.broken(error.without_url()))?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    async fn get(&self, range: Range<u64>) -> Result<Response, ReadError> {
        let request = self.client.get(self.url.clone()).headers(range_headers(&range));
        self.check_status(request.send().await.map_err(|error| self.unsent(error))?)
    }

    /// Requests a range of the file that was opened, to be read as a stream.
    async fn open_stream(&self, range: Range<u64>) -> Result<Response, ReadError> {
        let start = range.start;
        self.check_range(self.get_in_parts(range).await?, start)
    }

    /// Requests a range, whose bytes are read in small parts if possible.
    async fn get_in_parts(&self, range: Range<u64>) -> Result<Response, ReadError> {
        let Some(plain) = &self.plain else { return self.get(range).await };
        let response = plain.get(self.url.as_str(), range_headers(&range)).await;
        let response = response.map_err(|error| self.broken(error))?;
        match response.status().is_redirection() {
            true => self.get(range).await,
            false => self.check_status(response),
        }
    }

    fn check_status(&self, response: Response) -> Result<Response, ReadError> {
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::OK => {
                Err(self.refused("the server does not support range requests: download the file"))
            }
            status if RetryPolicy::is_transient_status(status.as_u16()) => {
                Err(self.broken(format!("the server returned {status}")).after(&response))
            }
            status => Err(self.refused(format!("the server returned {status}"))),
        }
    }

    /// Checks that a response is a range of the file that was opened.
    fn check_range(&self, response: Response, start: u64) -> Result<Response, ReadError> {
        if range_start(&response) != Some(start) || total_size(&response) != Some(self.size) {
            return Err(self.refused("the server returned another range than requested"));
        }
        Ok(response)
    }

    async fn read_once(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let start = range.start;
        let mut response = self.check_range(self.get(range).await?, start)?;
        let mut bytes = BytesMut::with_capacity(wanted);
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.broken(error.without_url()))?
        {
            if bytes.len() + chunk.len() > wanted {
                return Err(self.refused("the server returned more bytes than requested"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() < wanted {
            return Err(self.broken("the connection was interrupted"));
        }
        Ok(bytes.freeze())
    }

    /// Converts an error of sending. Redirect errors are permanent.
    fn unsent(&self, error: reqwest::Error) -> ReadError {
        match error.is_redirect() {
            true => self.refused("the server redirects from https to http, or in a loop"),
            false => self.broken(error.without_url()),
        }
    }

    /// Creates a permanent error, which is not retried.
    fn refused(&self, why: impl Into<String>) -> ReadError {
        let source = Box::new(Error::store("read", &self.shown, why.into()));
        ReadError { source, is_transient: false, retry_after: None }
    }

    /// Creates an error that is retried.
    fn broken(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ReadError {
        let source = Box::new(Error::store("read", &self.shown, why));
        ReadError { source, is_transient: true, retry_after: None }
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
        Ok(self.policy.run(|| self.read_once(range.clone())).await?)
    }

    fn read_stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        stream_range(self, range)
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        let Some(text) = self.policy.run(|| self.read_sidecar(CHECKSUM_END)).await? else {
            return Ok(None);
        };
        remote_checksum(&text, &self.shown, self.url.path()).map(Some)
    }
}

#[async_trait]
impl RangeResponses for HttpFile {
    async fn respond(&self, range: Range<u64>) -> Result<Response, Error> {
        Ok(self.policy.run(|| self.open_stream(range.clone())).await?)
    }

    fn policy(&self) -> RetryPolicy {
        self.policy
    }

    fn failed(&self, why: Box<dyn std::error::Error + Send + Sync>) -> Error {
        Error::store("read", &self.shown, why)
    }
}

fn range_headers(range: &Range<u64>) -> HeaderMap {
    let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    let mut headers =
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    // The text has ASCII characters only.
    headers.extend(HeaderValue::try_from(range).map(|range| (RANGE, range)));
    headers
}

/// An error of one attempt to read.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
struct ReadError {
    source: Box<Error>,
    is_transient: bool,
    retry_after: Option<Duration>,
}

impl ReadError {
    /// Adds the delay that a response asks for.
    fn after(self, response: &Response) -> Self {
        Self { retry_after: retry_after(response.headers()), ..self }
    }
}

impl RetryableError for ReadError {
    fn is_transient(&self) -> bool {
        self.is_transient
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        *error.source
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

/// Builds a client of files on web servers.
///
/// Each stream has a connection of its own. With HTTP/2, streams that are read slowly would fill the
/// window of a shared connection, and block the others.
fn client(policy: &RetryPolicy) -> Result<Client, compass_registry::Error> {
    let limit = policy.idle_timeout;
    let options = HttpOptions::default().connect_timeout(limit).read_timeout(Some(limit));
    options.http1_only(true).build()
}
