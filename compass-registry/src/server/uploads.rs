//! Accepts blob uploads, in one request or in several (distribution specification, § Pushing
//! blobs).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use super::Registry;
use super::blobs::insert_header;
use super::error::ApiError;
use super::request_body::RequestBody;
use super::route::{parse_digest, parse_name};
use crate::storage::Upload;
use crate::{Algorithm, Digest, Hasher, Repository};

pub(super) struct Uploads {
    open: Mutex<HashMap<String, OpenUpload>>,
    /// A permit for each upload that may be opened.
    free: Arc<Semaphore>,
    count: AtomicU64,
    seed: RandomState,
}

struct OpenUpload {
    session: Arc<Session>,
    used: Instant,
}

impl OpenUpload {
    /// Whether a request holds the session. A session in use is not idle, even if its request takes
    /// longer than the timeout.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.session) > 1
    }
}

/// The maximum number of open uploads, as each has a file of its own. A new upload beyond it
/// replaces the one that has been idle longest. If all are in use, the new upload is refused.
const MAX_OPEN: usize = 256;

/// An upload into a repository.
struct Session {
    repository: Repository,
    /// The number of bytes received.
    offset: AtomicU64,
    /// The number of the request that owns the upload. A newer request takes over, because the
    /// connection of the older one may have stalled.
    turn: watch::Sender<u64>,
    state: Mutex<UploadState>,
    _permit: OwnedSemaphorePermit,
}

/// The received content. `upload` is `None` once the session has ended.
struct UploadState {
    upload: Option<Box<dyn Upload>>,
    /// SHA-256 of the received bytes. The client states the digest only at the end, and most
    /// clients use SHA-256.
    hasher: Hasher,
}

impl Registry {
    /// Handles `POST`, which opens an upload. With `digest`, receives the whole blob; with `mount`,
    /// mounts it.
    pub(super) async fn begin_upload(
        &self,
        repository: &Repository,
        request: &Parts,
        body: RequestBody,
    ) -> Result<Response, ApiError> {
        if request.method != Method::POST {
            return Err(ApiError::unsupported("uploads must be opened with POST"));
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
        let permit = self.uploads.reserve().await?;
        let upload = self.storage.begin_upload(repository).await?;
        let session = Session::new(repository, upload, permit);
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

    /// Handles a request to an open upload. `PATCH` appends, `PUT` appends and commits, `GET`
    /// returns the offset, and `DELETE` cancels.
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
                let digest = digest
                    .ok_or_else(|| ApiError::digest_invalid("the `digest` parameter is missing"))?;
                let digest = parse_digest(&digest.1)?;
                guard.receive(body).await?;
                self.uploads.remove(id).await;
                guard.commit(&digest).await?;
                Ok(created(repository, &digest))
            }
            _ => Err(ApiError::unsupported("uploads support GET, PATCH, PUT and DELETE")),
        }
    }
}

impl Default for Uploads {
    fn default() -> Self {
        let (open, count, seed) = Default::default();
        Self { open, free: Arc::new(Semaphore::new(MAX_OPEN)), count, seed }
    }
}

impl Uploads {
    /// Reserves a permit for a new upload, and removes the upload that has been idle longest if
    /// there is none.
    ///
    /// # Errors
    /// 429 if all uploads are in use.
    async fn reserve(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let acquire = || Arc::clone(&self.free).try_acquire_owned();
        let mut open = self.open.lock().await;
        if let Ok(permit) = acquire() {
            return Ok(permit);
        }
        let idle = open.iter().filter(|(_, upload)| !upload.in_use());
        let longest = idle.min_by_key(|(_, upload)| upload.used).map(|(id, _)| id.clone());
        drop(longest.and_then(|id| open.remove(&id)));
        acquire().map_err(|_| {
            let status = StatusCode::TOO_MANY_REQUESTS;
            ApiError::new(status, "TOOMANYREQUESTS", "too many uploads are in progress")
        })
    }

