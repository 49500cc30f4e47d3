//! Receives webhooks.
//!
//! A request gets a status of the kind 2xx only after its delivery is on disk, or if it concerns no
//! pull request.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::block_in_place;

use super::Shared;
use super::event::{Affected, affected};
use super::journal::{JournalError, Task};
use super::scan_requests::ScanScope;
use super::signature::{self, Signature, WebhookSecret};

/// The maximum size of a payload. GitHub sends no larger one.
pub(super) const MAX_BODY: usize = 25 << 20;

/// The time in which a payload has to arrive. GitHub waits 10 s for the answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(9);

/// The memory in KiB for the payloads of all connections, which is one of the maximum size. Those beyond
/// it wait.
const MEMORY_KIB: usize = (MAX_BODY >> 10) + (1 << 10);

/// The memory in KiB that each connection has apart from that. Deliveries of the usual size thus do not
/// wait.
const OWN_KIB: usize = 32;

/// The sizes of the buffers of a payload.
const MIN_BUFFER: usize = 8 << 10;
const MAX_BUFFER: usize = 1 << 20;

/// The maximum number of characters of the identifier of a delivery. GitHub uses 36.
const MAX_ID: usize = 64;

/// Verifies webhooks, and limits their memory.
#[derive(Debug)]
pub(super) struct Receiver {
    secret: WebhookSecret,
    memory: Arc<Semaphore>,
}

/// The reason why a request is rejected.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error(
        "the signature in X-Hub-Signature-256 is missing or not valid: enter the same secret here and \
             at the forge"
    )]
    Signature,
    #[error("the payload has more than {} MiB", MAX_BODY >> 20)]
    TooLarge,
    #[error("the payload did not arrive in time")]
    Timeout,
    #[error("the connection broke")]
    Broken,
    #[error("the content type is not JSON: set `Content type` of the webhook to application/json")]
    NotJson,
    #[error("the header {0} is missing or not valid")]
    Header(&'static str),
    #[error("the payload is not valid JSON")]
    Payload,
    #[error("{0}")]
    Journal(#[from] JournalError),
}

/// A payload with a valid signature.
struct Payload {
    /// Full buffers, except for the last one.
    pieces: VecDeque<BytesMut>,
    size: usize,
    /// Returned when the payload is dropped.
    memory: Option<OwnedSemaphorePermit>,
}

impl Receiver {
    pub(super) fn new(secret: WebhookSecret) -> Self {
        Self { secret, memory: Arc::new(Semaphore::new(MEMORY_KIB)) }
    }

    /// Reads the body of a request, and verifies its signature.
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Payload, Rejection> {
        let signature = text(headers, signature::HEADER).and_then(Signature::parse);
        let signature = signature.ok_or(Rejection::Signature)?;
        let length = text(headers, header::CONTENT_LENGTH.as_str());
        if length.and_then(|text| text.parse().ok()).is_some_and(|length: usize| length > MAX_BODY)
        {
            return Err(Rejection::TooLarge);
        }
        let reading = self.read_pieces(body.into_data_stream(), &signature);
        tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| Rejection::Timeout)?
    }

    async fn read_pieces(
        &self,
        mut body: BodyDataStream,
        signature: &Signature,
    ) -> Result<Payload, Rejection> {
        let mut verifier = self.secret.verifier().ok_or(Rejection::Signature)?;
        let mut payload = Payload { pieces: VecDeque::new(), size: 0, memory: None };
        let mut reserved = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| Rejection::Broken)?;
            let size = payload.size + piece.len();
            if size > MAX_BODY {
                return Err(Rejection::TooLarge);
            }
            let needed = (size >> 10).saturating_sub(OWN_KIB);
            if needed > reserved {
                payload.reserve(&self.memory, needed - reserved).await?;
                reserved = needed;
            }
            verifier.update(&piece);
            payload.append(&piece);
        }
        match verifier.matches(signature) {
            true => Ok(payload),
            false => Err(Rejection::Signature),
        }
    }
}

