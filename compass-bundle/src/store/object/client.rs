//! A client of S3 and OSS, with the operations that uploads in parts need.

mod credential_context;
mod request;
mod request_error;
mod response;
mod signer;
mod transport;

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;

use bytes::Bytes;
use compass_registry::RetryPolicy;
use http::HeaderMap;
use serde::de::DeserializeOwned;

pub(super) use self::request::{Body, CompletedPart, Content, Copy, PartId};
use self::request::{Request, UploadPosition};
pub(super) use self::request_error::RequestError;
use self::response::{
    CopiedPart, InitiatedUpload, ObjectsPage, PartsPage, UploadsPage, Versioning, parse, unquoted,
};
pub(super) use self::response::{ListedObject, ListedPart, ListedUpload};
use self::transport::{Answer, MAX_DOCUMENT, Rejection, Transport, text_header};
pub(super) use self::transport::{BODY_CHUNK, HttpClients};
use super::address::Provider;
use super::checksum::{Comparison, PartChecksum, StoredChecksum};
use super::settings::{Settings, StoreEnvironment};

/// Maximum pages of a list. A page has up to 1000 entries.
const MAX_PAGES: usize = 1000;

/// The reason to refuse a list of which the storage does not send the rest.
const UNENDED_LIST: &str = "the list is not complete, and the next page cannot be requested";

const OTHER_RANGE: &str = "it contains another range";

type Result<T> = std::result::Result<T, RequestError>;

/// A client of one bucket. Clones share connections and credentials.
#[derive(Debug, Clone)]
pub(super) struct Client {
    transport: Transport,
}

impl Client {
    /// Creates a client. Sends no request.
    pub(super) fn new(
        settings: Settings,
        environment: &StoreEnvironment,
        http: HttpClients,
        retry: RetryPolicy,
    ) -> Self {
        Self { transport: Transport::new(settings, environment, http, retry) }
    }

    /// The limits of retries and timeouts.
    pub(super) fn policy(&self) -> RetryPolicy {
        self.transport.retry
    }

    fn provider(&self) -> Provider {
        self.transport.settings.provider
    }

