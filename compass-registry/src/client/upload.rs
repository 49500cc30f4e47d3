//! Uploading blobs (distribution specification, § Pushing Blobs).
//!
//! One request opens a session, and another one streams the blob. If the connection breaks, the
//! client asks the registry for the offset that it has reached, and sends the rest in chunks.

use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::error::MAX_REDIRECTS;
use super::pull::digest_header;
use super::push::{PUSH, has_blob, wait_until_visible};
use super::resumable_body::ResumableBody;
use super::transport::{Request, Transport, is_success, too_many_redirects};
use super::upload_session::Session;
use crate::{Descriptor, Error, Repository, VerifiedBlob};

/// The size in bytes of the first chunk after a broken upload. The size is halved each time a chunk
/// fails, because a proxy may limit the size of requests.
const CHUNK: u64 = 32 << 20;

/// The smallest chunk in bytes. Registries buffer chunks that are smaller than the parts of their
/// object storage (5 MiB).
const MIN_CHUNK: u64 = 1 << 20;

/// The upload of one blob.
struct Upload<'u> {
    transport: &'u Transport,
    repository: &'u Repository,
    descriptor: Descriptor,
    body: ResumableBody,
    session: Session<'u>,
    chunk: Option<u64>,
    /// The highest offset that the registry reached in any attempt. Only bytes beyond it are
    /// progress.
    high_water_mark: u64,
    /// The registry accepted the blob but does not have it, so the blob is sent once more.
    accepted_but_missing: bool,
    sent_again: bool,
    /// The error of a monolithic upload, if a chunked one was tried after it.
    monolithic_refusal: Option<Error>,
}

pub(super) async fn put_blob(
    transport: &Transport,
    repository: &Repository,
    blob: VerifiedBlob,
) -> Result<(), Error> {
    let mut upload = Upload::new(transport, repository, blob);
    upload.session.url = transport.pending_uploads().take(repository, upload.descriptor.digest);
    upload.finish().await
}

/// Uploads a blob in chunks of this size.
pub(super) async fn put_in_chunks(
    transport: &Transport,
    repository: &Repository,
    blob: VerifiedBlob,
    chunk: u64,
) -> Result<(), Error> {
    Upload { chunk: Some(chunk), ..Upload::new(transport, repository, blob) }.finish().await
}

/// Cancels the sessions that no upload has used.
pub(super) async fn cancel_unused(transport: &Transport) {
    let unused = transport.pending_uploads().take_all();
    let cancels = unused.into_iter().map(|(repository, session)| async move {
        Session { transport, repository: &repository, url: Some(session) }.cancel().await;
    });
    join_all(cancels).await;
}

impl<'u> Upload<'u> {
    fn new(transport: &'u Transport, repository: &'u Repository, blob: VerifiedBlob) -> Self {
        let descriptor = blob.descriptor().clone();
        let body = ResumableBody::new(blob);
        let session = Session { transport, repository, url: None };
        Self {
            transport,
            repository,
            descriptor,
            body,
            session,
            chunk: None,
            high_water_mark: 0,
            accepted_but_missing: false,
            sent_again: false,
            monolithic_refusal: None,
        }
    }

    /// Runs the upload, and cancels the session if it fails.
    async fn finish(mut self) -> Result<(), Error> {
        let result = self.run().await;
        match result {
            Ok(()) => self.session.url = None,
            Err(_) => self.session.cancel().await,
        }
        // If the chunked upload fails as well, report the error of the monolithic upload, which is
        // closer to the cause.
        match (result, self.monolithic_refusal) {
            (Err(Error::Status { .. }), Some(refused)) => Err(refused),
            (result, _) => result,
        }
    }

    async fn run(&mut self) -> Result<(), Error> {
        let retry = self.transport.retry();
        let (mut failures, mut restarted, mut smallest) = (0, false, u64::MAX);
        loop {
            let result = match self.chunk {
                None => self.send_monolithic().await,
                Some(size) => self.send_chunks(size).await,
            };
            let Err(error) = result else { return Ok(()) };
            if let Some(failure) = self.body.failure() {
                return Err(failure);
            }
            let rejects_monolithic = self.rejects_monolithic(&error);
            let retryable = rejects_monolithic || self.is_retryable(&error, &mut restarted);
            if !(retryable || error.is_transient()) || !retry.within_limits(&error, failures + 1) {
                return Err(error);
            }
            failures += 1;
            retry.back_off(&error, failures).await;
            let again =
                rejects_monolithic || matches!(&error, Error::Status { status: 400 | 416, .. });
            let outcome = match self.resume(again).await {
                Err(_) if rejects_monolithic => return Err(error),
                outcome => outcome?,
            };
            match outcome {
                ResumeOutcome::Progressed => failures = 0,
                ResumeOutcome::Restarted => {}
                ResumeOutcome::AlreadyComplete => return Ok(()),
            }
            if rejects_monolithic {
                self.chunk = Some(self.descriptor.size.max(MIN_CHUNK));
                self.monolithic_refusal = Some(error);
                continue;
            }
            // A chunk that was too large does not count as a failure of smaller chunks.
            let too_large = matches!(error, Error::Status { status: 413, .. });
            if let Some(chunk) = self.chunk.filter(|chunk| too_large && *chunk < smallest) {
                smallest = chunk;
                failures = 0;
            }
        }
    }