    async fn insert(&self, session: Session) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Other clients must not be able to guess the ID.
        let id =
            format!("{:016x}{:016x}", self.seed.hash_one(number), self.seed.hash_one((number, 1)));
        let upload = OpenUpload { session: Arc::new(session), used: Instant::now() };
        self.open.lock().await.insert(id.clone(), upload);
        id
    }

    async fn get(&self, repository: &Repository, id: &str) -> Option<Arc<Session>> {
        let mut open = self.open.lock().await;
        let upload = open.get_mut(id).filter(|open| open.session.repository == *repository)?;
        upload.used = Instant::now();
        Some(Arc::clone(&upload.session))
    }

    /// Removes the uploads that have been idle for this long.
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

/// The exclusive right of one request to continue an upload, until a newer request takes over.
struct UploadGuard<'s> {
    session: &'s Session,
    number: u64,
    state: MutexGuard<'s, UploadState>,
}

impl Session {
    fn new(repository: &Repository, upload: Box<dyn Upload>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            repository: repository.clone(),
            offset: AtomicU64::new(0),
            turn: watch::Sender::new(0),
            state: Mutex::new(UploadState { upload: Some(upload), hasher: Hasher::default() }),
            _permit: permit,
        }
    }

    fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Whether the session has ended.
    fn is_over(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.upload.is_none())
    }

    /// Takes over the upload from an older request, whose client has abandoned it.
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
    /// Fails if the storage lost a counted chunk because its request was cancelled.
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
            // Count the chunk before it is written: the write continues even if this request is
            // cancelled.
            self.session.offset.fetch_add(chunk.len() as u64, Ordering::AcqRel);
            if let Err(error) = upload.append(chunk).await {
                // A failed upload cannot continue. Dropping it frees its space on a full disk.
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

/// Whether the `Content-Range` of a chunk does not start at the current offset.
fn range_mismatch(headers: &HeaderMap, offset: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE);
    range.is_some_and(|range| chunk_range(range).is_none_or(|(start, _)| start != offset))
}

/// Parses the first and last byte of a chunk, as `0-1023`.
fn chunk_range(range: &HeaderValue) -> Option<(u64, u64)> {
    let text = range.to_str().ok()?.trim();
    let bounds = text.strip_prefix("bytes ").unwrap_or(text);
    let (start, end) = bounds.split('/').next()?.split_once('-')?;
    let (start, end) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    (start <= end).then_some((start, end))
}

/// Checks that the length of a chunk matches its range.
fn require_length(headers: &HeaderMap) -> Result<(), ApiError> {
    let range = headers.get(header::CONTENT_RANGE).and_then(chunk_range);
    let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
    match (range, length) {
        (Some((start, end)), Some(length)) if (end - start).checked_add(1) != Some(length) => {
            let message = format!("the length {length} does not match the range {start}-{end}");
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

/// Parses and unescapes the query of a URL.
pub(super) fn query_pairs(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    split.map(|(key, value)| (decode(key), decode(value))).collect()
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, Storage};

    async fn open(uploads: &Uploads) -> Result<String, ApiError> {
        let (repository, permit) = ("a/b".parse().unwrap(), uploads.reserve().await?);
        let upload = MemoryStorage::default().begin_upload(&repository).await?;
        Ok(uploads.insert(Session::new(&repository, upload, permit)).await)
    }

    #[tokio::test]
    async fn reserve_removes_upload_idle_longest() {
        let uploads = Uploads::default();
        let first = open(&uploads).await.unwrap();
        for _ in 0..MAX_OPEN {
            open(&uploads).await.unwrap();
        }
        let repository = "a/b".parse().unwrap();
        assert!(uploads.get(&repository, &first).await.is_none());
        assert_eq!(uploads.open.lock().await.len(), MAX_OPEN);
    }

    #[tokio::test]
    async fn reserve_all_in_use_is_refused() {
        let (uploads, repository) = (Uploads::default(), "a/b".parse().unwrap());
        let mut in_use = Vec::new();
        for _ in 0..MAX_OPEN {
            let id = open(&uploads).await.unwrap();
            in_use.push(uploads.get(&repository, &id).await.unwrap());
        }
        open(&uploads).await.unwrap_err();
        in_use.pop();
        open(&uploads).await.unwrap();
    }
}
