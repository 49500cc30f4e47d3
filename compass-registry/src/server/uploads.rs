//! Taking blobs, in one request or in several (distribution specification, § Pushing blobs).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::sync::Mutex;

use super::Registry;
use super::answer::Refusal;
use super::blobs::insert;
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
    session: Arc<Mutex<Session>>,
    used: Instant,
}

/// A blob on its way. `upload` is gone once the session has ended.
struct Session {
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
        body: Body,
    ) -> Result<Response, Refusal> {
        if request.method != Method::POST {
            return Err(Refusal::unsupported("uploads are opened with POST"));
        }
        let parameters = query(&request.uri);
        let get = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, v)| v);
        if let Some(mount) = get("mount") {
            let digest = parse_digest(mount)?;
            let from = get("from").map(|from| parse_name(from)).transpose()?;
            if self.storage.mount_blob(from.as_ref(), repository, &digest).await? {
                return Ok(created(repository, &digest));
            }
        }
        let mut session = Session {
            upload: Some(self.storage.begin_upload(repository).await?),
            hasher: Hasher::default(),
        };
        if let Some(digest) = get("digest") {
            let digest = parse_digest(digest)?;
            session.take(body).await?;
            session.commit(&digest).await?;
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
        body: Body,
    ) -> Result<Response, Refusal> {
        let shared = self.uploads.get(id).await.ok_or_else(Refusal::upload_unknown)?;
        let mut session = shared.lock().await;
        let offset = session.offset()?;
        match request.method {
            Method::GET => Ok(progress(StatusCode::NO_CONTENT, repository, id, offset)),
            Method::DELETE => {
                session.upload = None;
                self.uploads.remove(id).await;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            Method::PATCH => {
                if begins_elsewhere(&request.headers, offset) {
                    return Ok(progress(StatusCode::RANGE_NOT_SATISFIABLE, repository, id, offset));
                }
                session.take(body).await?;
                Ok(progress(StatusCode::ACCEPTED, repository, id, session.offset()?))
            }
            Method::PUT => {
                if begins_elsewhere(&request.headers, offset) {
                    return Ok(progress(StatusCode::RANGE_NOT_SATISFIABLE, repository, id, offset));
                }
                let parameters = query(&request.uri);
                let digest = parameters.iter().find(|(name, _)| name == "digest");
                let digest = digest.ok_or_else(|| Refusal::digest_invalid("no digest is given"))?;
                let digest = parse_digest(&digest.1)?;
                session.take(body).await?;
                self.uploads.remove(id).await;
                session.commit(&digest).await?;
                Ok(created(repository, &digest))
            }
            _ => Err(Refusal::unsupported("uploads know GET, PATCH, PUT and DELETE")),
        }
    }
}

impl Uploads {
    async fn insert(&self, session: Session) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Nobody should guess the uploads of others.
        let id =
            format!("{:016x}{:016x}", self.seed.hash_one(number), self.seed.hash_one((number, 1)));
        let session = Arc::new(Mutex::new(session));
        self.open.lock().await.insert(id.clone(), OpenUpload { session, used: Instant::now() });
        id
    }

    async fn get(&self, id: &str) -> Option<Arc<Mutex<Session>>> {
        let mut open = self.open.lock().await;
        let upload = open.get_mut(id)?;
        upload.used = Instant::now();
        Some(Arc::clone(&upload.session))
    }

    /// Forgets uploads that nobody has gone on with for this long, and what they brought.
    pub(super) async fn forget_abandoned(&self, idle: Duration) {
        self.open.lock().await.retain(|_, upload| {
            // Who works on one holds it: a single request may take long.
            Arc::strong_count(&upload.session) > 1 || upload.used.elapsed() < idle
        });
    }

    async fn remove(&self, id: &str) {
        self.open.lock().await.remove(id);
    }
}

impl Session {
    fn offset(&self) -> Result<u64, Refusal> {
        self.upload.as_ref().map(|upload| upload.offset()).ok_or_else(Refusal::upload_unknown)
    }

    /// Appends a body. Where the connection breaks, what came is kept, and the client may go on.
    async fn take(&mut self, body: Body) -> Result<(), Refusal> {
        let upload = self.upload.as_mut().ok_or_else(Refusal::upload_unknown)?;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| {
                let message = "the body broke off";
                Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
            })?;
            self.hasher.update(&chunk);
            upload.append(chunk).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, digest: &Digest) -> Result<(), Refusal> {
        let mut upload = self.upload.take().ok_or_else(Refusal::upload_unknown)?;
        let actual = match digest.algorithm() {
            Algorithm::Sha256 => std::mem::take(&mut self.hasher).finish(),
            other @ Algorithm::Sha512 => upload.digest(other).await?,
        };
        if actual != *digest {
            return Err(Refusal::digest_invalid(format!("the content has digest {actual}")));
        }
        Ok(upload.commit(digest).await?)
    }
}

/// Whether a chunk says that it does not follow what is there.
fn begins_elsewhere(headers: &HeaderMap, offset: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.map(|range| {
        let bounds = range.strip_prefix("bytes ").unwrap_or(range);
        bounds.split('-').next().unwrap_or_default().trim().parse::<u64>()
    });
    start.is_some_and(|start| start != Ok(offset))
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    insert(response.headers_mut(), "location", &format!("/v2/{repository}/blobs/{digest}"));
    insert(response.headers_mut(), "docker-content-digest", &digest.to_string());
    response
}

fn progress(status: StatusCode, repository: &Repository, id: &str, offset: u64) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    insert(headers, "location", &format!("/v2/{repository}/blobs/uploads/{id}"));
    insert(headers, "range", &format!("0-{}", offset.saturating_sub(1)));
    insert(headers, "docker-upload-uuid", id);
    response
}

/// The parameters of an address, unescaped.
pub(super) fn query(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    split.map(|(key, value)| (unescape(key), unescape(value))).collect()
}

fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