    /// Whether the registry rejects a monolithic upload for the first time. Some registries support
    /// only chunked uploads.
    fn rejects_monolithic(&self, error: &Error) -> bool {
        let statuses = [400, 405, 411, 415, 416, 422, 501];
        let is_such = matches!(error, Error::Status { status, .. } if statuses.contains(status));
        let is_first = self.monolithic_refusal.is_none();
        is_such && is_first && self.chunk.is_none() && self.session.url.is_some()
    }

    /// Whether another attempt may succeed although the error is not transient.
    fn is_retryable(&mut self, error: &Error, restarted: &mut bool) -> bool {
        match error {
            // A session that was never opened cannot have expired.
            _ if self.session.url.is_none() => false,
            Error::InvalidResponse { .. } if self.accepted_but_missing => {
                self.accepted_but_missing = false;
                !std::mem::replace(&mut self.sent_again, true)
            }
            // The session has expired, or the token was renewed.
            Error::Status { status: 401 | 404 | 416, .. } => true,
            // A proxy limits the size of requests.
            Error::Status { status: 413, .. } => self.chunk.is_none_or(|c| c > MIN_CHUNK),
            // The registry may have assembled the chunks incorrectly.
            Error::Status { status: 400, .. } => {
                self.chunk.is_some() && !std::mem::replace(restarted, true)
            }
            _ => false,
        }
    }

    /// Continues at the registry's offset, or starts again if `from_scratch` is set or the offset
    /// is unknown.
    async fn resume(&mut self, from_scratch: bool) -> Result<ResumeOutcome, Error> {
        let reached = match &self.session.url {
            Some(session) if !from_scratch => self.status(session.clone()).await,
            _ => None,
        };
        if let Some((position, session)) = reached
            && position <= self.body.position()
            && self.body.seek(position)
        {
            self.session.url = Some(session);
            // A proxy may have rejected the chunk because of its size, so try a smaller one.
            let size = self.chunk.map_or(CHUNK, |size| (size / 2).max(MIN_CHUNK));
            self.chunk = Some(size);
            let has_progressed = position > self.high_water_mark;
            self.high_water_mark = self.high_water_mark.max(position);
            return Ok(if has_progressed {
                ResumeOutcome::Progressed
            } else {
                ResumeOutcome::Restarted
            });
        }
        // The upload may have completed although its response was lost.
        if has_blob(self.transport, self.repository, &self.descriptor, PUSH).await? {
            return Ok(ResumeOutcome::AlreadyComplete);
        }
        self.session.cancel().await;
        self.chunk = None;
        if self.body.seek(0) { Ok(ResumeOutcome::Restarted) } else { Err(self.cannot_replay()) }
    }

    /// Returns the registry's offset and the session's URL. Returns `None` if the session is lost
    /// or still locked by the broken request.
    async fn status(&self, session: Url) -> Option<(u64, Url)> {
        let request = self.request(Method::GET, session);
        let response = self.transport.send(&request, is_success).await.ok()?;
        let next = self.transport.resolve_location(&request.url, &response).unwrap_or(request.url);
        position(&response).map(|position| (position, next))
    }

    async fn session(&mut self) -> Result<Url, Error> {
        if let Some(session) = &self.session.url {
            return Ok(session.clone());
        }
        let open = self.transport.request(Method::POST, self.repository, "blobs/uploads/", PUSH);
        // The retries of the upload cover this request.
        let response = self.transport.send_without_retry(&open, is_success).await?;
        let session = self.transport.resolve_location(&open.url, &response)?;
        Ok(self.session.url.insert(session).clone())
    }

    async fn send_monolithic(&mut self) -> Result<(), Error> {
        // The source and the registry answer at the same time, which saves a round trip.
        let prefetch = self.body.prefetch().map(Ok);
        let (session, ()) = try_join(self.session(), prefetch).await?;
        let request = self.request(Method::PUT, self.complete(session));
        let response = self.stream(request, self.descriptor.size).await?;
        self.confirm(&response).await
    }

