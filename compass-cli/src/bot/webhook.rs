//! Receives webhooks.
//!
//! A request gets a status of the kind 2xx only after its delivery is on disk, or if it concerns no
//! pull request.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;

use super::Shared;
use super::event::{Affected, affected};
use super::journal::{JournalError, Task};
use super::scan_requests::ScanScope;
use super::signature::{self, Signature, WebhookSecret};
use crate::forge::RepoName;

/// The maximum size of a payload. GitHub sends no larger one.
pub(super) const MAX_BODY: usize = 25 << 20;

/// The time in which a payload has to arrive. GitHub waits 10 s for the answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(9);

/// The size up to which a payload stays in memory. Larger ones, which are rare, go to unnamed files.
const MAX_IN_MEMORY: usize = 32 << 10;

/// The maximum number of payloads in files. Further ones wait.
const MAX_FILES: usize = 32;

/// The maximum number of characters of the identifier of a delivery. GitHub uses 36.
const MAX_ID: usize = 64;

/// Verifies webhooks. Their memory does not depend on their size.
#[derive(Debug)]
pub(super) struct Receiver {
    secret: WebhookSecret,
    /// Where large payloads are kept.
    directory: PathBuf,
    files: Semaphore,
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
    #[error("cannot keep the payload: {0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Journal(#[from] JournalError),
}

/// A payload, whose signature is valid once it is returned.
struct Payload<'r> {
    /// The content, unless it is in the file.
    memory: BytesMut,
    file: Option<(File, SemaphorePermit<'r>)>,
    size: usize,
}

impl Receiver {
    /// Large payloads are kept in unnamed files in a directory.
    pub(super) fn new(secret: WebhookSecret, directory: &Path) -> Self {
        Self { secret, directory: directory.to_owned(), files: Semaphore::new(MAX_FILES) }
    }

    /// Reads the body of a request, and verifies its signature.
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Payload<'_>, Rejection> {
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
    ) -> Result<Payload<'_>, Rejection> {
        let mut verifier = self.secret.verifier().ok_or(Rejection::Signature)?;
        let mut payload = Payload { memory: BytesMut::new(), file: None, size: 0 };
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| Rejection::Broken)?;
            payload.size += piece.len();
            if payload.size > MAX_BODY {
                return Err(Rejection::TooLarge);
            }
            if payload.size > MAX_IN_MEMORY && payload.file.is_none() {
                // The semaphore is never closed.
                let permit = self.files.acquire().await.map_err(|_| Rejection::Broken)?;
                payload.file = Some((tempfile::tempfile_in(&self.directory)?, permit));
            }
            payload.run(|payload| {
                verifier.update(&piece);
                payload.append(&piece)
            })?;
        }
        match verifier.matches(signature) {
            true => Ok(payload),
            false => Err(Rejection::Signature),
        }
    }
}

impl Payload<'_> {
    /// Runs a function that blocks if the payload is in a file. For small ones, which do not, no further
    /// thread is started.
    fn run<T>(&mut self, function: impl FnOnce(&mut Self) -> T) -> T {
        match self.file {
            Some(_) => block_in_place(|| function(self)),
            None => function(self),
        }
    }

    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else {
            self.memory.extend_from_slice(piece);
            return Ok(());
        };
        file.write_all(&std::mem::take(&mut self.memory))?;
        file.write_all(piece)
    }

    /// Reads which pull requests the event affects.
    fn affected(&mut self, event: &str, repository: &RepoName) -> Result<Affected, Rejection> {
        let affected = match &mut self.file {
            Some((file, _)) => {
                file.rewind()?;
                affected(event, BufReader::new(file.take(MAX_BODY as u64)), repository)
            }
            None => affected(event, self.memory.as_ref(), repository),
        };
        affected.map_err(|error| match error.is_io() {
            true => Rejection::File(error.into()),
            false => Rejection::Payload,
        })
    }
}

/// Answers a request at `/webhook`.
pub(super) async fn receive(State(bot): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match bot.receive(&parts.headers, body).await {
        Ok(answer) => (StatusCode::ACCEPTED, answer).into_response(),
        Err(rejection) => {
            let counter = match rejection {
                Rejection::Journal(_) | Rejection::File(_) => &bot.metrics.failed,
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
        let mut payload = self.receiver.read(headers, body).await?;
        let is_json = text(headers, header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == JSON));
        if !is_json {
            return Err(Rejection::NotJson);
        }
        let event = text(headers, EVENT).ok_or(Rejection::Header(EVENT))?;
        let id = text(headers, DELIVERY).filter(|id| is_id(id));
        let id = id.ok_or(Rejection::Header(DELIVERY))?;
        let affected = payload.run(|payload| payload.affected(event, &self.repository))?;
        drop(payload);
        self.accept(id, affected).await
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
            Self::Journal(_) | Self::File(_) => StatusCode::SERVICE_UNAVAILABLE,
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
