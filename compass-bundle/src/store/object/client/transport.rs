//! Sends signed requests, and retries them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use compass_registry::http::retry_after;
use compass_registry::internal::PlainClient;
use compass_registry::{Error as RegistryError, RetryPolicy};
use futures_util::stream;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout};

use super::super::settings::{Settings, StoreEnvironment};
use super::credential_context::context;
use super::request::{Body, Request};
use super::request_error::{Refusal, RequestError};
use super::response::{ErrorDocument, parse_error};
use super::signer::Signer;
use crate::Error;
use crate::read::BundleSource as _;
use crate::store::min_speed::TooSlow;

/// Bytes per chunk of a sent body.
pub(in super::super) const BODY_CHUNK: u64 = 256 << 10;

/// Maximum size of a document in bytes. A list has at most 1000 entries.
pub(super) const MAX_DOCUMENT: u64 = 8 << 20;

/// How often the progress of a transfer is checked.
const TICK: Duration = Duration::from_secs(1);

/// A connection to a bucket.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    /// Reads streams, if it can.
    plain: Option<PlainClient>,
    pub(super) settings: Arc<Settings>,
    signer: Signer,
    pub(super) retry: RetryPolicy,
}

/// The HTTP clients of a bucket.
pub(in super::super) struct HttpClients {
    pub(in super::super) http: reqwest::Client,
    /// Reads streams, if it can.
    pub(in super::super) plain: Option<PlainClient>,
}

/// An answer without an error.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A reason not to use an answer.
pub(super) enum Rejection {
    /// Another attempt may succeed.
    Transient(String),
    /// Another attempt would get the same answer.
    Invalid(String),
}

/// The result of an attempt that is not repeated.
type Final<T> = Result<T, RequestError>;

impl Transport {
    pub(super) fn new(
        settings: Settings,
        environment: &StoreEnvironment,
        HttpClients { http, plain }: HttpClients,
        retry: RetryPolicy,
    ) -> Self {
        let signer = Signer::new(&settings, context(environment, http.clone()));
        Self { http, plain, settings: Arc::new(settings), signer, retry }
    }

    /// Sends a request, and reads its answer with `read`. Transient failures are retried.
    ///
    /// # Errors
    /// [`RequestError::Refused`] for an error status that a retry would not change.
    pub(super) async fn send<T>(
        &self,
        request: &Request,
        max_body: u64,
        read: impl Fn(Answer) -> Result<T, Rejection>,
    ) -> Final<T> {
        self.retry.run(|| self.attempt(request, max_body, &read)).await?
    }

