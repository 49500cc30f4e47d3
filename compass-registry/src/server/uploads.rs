//! Taking blobs, in one request or in several (distribution specification, § Pushing blobs).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::Registry;
use super::blobs::insert_header;
use super::error::ApiError;
use super::request_body::RequestBody;
use super::route::{parse_digest, parse_name};
use crate::storage::Upload;
use crate::{Algorithm, Digest, Hasher, Repository};

#[derive(Default)]
pub(super) struct Uploads {
    open: Mutex<HashMap<String, OpenUpload>>,
    count: AtomicU64,
    seed: RandomState,
}

struct OpenUpload {
    session: Arc<Session>,
    used: Instant,
}

impl OpenUpload {
    /// Who works on one holds it: a single request may take long.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.session) > 1
    }
}

/// Uploads that may be open at once: each has a file of its own. The one that rested longest makes
/// room.
const MAX_OPEN: usize = 256;

/// A blob on its way into a repository.
struct Session {
    repository: Repository,
    /// How many bytes have come.
    offset: AtomicU64,
    /// The number of the request that goes on with it: one whose connection stalled must not keep
    /// the others out.
    turn: watch::Sender<u64>,
    state: Mutex<UploadState>,
}

/// What has come. `upload` is gone once the session has ended.
struct UploadState {
    upload: Option<Box<dyn Upload>>,
    /// SHA-256 of what came: most blobs are known by it, though one says so only at its end.
    hasher: Hasher,
}

impl Registry {
    /// `POST`: opens an upload; with `digest` takes the whole blob, with `mount` one that is there.
    pub(super) async fn begin_upload(
        &self,
        repository: &Repository,
        request: &Parts,
        body: RequestBody,
    ) -> Result<Response, ApiError> {
        if request.method != Method::POST {
            return Err(ApiError::unsupported("uploads are opened with POST"));
        }
        let parameters = query_pairs(&request.uri);
        let get = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, v)| v);
        if let Some(mount) = get("mount") {
            let digest = parse_digest(mount)?;
            let from = get("from").map(|from| parse_name(from)).transpose()?;
            if self.storage.mount_blob(from.as_ref(), repository, &digest).await? {
                return Ok(created(repository, &digest));
            }
        }
        let session = Session::new(repository, self.storage.begin_upload(repository).await?);
        if let Some(digest) = get("digest") {
            let digest = parse_digest(digest)?;
            let mut guard = session.preempt().await;
            guard.receive(body).await?;
            guard.commit(&digest).await?;
            return Ok(created(repository, &digest));
        }
        let id = self.uploads.insert(session).await;
        Ok(progress(StatusCode::ACCEPTED, repository, &id, 0))
    }

    /// An open upload: `PATCH` appends, `PUT` appends and closes, `GET` asks, `DELETE` cancels.
    pub(super) async fn upload(
        &self,
        repository: &Repository,
        id: &str,
        request: &Parts,
        body: RequestBody,
    ) -> Result<Response, ApiError> {
        let session = self.uploads.get(repository, id).await;
        let session = session.ok_or_else(ApiError::upload_unknown)?;
        match request.method {
            Method::GET if session.is_over() => Err(ApiError::upload_unknown()),
            Method::GET => Ok(progress(StatusCode::NO_CONTENT, repository, id, session.offset())),
            Method::DELETE => {
                session.preempt().await.state.upload = None;
                self.uploads.remove(id).await;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            Method::PATCH | Method::PUT => {
                let mut guard = session.preempt().await;
                let offset = session.offset();
                if guard.state.upload.is_none() {
                    return Err(ApiError::upload_unknown());
                }
                if range_mismatch(&request.headers, offset) {
                    return Ok(progress(StatusCode::RANGE_NOT_SATISFIABLE, repository, id, offset));
                }
                require_length(&request.headers)?;
                if request.method == Method::PATCH {
                    guard.receive(body).await?;
                    return Ok(progress(StatusCode::ACCEPTED, repository, id, session.offset()));
                }
                let parameters = query_pairs(&request.uri);
                let digest = parameters.iter().find(|(name, _)| name == "digest");
                let digest =
                    digest.ok_or_else(|| ApiError::digest_invalid("no digest is given"))?;
                let digest = parse_digest(&digest.1)?;
                guard.receive(body).await?;
                self.uploads.remove(id).await;
                guard.commit(&digest).await?;
                Ok(created(repository, &digest))
            }
            _ => Err(ApiError::unsupported("uploads know GET, PATCH, PUT and DELETE")),
        }
    }
}

impl Uploads {
    async fn insert(&self, session: Session) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Nobody should guess the uploads of others.
        let id =
            format!("{:016x}{:016x}", self.seed.hash_one(number), self.seed.hash_one((number, 1)));
        let session = Arc::new(session);
        let mut open = self.open.lock().await;
        if open.len() >= MAX_OPEN {
            let idle = open.iter().filter(|(_, upload)| !upload.in_use());
            let longest = idle.min_by_key(|(_, upload)| upload.used).map(|(id, _)| id.clone());
            // Where each is worked on, it is one more than there should be.
            longest.and_then(|id| open.remove(&id));
        }
        open.insert(id.clone(), OpenUpload { session, used: Instant::now() });
        id
    }

    async fn get(&self, repository: &Repository, id: &str) -> Option<Arc<Session>> {
        let mut open = self.open.lock().await;
        let upload = open.get_mut(id).filter(|open| open.session.repository == *repository)?;
        upload.used = Instant::now();
        Some(Arc::clone(&upload.session))
    }

    /// Forgets uploads that nobody has gone on with for this long, and what they brought.
    pub(super) async fn expire_idle(&self, idle: Duration) {
        self.open.lock().await.retain(|_, upload| {
            if upload.in_use() {
                upload.used = Instant::now();
            }
            upload.used.elapsed() < idle
        });
    }

    async fn remove(&self, id: &str) {
        self.open.lock().await.remove(id);
    }
}

