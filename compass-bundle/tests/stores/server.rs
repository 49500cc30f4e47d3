//! A small object storage with the protocols of S3 and OSS, and with faults.

mod lists;
mod part;
mod query;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use md5::{Digest as _, Md5};

pub(crate) use self::part::Part;
use self::part::{base64, crc32c, crc64};
use self::query::{Query, decode};
use crate::signature::{Scheme, oss_v1_signatures, signatures};

pub(crate) const BUCKET: &str = "releases";
pub(crate) const KEY_ID: &str = "robot";
pub(crate) const SECRET: &str = "hunter2hunter2";

/// A running storage.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) scheme: Scheme,
    pub(crate) address: String,
    pub(crate) state: Arc<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) content: Mutex<Content>,
    pub(crate) faults: Faults,
    /// Requests that were answered, by method and the names of their parameters.
    pub(crate) requests: Mutex<Vec<String>>,
}

#[derive(Default)]
pub(crate) struct Content {
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    next_upload: u32,
}

#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    etag: String,
}

pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) parts: BTreeMap<u64, Part>,
}

/// Faults of the storage.
#[derive(Default)]
pub(crate) struct Faults {
    /// Requests that fail with status 503.
    pub(crate) busy: AtomicU32,
    /// Requests whose connection is closed without an answer.
    pub(crate) cut: AtomicU32,
    /// Bodies that are changed on the way.
    pub(crate) changed: AtomicU32,
    /// Whether checksums in requests are ignored, as some storages do.
    pub(crate) ignores_checksums: AtomicBool,
    /// Completions whose answer is lost.
    pub(crate) lost_completions: AtomicU32,
    /// Whether the bucket has versioning.
    pub(crate) is_versioned: AtomicBool,
    /// The last part that is accepted; 0 for no limit.
    pub(crate) last_part: AtomicU64,
    /// Whether copies are refused.
    pub(crate) refuses_copies: AtomicBool,
    /// Whether copies contain other bytes.
    pub(crate) changes_copies: AtomicBool,
    /// Whether completed objects contain other bytes than their parts, and have no checksum of them.
    pub(crate) changes_completed: AtomicBool,
    /// Whether lists end after the first page, and do not tell how to request the next one.
    pub(crate) cuts_lists: AtomicBool,
}