    /// Reads the size and the checksums of an object. Returns `None` if it does not exist.
    pub(super) async fn head(&self, key: &str) -> Result<Option<StoredChecksum>> {
        let request = Request::head(self.provider(), key);
        let read = |answer: Answer| Ok(checksum_of(&answer.headers));
        match self.transport.send(&request, 0, read).await {
            Ok(stored) if stored.size.is_none() => Err(RequestError::InvalidAnswer {
                request: request.describe(),
                reason: "it has no Content-Length".to_owned(),
            }),
            Ok(stored) => Ok(Some(stored)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a range of an object.
    pub(super) async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end - range.start;
        let request = Request::get(key, &range);
        let read = |answer: Answer| match answer.body.len() as u64 {
            _ if range_start(&answer.headers) != Some(range.start) => {
                Err(Rejection::Invalid(OTHER_RANGE.to_owned()))
            }
            length if length == wanted => Ok(answer.body),
            length => Err(Rejection::Transient(format!("{length} of {wanted} bytes arrived"))),
        };
        self.transport.send(&request, wanted, read).await
    }

    /// Requests a range of an object, and returns the response before its body.
    pub(super) async fn get_response(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<reqwest::Response> {
        let request = Request::get(key, &range);
        let response = self.transport.open(&request).await?;
        match range_start(response.headers()) {
            Some(start) if start == range.start => Ok(response),
            _ => Err(RequestError::InvalidAnswer {
                request: request.describe(),
                reason: OTHER_RANGE.to_owned(),
            }),
        }
    }

    /// Writes a small object. `is_new` lets the request fail if the object exists.
    pub(super) async fn put(&self, key: &str, content: Content, is_new: bool) -> Result<()> {
        let checksum = content.checksum.clone();
        let request = Request::put(self.provider(), key, content, is_new);
        self.transport.send(&request, 0, |answer| confirm(&answer, &checksum).map(drop)).await
    }

    /// Whether the bucket has, or had, versioning.
    pub(super) async fn is_versioned(&self) -> Result<bool> {
        let versioning: Versioning = self.document(&Request::versioning()).await?;
        Ok(versioning.status.is_some_and(|status| !status.is_empty()))
    }

    /// Removes an object.
    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        self.transport.send(&Request::delete(key), 0, |_| Ok(())).await
    }

    /// Starts an upload in parts, and returns its ID.
    pub(super) async fn initiate(&self, key: &str) -> Result<String> {
        let request = Request::initiate(self.provider(), key);
        let upload: InitiatedUpload = self.document(&request).await?;
        Ok(upload.upload_id)
    }

    /// Uploads a part, and compares the checksum of what the storage received.
    pub(super) async fn upload_part(
        &self,
        key: &str,
        part: PartId<'_>,
        content: Content,
    ) -> Result<CompletedPart> {
        let (number, checksum) = (part.number, content.checksum.clone());
        let request = Request::upload_part(self.provider(), key, part, content);
        let read = |answer: Answer| {
            let stored = confirm(&answer, &checksum)?;
            match stored.etag.as_str() {
                "" => Err(Rejection::Invalid("it has no ETag".to_owned())),
                _ => {
                    let crc32c = Some(checksum.crc32c_base64());
                    Ok(CompletedPart { number, etag: stored.etag, crc32c })
                }
            }
        };
        self.transport.send(&request, 0, read).await
    }

    /// Copies a range of another object of the bucket to a part.
    pub(super) async fn upload_part_copy(
        &self,
        key: &str,
        part: PartId<'_>,
        source: &Copy,
    ) -> Result<CompletedPart> {
        let settings = &self.transport.settings;
        let request = Request::upload_part_copy(settings, key, part, source);
        let copied: CopiedPart = self.document(&request).await?;
        let etag = unquoted(&copied.etag).to_owned();
        Ok(CompletedPart { number: part.number, etag, crc32c: copied.crc32c })
    }

    /// Lists the parts of an unfinished upload.
    pub(super) async fn list_parts(&self, key: &str, upload: &str) -> Result<Vec<ListedPart>> {
        let request = |after: Option<&u64>| Request::list_parts(key, upload, after.copied());
        let read = |page: PartsPage| Page {
            entries: page.parts,
            is_last: !page.is_truncated,
            next: page.next_part_number_marker,
        };
        self.list(request, read).await
    }

    /// Lists the unfinished uploads of the keys with a prefix.
    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<ListedUpload>> {
        let request = |after: Option<&UploadPosition>| Request::list_uploads(prefix, after);
        let read = |page: UploadsPage| Page {
            entries: page.uploads,
            is_last: !page.is_truncated,
            next: Some(UploadPosition {
                key: page.next_key_marker,
                upload_id: page.next_upload_id_marker,
            }),
        };
        self.list(request, read).await
    }

    /// Removes an unfinished upload and its parts.
    pub(super) async fn abort(&self, key: &str, upload: &str) -> Result<()> {
        match self.transport.send(&Request::abort(key, upload), 0, |_| Ok(())).await {
            Err(error) if error.is_upload_gone() => Ok(()),
            aborted => aborted,
        }
    }

    /// Completes an upload, unless an object with the key exists.
    pub(super) async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: &[CompletedPart],
    ) -> Result<()> {
        let request = Request::complete(self.provider(), key, upload, parts);
        self.transport.send(&request, MAX_DOCUMENT, |_| Ok(())).await
    }

    /// Lists the objects whose keys have a prefix.
    pub(super) async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>> {
        let request = |token: Option<&String>| Request::list_objects(prefix, token);
        let read = |page: ObjectsPage| Page {
            entries: page.objects,
            is_last: !page.is_truncated,
            next: page.next_continuation_token,
        };
        self.list(request, read).await
    }

    /// Reads a list in pages. `request` asks for the page at a position.
    async fn list<P: DeserializeOwned, E, N: Clone + Eq + Hash>(
        &self,
        request: impl Fn(Option<&N>) -> Request,
        read: impl Fn(P) -> Page<E, N>,
    ) -> Result<Vec<E>> {
        let (mut entries, mut after, mut seen) = (Vec::new(), None, HashSet::new());
        for _ in 0..MAX_PAGES {
            let page = read(self.document(&request(after.as_ref())).await?);
            entries.extend(page.entries);
            match page.next {
                _ if page.is_last => return Ok(entries),
                // A storage that repeats a position would never end.
                Some(next) if seen.insert(next.clone()) => after = Some(next),
                _ => break,
            }
        }
        Err(RequestError::InvalidAnswer {
            request: request(after.as_ref()).describe(),
            reason: UNENDED_LIST.to_owned(),
        })
    }

    async fn document<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        let read = |answer: Answer| parse(&answer.body).map_err(Rejection::Invalid);
        self.transport.send(request, MAX_DOCUMENT, read).await
    }
}

/// A page of a list, and the position of the next one.
struct Page<E, N> {
    entries: Vec<E>,
    is_last: bool,
    next: Option<N>,
}

/// The first byte in the `Content-Range` of an answer.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = text_header(headers, "content-range")?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// Compares the checksum in an answer with that of the sent bytes.
fn confirm(answer: &Answer, sent: &PartChecksum) -> std::result::Result<StoredChecksum, Rejection> {
    // The length is that of the answer.
    let stored = StoredChecksum { size: None, ..checksum_of(&answer.headers) };
    match sent.compare(&stored) {
        Comparison::Equal | Comparison::Unknown => Ok(stored),
        Comparison::Different => {
            let reason = "the storage received other bytes than were sent";
            Err(Rejection::Transient(reason.to_owned()))
        }
    }
}

/// The checksums in the headers of an answer.
fn checksum_of(headers: &HeaderMap) -> StoredChecksum {
    let header = |name: &str| text_header(headers, name);
    let encryption = header("x-amz-server-side-encryption").unwrap_or_default();
    let is_of_customer = header("x-amz-server-side-encryption-customer-algorithm").is_some();
    StoredChecksum {
        size: header("content-length").and_then(|size| size.parse().ok()),
        etag: unquoted(&header("etag").unwrap_or_default()).to_owned(),
        has_opaque_etag: encryption.starts_with("aws:kms") || is_of_customer,
        crc32c: header("x-amz-checksum-crc32c"),
        crc64: header("x-oss-hash-crc64ecma").and_then(|crc| crc.parse().ok()),
    }
}