/// The right of one request to go on with an upload, until another one comes.
struct UploadGuard<'s> {
    session: &'s Session,
    number: u64,
    state: MutexGuard<'s, UploadState>,
}

impl Session {
    fn new(repository: &Repository, upload: Box<dyn Upload>) -> Self {
        Self {
            repository: repository.clone(),
            offset: AtomicU64::new(0),
            turn: watch::Sender::new(0),
            state: Mutex::new(UploadState { upload: Some(upload), hasher: Hasher::default() }),
        }
    }

    fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Whether it has ended, one way or another.
    fn is_over(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.upload.is_none())
    }

    /// Ends the turn of whoever goes on with the upload: its client has given it up.
    async fn preempt(&self) -> UploadGuard<'_> {
        let mut number = 0;
        self.turn.send_modify(|turn| {
            *turn += 1;
            number = *turn;
        });
        UploadGuard { session: self, number, state: self.state.lock().await }
    }
}

impl UploadGuard<'_> {
    /// A storage that had not taken a chunk when its client went lacks bytes that are counted.
    fn check_no_lost_chunk(&mut self) -> Result<(), ApiError> {
        let offset = self.session.offset();
        if self.state.upload.as_ref().is_some_and(|upload| upload.offset() == offset) {
            return Ok(());
        }
        self.state.upload = None;
        Err(ApiError::upload_unknown())
    }

    /// Appends a body. After a broken connection, the client can continue at the new offset.
    async fn receive(&mut self, mut body: RequestBody) -> Result<(), ApiError> {
        self.check_no_lost_chunk()?;
        let UploadState { upload, hasher } = &mut *self.state;
        let upload = upload.as_mut().ok_or_else(ApiError::upload_unknown)?;
        let mut turns = self.session.turn.subscribe();
        loop {
            let next = tokio::select! {
                biased;
                _ = turns.wait_for(|turn| *turn != self.number) => {
                    let message = "another request continues the upload";
                    let status = StatusCode::BAD_REQUEST;
                    return Err(ApiError::new(status, "BLOB_UPLOAD_INVALID", message));
                }
                next = body.next() => next?,
            };
            let Some(chunk) = next else { return Ok(()) };
            hasher.update(&chunk);
            // What is being written counts, also where nobody waits for it any more.
            self.session.offset.fetch_add(chunk.len() as u64, Ordering::AcqRel);
            if let Err(error) = upload.append(chunk).await {
                // Nobody can go on with it; what it holds of a full disk is free again.
                self.state.upload = None;
                return Err(error.into());
            }
        }
    }

    async fn commit(&mut self, digest: &Digest) -> Result<(), ApiError> {
        let mut upload = self.state.upload.take().ok_or_else(ApiError::upload_unknown)?;
        let actual = match digest.algorithm() {
            Algorithm::Sha256 => std::mem::take(&mut self.state.hasher).finish(),
            other @ Algorithm::Sha512 => upload.digest(other).await?,
        };
        if actual != *digest {
            return Err(ApiError::digest_invalid(format!("the content has digest {actual}")));
        }
        Ok(upload.commit(digest).await?)
    }
}

/// Whether a chunk says that it does not follow what is there.
fn range_mismatch(headers: &HeaderMap, offset: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE);
    range.is_some_and(|range| chunk_range(range).is_none_or(|(start, _)| start != offset))
}

/// The first and the last byte of a chunk, as `0-1023`.
fn chunk_range(range: &HeaderValue) -> Option<(u64, u64)> {
    let text = range.to_str().ok()?.trim();
    let bounds = text.strip_prefix("bytes ").unwrap_or(text);
    let (start, end) = bounds.split('/').next()?.split_once('-')?;
    let (start, end) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    (start <= end).then_some((start, end))
}

/// A chunk is as long as its range says.
fn require_length(headers: &HeaderMap) -> Result<(), ApiError> {
    let range = headers.get(header::CONTENT_RANGE).and_then(chunk_range);
    let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
    match (range, length) {
        (Some((start, end)), Some(length)) if (end - start).checked_add(1) != Some(length) => {
            let message = format!("{length} bytes are not those from {start} to {end}");
            Err(ApiError::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message))
        }
        _ => Ok(()),
    }
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    insert_header(response.headers_mut(), "location", &format!("/v2/{repository}/blobs/{digest}"));
    insert_header(response.headers_mut(), "docker-content-digest", &digest.to_string());
    response
}

fn progress(status: StatusCode, repository: &Repository, id: &str, offset: u64) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    insert_header(headers, "location", &format!("/v2/{repository}/blobs/uploads/{id}"));
    insert_header(headers, "range", &format!("0-{}", offset.saturating_sub(1)));
    insert_header(headers, "docker-upload-uuid", id);
    response
}

/// The parameters of an address, unescaped.
pub(super) fn query_pairs(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    split.map(|(key, value)| (decode(key), decode(value))).collect()
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