impl Payload {
    /// Copies a piece. The buffers of the connection are larger than their content.
    fn append(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let free = self.pieces.back().map_or(0, |last| last.capacity() - last.len());
            if free == 0 {
                let capacity = self.size.clamp(MIN_BUFFER, MAX_BUFFER);
                self.pieces.push_back(BytesMut::with_capacity(capacity));
                continue;
            }
            let (now, rest) = piece.split_at(free.min(piece.len()));
            self.pieces.back_mut().into_iter().for_each(|last| last.extend_from_slice(now));
            self.size += now.len();
            piece = rest;
        }
    }

    async fn reserve(&mut self, memory: &Arc<Semaphore>, kib: usize) -> Result<(), Rejection> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let more = Arc::clone(memory).acquire_many_owned(kib).await;
        let more = more.map_err(|_| Rejection::Broken)?;
        match &mut self.memory {
            Some(permit) => permit.merge(more),
            None => self.memory = Some(more),
        }
        Ok(())
    }
}

impl Read for Payload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pieces.front().is_some_and(BytesMut::is_empty) {
            self.pieces.pop_front();
        }
        let Some(piece) = self.pieces.front_mut() else { return Ok(0) };
        let count = piece.len().min(buffer.len());
        piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Answers a request at `/webhook`.
pub(super) async fn receive(State(bot): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match bot.receive(&parts.headers, body).await {
        Ok(answer) => (StatusCode::ACCEPTED, answer).into_response(),
        Err(rejection) => {
            let counter = match rejection {
                Rejection::Journal(_) => &bot.metrics.failed,
                _ => &bot.metrics.rejected,
            };
            counter.add(1);
            tracing::debug!(%rejection, "rejected a webhook");
            (rejection.status(), format!("{rejection}\n")).into_response()
        }
    }
}

impl Shared {
    async fn receive(&self, headers: &HeaderMap, body: Body) -> Result<&'static str, Rejection> {
        let payload = self.receiver.read(headers, body).await?;
        let is_json = text(headers, header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == JSON));
        if !is_json {
            return Err(Rejection::NotJson);
        }
        let event = text(headers, EVENT).ok_or(Rejection::Header(EVENT))?;
        let id = text(headers, DELIVERY).filter(|id| is_id(id));
        let id = id.ok_or(Rejection::Header(DELIVERY))?;
        let affected = block_in_place(|| affected(event, payload, &self.repository));
        self.accept(id, affected.map_err(|_| Rejection::Payload)?).await
    }

    /// Writes a delivery to the journal, and queues the pull requests that it affects.
    async fn accept(&self, id: &str, affected: Affected) -> Result<&'static str, Rejection> {
        let task = match &affected {
            Affected::Pull(number) => Task::Pull(*number),
            Affected::Base(_) | Affected::All => Task::Scan,
            Affected::Nothing => {
                self.metrics.ignored.add(1);
                return Ok("ignored: the event concerns no pull request\n");
            }
            Affected::OtherRepository => {
                self.metrics.ignored.add(1);
                tracing::warn!("ignored an event of another repository");
                return Ok("ignored: the event is of another repository\n");
            }
        };
        let delivery = self.journal.receive(id, task).await?;
        self.metrics.accepted.add(1);
        match affected {
            Affected::Pull(number) => self.add(number, delivery),
            Affected::Base(branch) => self.request_scan(ScanScope::base(branch), delivery),
            _ => self.request_scan(ScanScope::All, delivery),
        }
        Ok("accepted\n")
    }
}

impl Rejection {
    fn status(&self) -> StatusCode {
        match self {
            Self::Signature => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken | Self::Header(_) | Self::Payload => StatusCode::BAD_REQUEST,
            Self::Journal(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

const JSON: &str = "application/json";
const EVENT: &str = "x-github-event";
const DELIVERY: &str = "x-github-delivery";

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_id(id: &str) -> bool {
    let is_valid = |c: u8| c.is_ascii_alphanumeric() || b"-_".contains(&c);
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_valid)
}