impl Storage {
    /// Starts a storage on a free port.
    pub(crate) async fn start(scheme: Scheme) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let storage = Self { scheme, address, state: Arc::default() };
        let served = storage.clone();
        let app = axum::Router::new()
            .fallback(async move |request: Request<Body>| served.answer(request).await);
        tokio::spawn(async move { axum::serve(listener, app).await });
        storage
    }

    /// The environment variables of its clients.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let variables = match self.scheme {
            Scheme::Aws => vec![
                ("AWS_ENDPOINT_URL", endpoint.as_str()),
                ("AWS_ACCESS_KEY_ID", KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
            ],
            Scheme::Oss => vec![
                ("OSS_ENDPOINT", endpoint.as_str()),
                ("OSS_REGION", "cn-hangzhou"),
                ("OSS_ACCESS_KEY_ID", KEY_ID),
                ("OSS_ACCESS_KEY_SECRET", SECRET),
            ],
        };
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The URL of the store.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.scheme == Scheme::Aws { "s3" } else { "oss" };
        format!("{scheme}://{BUCKET}/team")
    }

    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state.content.lock().unwrap().objects.get(key).map(|object| object.bytes.clone())
    }

    pub(crate) fn uploads(&self) -> usize {
        self.state.content.lock().unwrap().uploads.len()
    }

    async fn answer(&self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        if take(&self.state.faults.cut) {
            // The server closes the connection of a handler that panics. This panic prints nothing.
            std::panic::resume_unwind(Box::new("the connection is cut"));
        }
        if take(&self.state.faults.busy) {
            return self.error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        let signed = signatures(self.scheme, SECRET, &parts.method, &parts.uri, &parts.headers);
        let signed =
            signed.or_else(|| oss_v1_signatures(SECRET, &parts.method, &parts.uri, &parts.headers));
        if signed.is_none_or(|(given, right)| given != right) {
            return self.error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
        }
        let query = Query::of(&parts.uri);
        self.state.requests.lock().unwrap().push(format!("{} {}", parts.method, query.names()));
        let path = decode(parts.uri.path());
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        if bucket != BUCKET {
            return self.error(StatusCode::NOT_FOUND, "NoSuchBucket");
        }
        // Refuse a part after all accepted ones have arrived, so that their number is certain.
        let has_accepted = || {
            let content = self.state.content.lock().unwrap();
            let last = self.state.faults.last_part.load(Ordering::Relaxed);
            content.uploads.values().all(|upload| upload.parts.len() as u64 >= last)
        };
        while self.is_refused(&query) && !has_accepted() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let answered = match (parts.method.clone(), query.get("uploadId")) {
            (Method::GET, None) if query.get("versioning").is_some() => Ok(self.versioning()),
            (Method::GET, None) if key.is_empty() => Ok(self.list(&query).into_response()),
            (Method::GET, Some(upload)) => self.list_parts(upload, &query),
            (Method::GET | Method::HEAD, _) => self.read(key, &parts.method, &parts.headers),
            (Method::PUT, Some(upload)) => self.put_part(upload, &query, &parts.headers, &body),
            (Method::PUT, None) => self.put(key, &parts.headers, &body),
            (Method::POST, Some(upload)) => self.complete(key, upload, &parts.headers, &body),
            (Method::POST, None) => Ok(self.initiate(key)),
            (Method::DELETE, Some(upload)) => self.abort(upload),
            (Method::DELETE, None) => {
                self.state.content.lock().unwrap().objects.remove(key);
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")),
        };
        answered.unwrap_or_else(|(status, code)| self.error(status, code))
    }

    /// Whether a request sends a part that is not accepted.
    fn is_refused(&self, query: &Query) -> bool {
        let last = self.state.faults.last_part.load(Ordering::Relaxed);
        let number = query.get("partNumber").and_then(|number| number.parse::<u64>().ok());
        last > 0 && number.is_some_and(|number| number > last)
    }

    fn versioning(&self) -> Response {
        let status = match self.state.faults.is_versioned.load(Ordering::Relaxed) {
            true => "<Status>Enabled</Status>",
            false => "",
        };
        format!("<VersioningConfiguration>{status}</VersioningConfiguration>").into_response()
    }

    fn error(&self, status: StatusCode, code: &str) -> Response {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>about {code}</Message>\
             <RequestId>R7</RequestId></Error>"
        );
        let id = match self.scheme {
            Scheme::Aws => "x-amz-request-id",
            Scheme::Oss => "x-oss-request-id",
        };
        (status, [(id, "R7")], body).into_response()
    }

    fn read(&self, key: &str, method: &Method, headers: &HeaderMap) -> Answer {
        let content = self.state.content.lock().unwrap();
        let object = content.objects.get(key).ok_or((StatusCode::NOT_FOUND, "NoSuchKey"))?.clone();
        let size = object.bytes.len();
        let mut answer = Response::builder().header("etag", format!("\"{}\"", object.etag));
        if self.scheme == Scheme::Oss {
            answer = answer.header("x-oss-hash-crc64ecma", crc64(&object.bytes).to_string());
        }
        if method == Method::HEAD {
            return Ok(answer.header("content-length", size).body(Body::empty()).unwrap());
        }
        let range = headers.get("range").and_then(|range| {
            let (start, end) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
            Some(start.parse().ok()?..size.min(end.parse::<usize>().ok()? + 1))
        });
        let Some(range) = range else { return Ok(answer.body(object.bytes.into()).unwrap()) };
        let shown = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        let answer = answer.status(StatusCode::PARTIAL_CONTENT).header("content-range", shown);
        Ok(answer.body(object.bytes[range].to_vec().into()).unwrap())
    }

    fn put(&self, key: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let bytes = self.receive(headers, body)?;
        let mut content = self.state.content.lock().unwrap();
        self.check_absent(&content, key, headers)?;
        let part = Part::new(bytes);
        let object = Object { bytes: part.bytes.to_vec(), etag: self.etag(&part.md5) };
        content.objects.insert(key.to_owned(), object);
        Ok(self.stored(&part))
    }

    fn initiate(&self, key: &str) -> Response {
        let mut content = self.state.content.lock().unwrap();
        content.next_upload += 1;
        let id = format!("u{:04}", content.next_upload);
        let upload = Upload { key: key.to_owned(), parts: BTreeMap::new() };
        content.uploads.insert(id.clone(), upload);
        let name = "InitiateMultipartUploadResult";
        format!(
            "<{name}><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></{name}>"
        )
        .into_response()
    }

    fn put_part(&self, upload: &str, query: &Query, headers: &HeaderMap, body: &[u8]) -> Answer {
        let number = query.get("partNumber").unwrap_or_default().parse::<u64>().unwrap();
        let prefix = if self.scheme == Scheme::Aws { "x-amz" } else { "x-oss" };
        let source = headers.get(format!("{prefix}-copy-source"));
        if source.is_some() && self.state.faults.refuses_copies.load(Ordering::Relaxed) {
            return Err((StatusCode::NOT_IMPLEMENTED, "NotImplemented"));
        }
        if let Some(source) = source {
            let source = decode(source.to_str().unwrap());
            let key = source.strip_prefix(&format!("/{BUCKET}/")).unwrap();
            let range = headers[&format!("{prefix}-copy-source-range")].to_str().unwrap();
            let (start, end) = range["bytes=".len()..].split_once('-').unwrap();
            let mut content = self.state.content.lock().unwrap();
            let bytes = content.objects[key].bytes.clone();
            let mut bytes = bytes[start.parse::<usize>().unwrap()..=end.parse().unwrap()].to_vec();
            if self.state.faults.changes_copies.load(Ordering::Relaxed) {
                bytes[0] ^= 1;
            }
            let part = Part::new(bytes.into());
            let etag = self.etag(&part.md5);
            let upload = content.uploads.get_mut(upload).ok_or(NO_UPLOAD)?;
            upload.parts.insert(number, part);
            let xml = format!("<CopyPartResult><ETag>\"{etag}\"</ETag></CopyPartResult>");
            return Ok(xml.into_response());
        }
        if self.is_refused(query) {
            return Err((StatusCode::FORBIDDEN, "AccessDenied"));
        }
        let part = Part::new(self.receive(headers, body)?);
        let stored = self.stored(&part);
        let mut content = self.state.content.lock().unwrap();
        let upload = content.uploads.get_mut(upload).ok_or(NO_UPLOAD)?;
        upload.parts.insert(number, part);
        Ok(stored)
    }

    fn complete(&self, key: &str, upload: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let mut content = self.state.content.lock().unwrap();
        let parts = &content.uploads.get(upload).ok_or(NO_UPLOAD)?.parts;
        let (mut bytes, mut sums, mut count) = (Vec::new(), Vec::new(), 0);
        let text = String::from_utf8_lossy(body).into_owned();
        for part in text.split("<Part>").skip(1) {
            let field = |name: &str| {
                let rest = part.split_once(&format!("<{name}>")).unwrap().1;
                rest.split_once("</").unwrap().0.replace("&quot;", "\"")
            };
            let number: u64 = field("PartNumber").parse().unwrap();
            let invalid = (StatusCode::BAD_REQUEST, "InvalidPart");
            let part = parts.get(&number).ok_or(invalid)?;
            if field("ETag").trim_matches('"') != self.etag(&part.md5) {
                return Err(invalid);
            }
            bytes.extend_from_slice(&part.bytes);
            sums.extend_from_slice(&part.md5);
            count += 1;
        }
        self.check_absent(&content, key, headers)?;
        let mut etag = format!("{}-{count}", self.etag(&Md5::digest(&sums)));
        if self.state.faults.changes_completed.load(Ordering::Relaxed) {
            bytes[0] ^= 1;
            "opaque".clone_into(&mut etag);
        }
        content.uploads.remove(upload);
        content.objects.insert(key.to_owned(), Object { bytes, etag });
        if take(&self.state.faults.lost_completions) {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "InternalError"));
        }
        Ok("<CompleteMultipartUploadResult/>".into_response())
    }

    fn abort(&self, upload: &str) -> Answer {
        let removed = self.state.content.lock().unwrap().uploads.remove(upload);
        removed.ok_or(NO_UPLOAD)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Receives a body, and compares it with its checksum.
    fn receive(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Bytes, (StatusCode, &'static str)> {
        let mut bytes = body.to_vec();
        if take(&self.state.faults.changed)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
        let is_equal = |name: &str, sum: fn(&[u8]) -> Vec<u8>| {
            let given = headers.get(name);
            given.is_none_or(|value| value.as_bytes() == base64(&sum(&bytes)).as_bytes())
        };
        let is_right = is_equal("content-md5", |bytes| Md5::digest(bytes).to_vec())
            && is_equal("x-amz-checksum-crc32c", crc32c);
        match is_right || self.state.faults.ignores_checksums.load(Ordering::Relaxed) {
            true => Ok(bytes.into()),
            false => Err((StatusCode::BAD_REQUEST, "BadDigest")),
        }
    }

    fn stored(&self, part: &Part) -> Response {
        let answer = Response::builder().header("etag", format!("\"{}\"", self.etag(&part.md5)));
        let answer = match self.scheme {
            Scheme::Oss => answer.header("x-oss-hash-crc64ecma", crc64(&part.bytes).to_string()),
            Scheme::Aws => answer,
        };
        answer.body(Body::empty()).unwrap()
    }

    fn check_absent(
        &self,
        content: &Content,
        key: &str,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        let exists = content.objects.contains_key(key);
        match self.scheme {
            Scheme::Aws if exists && headers.contains_key("if-none-match") => {
                Err((StatusCode::PRECONDITION_FAILED, "PreconditionFailed"))
            }
            Scheme::Oss if exists && headers.contains_key("x-oss-forbid-overwrite") => {
                Err((StatusCode::CONFLICT, "FileAlreadyExists"))
            }
            _ => Ok(()),
        }
    }

    fn etag(&self, md5: &[u8]) -> String {
        let hex: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.scheme == Scheme::Oss { hex.to_uppercase() } else { hex }
    }
}

type Answer = Result<Response, (StatusCode, &'static str)>;

const NO_UPLOAD: (StatusCode, &str) = (StatusCode::NOT_FOUND, "NoSuchUpload");

/// Takes one from a count of faults, if it is not 0.
fn take(count: &AtomicU32) -> bool {
    let next = |count: u32| count.checked_sub(1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
}