    async fn attempt<T>(
        &self,
        request: &Request,
        max_body: u64,
        read: impl Fn(Answer) -> Result<T, Rejection>,
    ) -> Result<Final<T>, RegistryError> {
        let headers = match self.signer.sign(request, &self.settings).await {
            Ok(headers) => headers,
            Err(error) => return Ok(Err(error)),
        };
        let moved = Arc::new(AtomicU64::new(0));
        let size = request.body.size();
        let url = request.url(&self.settings);
        let mut sent = self.http.request(request.method.clone(), url).headers(headers);
        if !matches!(request.method, Method::GET | Method::HEAD | Method::DELETE) {
            let chunks = chunks(request.body.clone(), Arc::clone(&moved));
            sent = sent.header(CONTENT_LENGTH, size).body(reqwest::Body::wrap_stream(chunks));
        }
        let transfer = receive(sent, max_body, &moved);
        // The storage assembles or copies bytes after it has received the request.
        let committed_after = (size > 0 || request.is_copy()).then_some(size);
        let watched = watch(&self.retry, &moved, committed_after, transfer).await;
        let (status, headers, body) = match watched {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.unreachable(request, error.without_url())),
            Err(stalled) => return Err(self.unreachable(request, stalled)),
        };
        let Some(body) = body else {
            return Ok(Err(Self::invalid(request, "it is larger than expected")));
        };
        tracing::debug!(request = request.describe(), %status, "object storage");
        if let Some(error) = self.error_of(request, status, &headers, &body)? {
            return Ok(Err(error));
        }
        match read(Answer { headers, body }) {
            Ok(answer) => Ok(Ok(answer)),
            Err(Rejection::Transient(reason)) => Err(self.unreachable(request, Reason(reason))),
            Err(Rejection::Invalid(reason)) => Ok(Err(Self::invalid(request, reason))),
        }
    }

    /// Sends a request without a body, and returns the response before its body. Transient failures
    /// are retried.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn open(&self, request: &Request) -> Final<reqwest::Response> {
        self.retry.run(|| self.open_once(request)).await?
    }

    async fn open_once(
        &self,
        request: &Request,
    ) -> Result<Final<reqwest::Response>, RegistryError> {
        let headers = match self.signer.sign(request, &self.settings).await {
            Ok(headers) => headers,
            Err(error) => return Ok(Err(error)),
        };
        let limit = self.retry.idle_timeout;
        let response = timeout(limit, self.get_in_parts(request, headers)).await;
        let mut response = response.map_err(|_| self.unreachable(request, Stalled(limit)))??;
        if response.status().is_success() {
            return Ok(Ok(response));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = timeout(limit, read_body(&mut response, MAX_DOCUMENT, &AtomicU64::new(0))).await;
        let body = body.map_err(|_| self.unreachable(request, Stalled(limit)))?;
        let body = body.map_err(|error| self.unreachable(request, error.without_url()))?;
        let error = self.error_of(request, status, &headers, &body.unwrap_or_default())?;
        Ok(Err(error.unwrap_or_else(|| Self::invalid(request, "it has no content"))))
    }

    /// Sends a GET request, whose answer is read in small parts if possible.
    async fn get_in_parts(
        &self,
        request: &Request,
        headers: HeaderMap,
    ) -> Result<reqwest::Response, RegistryError> {
        let url = request.url(&self.settings);
        if let Some(plain) = &self.plain {
            let response = plain.get(&url, headers).await;
            return response.map_err(|error| self.unreachable(request, error));
        }
        let response = self.http.get(url).headers(headers).send().await;
        response.map_err(|error| self.unreachable(request, error.without_url()))
    }

    /// Returns the error in an answer. A completed upload may fail with status 200.
    fn error_of(
        &self,
        request: &Request,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<RequestError>, RegistryError> {
        let is_get = request.method == Method::GET && !status.is_client_error();
        let document = if is_get && status.is_success() { None } else { parse_error(body) };
        if status.is_success() && document.is_none() {
            return Ok(None);
        }
        let ErrorDocument { code, message, request_id } = document.unwrap_or_default();
        let status = if status.is_success() { status_of(&code) } else { status };
        let prefix = self.settings.provider.header_prefix();
        let request_id = match request_id.as_str() {
            "" => text_header(headers, &format!("{prefix}request-id")).unwrap_or_default(),
            id => id.to_owned(),
        };
        let is_elsewhere = matches!(status.as_u16(), 301 | 307 | 400);
        let region = text_header(headers, "x-amz-bucket-region");
        let region = region.filter(|region| is_elsewhere && *region != self.settings.region);
        let refusal = Refusal { status, code, message, request_id, region };
        if is_changed_body(&refusal.code) {
            return Err(self.unreachable(request, Reason(refusal.describe())));
        }
        let is_transient = RetryPolicy::is_transient_status(status.as_u16())
            && status != StatusCode::NOT_IMPLEMENTED;
        if !is_transient && refusal.code != "RequestTimeout" {
            return Ok(Some(RequestError::Refused(refusal)));
        }
        Err(RegistryError::Status {
            host: self.settings.endpoint.authority.clone(),
            request: request.describe(),
            status: if is_transient { status.as_u16() } else { 408 },
            message: refusal.describe(),
            retry_after: retry_after(headers),
        })
    }

    fn unreachable(
        &self,
        request: &Request,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> RegistryError {
        RegistryError::Unreachable {
            host: self.settings.endpoint.authority.clone(),
            request: request.describe(),
            source: source.into(),
        }
    }

    fn invalid(request: &Request, reason: impl Into<String>) -> RequestError {
        RequestError::InvalidAnswer { request: request.describe(), reason: reason.into() }
    }
}

/// The reason for which an answer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

/// A transfer that did not move for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing was transferred within {} s", .0.as_secs())]
struct Stalled(Duration);

/// Whether the code means that the storage received other bytes than the checksum is of.
fn is_changed_body(code: &str) -> bool {
    matches!(
        code,
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch"
    )
}

/// The status that belongs to the code of an error with status 200.
fn status_of(code: &str) -> StatusCode {
    match code {
        "PreconditionFailed" => StatusCode::PRECONDITION_FAILED,
        "NoSuchUpload" | "NoSuchKey" => StatusCode::NOT_FOUND,
        "ConditionalRequestConflict" | "OperationAborted" => StatusCode::CONFLICT,
        "SlowDown" | "ServiceUnavailable" | "InternalError" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

pub(super) fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// The body in chunks, counted as they are handed to the connection.
fn chunks(
    body: Body,
    moved: Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let size = body.size();
    stream::try_unfold((body, moved, 0), move |(body, moved, position)| async move {
        let next = size.min(position + BODY_CHUNK);
        if position == next {
            return Ok(None);
        }
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = match &body {
            Body::Bytes(bytes) => bytes.slice(at(position)..at(next)),
            Body::Chunks(chunks) => chunks[at(position / BODY_CHUNK)].clone(),
            Body::File(file, range) => {
                file.read(range.start + position..range.start + next).await?
            }
        };
        moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Some((bytes, (body, moved, next))))
    })
}

/// Sends a request and reads the answer. The body is `None` if it is larger than `max_body`.
async fn receive(
    request: reqwest::RequestBuilder,
    max_body: u64,
    moved: &AtomicU64,
) -> reqwest::Result<(StatusCode, HeaderMap, Option<Bytes>)> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok((status, headers, read_body(&mut response, max_body, moved).await?))
}

/// Reads a body. Returns `None` if it is larger than `max_body`.
async fn read_body(
    response: &mut reqwest::Response,
    max_body: u64,
    moved: &AtomicU64,
) -> reqwest::Result<Option<Bytes>> {
    // A buffer that grows would take twice the memory.
    let expected = response.content_length().unwrap_or_default().min(max_body);
    let mut body = BytesMut::with_capacity(usize::try_from(expected).unwrap_or_default());
    while let Some(chunk) = response.chunk().await? {
        moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        body.extend_from_slice(&chunk);
        if body.len() as u64 > max_body.max(MAX_DOCUMENT) {
            return Ok(None);
        }
    }
    Ok(Some(body.freeze()))
}

/// Runs a transfer, and fails if it stalls or is below the minimum speed.
///
/// After `committed_after` bytes, the storage may take the commit timeout for its answer.
async fn watch<T>(
    policy: &RetryPolicy,
    moved: &AtomicU64,
    committed_after: Option<u64>,
    transfer: impl Future<Output = T>,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let mut transfer = pin!(transfer);
    let (mut last, mut window) = ((Instant::now(), 0), (Instant::now(), 0));
    loop {
        if let Ok(done) = timeout(TICK, &mut transfer).await {
            return Ok(done);
        }
        let bytes = moved.load(Ordering::Relaxed);
        if bytes != last.1 {
            last = (Instant::now(), bytes);
        }
        let is_sent = committed_after.is_some_and(|size| bytes >= size);
        let limit = if is_sent { policy.commit_timeout } else { policy.idle_timeout };
        if last.0.elapsed() > limit {
            return Err(Stalled(limit).into());
        }
        let time = policy.speed_window;
        if policy.min_speed > 0 && !is_sent && !time.is_zero() && window.0.elapsed() >= time {
            let least = policy.min_speed;
            if bytes - window.1 < least.saturating_mul(time.as_secs()) {
                return Err(TooSlow { bytes: bytes - window.1, time, least }.into());
            }
            window = (Instant::now(), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watch_ends_stalled_transfers() {
        let policy = RetryPolicy::default();
        let moved = AtomicU64::new(0);
        let never = std::future::pending::<()>;
        let began = Instant::now();
        assert!(watch(&policy, &moved, Some(10), never()).await.is_err());
        assert!(began.elapsed() < policy.idle_timeout + 3 * TICK);
        // The whole body was sent: the storage may assemble the object.
        moved.store(10, Ordering::Relaxed);
        let began = Instant::now();
        assert!(watch(&policy, &moved, Some(10), never()).await.is_err());
        assert!(began.elapsed() > policy.commit_timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn watch_requires_minimum_speed() {
        let policy = RetryPolicy::default().min_speed(100);
        for (speed, is_ok) in [(200, true), (50, false)] {
            let moved = AtomicU64::new(0);
            let transfer = async {
                for _ in 0..1000 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    moved.fetch_add(speed, Ordering::Relaxed);
                }
            };
            assert_eq!(
                watch(&policy, &moved, Some(1 << 30), transfer).await.is_ok(),
                is_ok,
                "{speed}"
            );
        }
    }
}