    async fn send_chunks(&mut self, size: u64) -> Result<(), Error> {
        while self.body.position() < self.descriptor.size {
            let session = self.session().await?;
            let start = self.body.position();
            let length = size.min(self.descriptor.size - start);
            let mut request = self.request(Method::PATCH, session);
            let range = format!("{start}-{}", start + length - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                request.headers.insert(CONTENT_RANGE, range);
            }
            let from = request.url.clone();
            let response = self.stream(request, length).await?;
            // Some registries send no new location.
            self.session.url =
                Some(self.transport.resolve_location(&from, &response).unwrap_or(from));
            let reached = match position(&response) {
                // `Range: 0-0` may mean one byte or none. Exactly one byte was sent.
                Some(0) if (start, length) == (0, 1) => 1,
                Some(position) => position,
                None => start + length,
            };
            if reached <= start || reached > start + length || !self.body.seek(reached) {
                return Err(Error::InvalidResponse {
                    what: format!("the upload to {}", self.transport.host()),
                    reason: format!("the registry is at byte {reached} after bytes {range}"),
                });
            }
        }
        let session = self.session().await?;
        let mut request = self.request(Method::PUT, self.complete(session));
        request.headers.insert(CONTENT_LENGTH, 0.into());
        // The registry may assemble and store the chunks before it responds.
        request.timeout = Some(self.transport.retry().commit_timeout);
        let response = self.transport.send_without_retry(&request, is_success).await?;
        self.confirm(&response).await
    }

    /// Streams the next bytes of the blob, and sends them again if the registry redirects.
    async fn stream(&self, mut request: Request, length: u64) -> Result<Response, Error> {
        request.headers.insert(CONTENT_LENGTH, length.into());
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers.insert(CONTENT_TYPE, octets);
        let start = self.body.position();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.stream_once(&request, length).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            let next = self.transport.replay_location(&request.url, &response);
            request.url = next.ok_or_else(|| self.transport.redirect_error(&request, &response))?;
            if !self.body.seek(start) {
                return Err(self.cannot_replay());
            }
        }
        Err(too_many_redirects(&request))
    }

    async fn stream_once(&self, request: &Request, length: u64) -> Result<Response, Error> {
        let (body, retry) = (self.body.body(length), self.transport.retry());
        tokio::select! {
            sent = self.transport.send_stream(request, body) => sent,
            stall_timeout = self.body.stall_timeout(&retry) => {
                Err(self.transport.unreachable(request, &request.url, stall_timeout))
            }
        }
    }

    /// Checks that the registry stored the blob under its digest.
    async fn confirm(&mut self, response: &Response) -> Result<(), Error> {
        let own = self.descriptor.digest;
        let told = digest_header(response).filter(|told| told.algorithm() == own.algorithm());
        match told {
            Some(told) if told != own => Err(Error::DigestMismatch {
                what: format!(
                    "a blob of {}/{} as the registry stored it",
                    self.transport.host(),
                    self.repository
                ),
                expected: Box::new(own),
                actual: Box::new(told),
            }),
            // Statuses other than 201 do not guarantee that the blob is stored.
            Some(_) if response.status() == StatusCode::CREATED => Ok(()),
            _ => {
                let (transport, repository) = (self.transport, self.repository);
                let is_visible = || has_blob(transport, repository, &self.descriptor, PUSH);
                let result = wait_until_visible(transport, repository, own, is_visible).await;
                self.accepted_but_missing = matches!(&result, Err(Error::InvalidResponse { .. }));
                result
            }
        }
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let request = self.transport.request(method, self.repository, "", PUSH);
        Request { url, ..request }
    }

    fn complete(&self, mut session: Url) -> Url {
        session.query_pairs_mut().append_pair("digest", &self.descriptor.digest.to_string());
        session
    }

    fn cannot_replay(&self) -> Error {
        let broken = "the upload broke, and the blob cannot be read from its start again";
        Error::Unreachable {
            host: self.transport.host().to_owned(),
            request: format!("the upload of {}", self.descriptor.digest),
            source: broken.into(),
        }
    }
}

enum ResumeOutcome {
    /// The registry has more bytes than before.
    Progressed,
    Restarted,
    AlreadyComplete,
}

/// Parses the offset of `Range: 0-<last>`. `0-0` may mean one byte or none; if none is assumed, at
/// most one byte is sent again.
fn position(response: &Response) -> Option<u64> {
    let range = response.headers().get(RANGE)?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes=").unwrap_or(range.trim());
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last.saturating_add(1) })
}
