//! Pulling manifests and blobs (distribution specification, § Pull).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::error::{content_encoding, header};
use super::error_body;
use super::transport::{Request, Transport, is_ok};
use crate::error::connection::ConnectionError;
use crate::image_manifest::{MAX_MANIFEST_BYTES, media_type_of};
use crate::{ByteStream, Descriptor, Digest, Error, RawManifest, Repository, TagOrDigest};

const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The maximum duration of reading a document, in idle timeouts.
const MAX_IDLE_TIMEOUTS: u32 = 5;

pub(super) async fn manifest(
    transport: &Transport,
    repository: &Repository,
    reference: &TagOrDigest,
) -> Result<RawManifest, Error> {
    let place = format!("{}/{repository}:{reference}", transport.host());
    let FetchedManifest { content_type, bytes } = fetch(transport, repository, reference).await?;
    let Some(media_type) = media_type_of(&bytes, content_type.as_deref()) else {
        return Err(Error::InvalidResponse {
            what: place,
            reason: not_a_manifest_reason(content_type, &bytes),
        });
    };
    Ok(RawManifest::with_algorithm(reference.algorithm(), media_type, bytes))
}

/// A manifest as the registry sent it.
struct FetchedManifest {
    content_type: Option<String>,
    bytes: Bytes,
}

async fn fetch(
    transport: &Transport,
    repository: &Repository,
    reference: &TagOrDigest,
) -> Result<FetchedManifest, Error> {
    let request = manifest_request(transport, Method::GET, repository, reference);
    let what = format!("manifest {}/{repository}:{reference}", transport.host());
    transport.retry().run(|| fetch_once(transport, &request, reference, &what)).await
}

async fn fetch_once(
    transport: &Transport,
    request: &Request,
    reference: &TagOrDigest,
    what: &str,
) -> Result<FetchedManifest, Error> {
    let response = transport.send_without_retry(request, is_ok).await?;
    let content_type = header(&response, &CONTENT_TYPE);
    let content_type =
        content_type.and_then(|kind| Some(kind.split(';').next()?.trim().to_owned()));
    let (encoding, promised) = (content_encoding(&response), digest_header(&response));
    let at = response.url().clone();
    let bytes = read_limited(transport, request, response).await?;
    let bad = |reason| Err(Error::InvalidResponse { what: what.to_owned(), reason });
    if let Some(encoding) = encoding
        && !bytes.trim_ascii_start().starts_with(b"{")
    {
        return bad(encoding_reason(&encoding));
    }
    if bytes.trim_ascii().is_empty() {
        return bad("the response is empty".to_owned());
    }
    if is_truncated_json(&bytes) {
        let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(transport.unreachable(request, &at, ConnectionError::new(true, cut)));
    }
    // If a digest is requested, the caller verifies it.
    if let (Some(promised), TagOrDigest::Tag(_)) = (promised, reference) {
        let sent = promised.algorithm().digest(&bytes);
        if sent != promised {
            let (expected, actual) = (Box::new(promised), Box::new(sent));
            return Err(Error::DigestMismatch { what: what.to_owned(), expected, actual });
        }
    }
    Ok(FetchedManifest { content_type, bytes })
}

/// Whether a JSON text ends too early. Without `Content-Length`, a broken connection looks like the
/// end of the body.
fn is_truncated_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_err_and(|error| error.is_eof())
}

/// Explains why a response is not a manifest.
fn not_a_manifest_reason(content_type: Option<String>, bytes: &[u8]) -> String {
    let kind = content_type.map_or_else(String::new, |kind| format!(" (`{kind}`)"));
    format!(
        "the registry sent something that is not a manifest{kind}: {}",
        error_body::summarize(bytes)
    )
}

/// Returns the digest of the manifest that a tag or digest names. Returns `None` if the manifest
/// does not exist.
///
/// Falls back to `GET` if the registry refuses `HEAD`, sends no digest of the requested algorithm,
/// or answers 404 before any `HEAD` has found a manifest.
pub(super) async fn manifest_digest(
    transport: &Transport,
    repository: &Repository,
    reference: &TagOrDigest,
) -> Result<Option<Digest>, Error> {
    let request = manifest_request(transport, Method::HEAD, repository, reference);
    match transport.send(&request, is_ok).await {
        Ok(response) => {
            transport.record_head_support();
            let fits = |told: &Digest| match reference {
                TagOrDigest::Tag(_) => told.algorithm() == reference.algorithm(),
                TagOrDigest::Digest(asked) => told == asked,
            };
            if let Some(told) = digest_header(&response).filter(fits) {
                return Ok(Some(told));
            }
        }
        Err(error) if error.is_not_found() => {
            if transport.trusts_head_not_found() {
                return Ok(None);
            }
        }
        Err(error) if is_head_refused(&error) => {}
        Err(error) => return Err(error),
    }
    verified_manifest_digest(transport, repository, reference).await
}

/// Returns the digest computed from the manifest, or `None` if it does not exist.
pub(super) async fn verified_manifest_digest(
    transport: &Transport,
    repository: &Repository,
    reference: &TagOrDigest,
) -> Result<Option<Digest>, Error> {
    match fetch(transport, repository, reference).await {
        Ok(answered) => Ok(Some(reference.algorithm().digest(&answered.bytes))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether to retry a refused `HEAD` with `GET`. Some registries and proxies support only `GET`,
/// and its response contains a message.
pub(super) fn is_head_refused(error: &Error) -> bool {
    match error {
        // This includes a redirect without a location.
        Error::Unauthorized { .. } | Error::InvalidResponse { .. } => true,
        Error::Status { status, .. } => *status == 500 || !error.is_transient(),
        _ => false,
    }
}

/// Checks whether a blob exists with a `GET` of its first byte.
pub(super) async fn has_first_byte(
    transport: &Transport,
    mut request: Request,
) -> Result<bool, Error> {
    request.method = Method::GET;
    request.is_blob = true;
    request.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // 416: the blob is empty.
    let expected = |status: StatusCode| matches!(status.as_u16(), 200 | 206 | 416);
    match transport.send(&request, expected).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the size of a blob in bytes, or `None` if it does not exist.
pub(super) async fn blob_size(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<u64>, Error> {
    let request = transport.request(Method::HEAD, repository, &format!("blobs/{digest}"), "pull");
    let response = match transport.send(&request, is_ok).await {
        Ok(response) => response,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = header(&response, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let invalid = || Error::InvalidResponse {
        what: format!("blob {}/{repository}@{digest}", transport.host()),
        reason: "the response has no Content-Length".to_owned(),
    };
    length.map(Some).ok_or_else(invalid)
}

/// Opens a range of a blob, without retrying. The reader of the stream resumes it.
pub(super) async fn blob(
    transport: &Transport,
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> Result<ByteStream, Error> {
    let rest = format!("blobs/{}", descriptor.digest);
    let mut request = transport.request(Method::GET, repository, &rest, "pull");
    request.is_blob = true;
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let partial = range.start > 0 || range.end < descriptor.size;
    if partial {
        // HTTP ranges include their last byte (RFC 9110, § 14.1.2).
        let last = range.end.max(range.start + 1) - 1;
        let value = HeaderValue::from_str(&format!("bytes={}-{last}", range.start));
        request.headers.insert(RANGE, value.unwrap_or(HeaderValue::from_static("")));
    }
    let expected = |status: StatusCode| matches!(status.as_u16(), 200 | 206 | 416);
    let response = transport.send_without_retry(&request, expected).await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(range_beyond_end(&response, repository, descriptor, range.start));
    }
    check_content_encoding(&response, descriptor, &range)
        .map_err(|reason| invalid_blob(transport, repository, descriptor, reason))?;
    let skip = if response.status() == StatusCode::OK {
        // A registry that ignores the range sends the whole blob; the bytes before the range are
        // skipped.
        if partial {
            transport.disable_ranges();
        }
        range.start
    } else {
        bytes_before(&response, range.start)?
    };
    let (transport, at) = (transport.clone(), response.url().clone());
    let bytes =
        response.bytes_stream().map_err(move |error| transport.unreachable(&request, &at, error));
    Ok(if skip == 0 { bytes.boxed() } else { skip_bytes(bytes.boxed(), skip) })
}

fn invalid_blob(
    transport: &Transport,
    repository: &Repository,
    descriptor: &Descriptor,
    reason: String,
) -> Error {
    let what = format!("{}/{repository}@{}", transport.host(), descriptor.digest);
    Error::InvalidResponse { what, reason }
}

/// Rejects a body with a `Content-Encoding`, whose bytes are not those of the blob.
///
/// Some storages set the header for blobs that are gzip files themselves, so a body of the right
/// length is accepted. Its digest is verified later.
fn check_content_encoding(
    response: &Response,
    descriptor: &Descriptor,
    range: &Range<u64>,
) -> Result<(), String> {
    let Some(encoding) = content_encoding(response) else { return Ok(()) };
    let length = match response.status() {
        StatusCode::OK => descriptor.size,
        _ => range.end - range.start,
    };
    let declared = header(response, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if declared == Some(length) { Ok(()) } else { Err(encoding_reason(&encoding)) }
}

fn encoding_reason(encoding: &str) -> String {
    format!(
        "the response has `Content-Encoding: {encoding}` although `identity` was requested: a proxy in \
         front of the registry compresses it"
    )
}

/// Creates the error for a blob that ends before the range begins.
fn range_beyond_end(
    response: &Response,
    repository: &Repository,
    descriptor: &Descriptor,
    start: u64,
) -> Error {
    let what = format!("{repository}@{}", descriptor.digest);
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    match range.and_then(|range| range.strip_prefix("bytes */")?.parse().ok()) {
        Some(actual) if actual != descriptor.size => {
            Error::SizeMismatch { what, expected: descriptor.size, actual }
        }
        _ => Error::InvalidResponse {
            what,
            reason: format!("the registry has no byte {start} of {}", descriptor.size),
        },
    }
}

/// Returns how many bytes of a partial response precede the requested offset.
fn bytes_before(response: &Response, offset: u64) -> Result<u64, Error> {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let start: Option<u64> =
        range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    match start {
        Some(start) if start <= offset => Ok(offset - start),
        None if offset == 0 => Ok(0),
        _ => Err(Error::InvalidResponse {
            what: "a partial response of the registry".to_owned(),
            reason: format!("it does not start at byte {offset}"),
        }),
    }
}

/// Skips bytes. Chunks of which nothing is left are not yielded, because many empty chunks in a row are
/// an error.
fn skip_bytes(bytes: ByteStream, mut count: u64) -> ByteStream {
    let rest = bytes.try_filter_map(move |mut chunk: Bytes| {
        let dropped = usize::try_from(count).unwrap_or(usize::MAX).min(chunk.len());
        count -= dropped as u64;
        let rest = chunk.split_off(dropped);
        std::future::ready(Ok((dropped == 0 || !rest.is_empty()).then_some(rest)))
    });
    rest.boxed()
}

fn manifest_request(
    transport: &Transport,
    method: Method,
    repository: &Repository,
    reference: &TagOrDigest,
) -> Request {
    let mut request =
        transport.request(method, repository, &format!("manifests/{reference}"), "pull");
    request.headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request
}

/// Returns the digest that the registry states for the content.
pub(super) fn digest_header(response: &Response) -> Option<Digest> {
    response.headers().get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

pub(super) async fn read_limited(
    transport: &Transport,
    request: &Request,
    mut response: Response,
) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let (at, silence) = (response.url().clone(), transport.retry().idle_timeout);
    let deadline = Instant::now() + silence * MAX_IDLE_TIMEOUTS;
    loop {
        let end = deadline.min(Instant::now() + silence);
        match tokio::time::timeout_at(end, response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Ok(None)) => return Ok(bytes.freeze()),
            Ok(Err(error)) => return Err(transport.unreachable(request, &at, error)),
            Err(elapsed) => return Err(transport.unreachable(request, &at, elapsed)),
        }
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(Error::InvalidResponse {
                what: format!("{}{}", transport.host(), request.url.path()),
                reason: "it is larger than 4 MiB, the limit of manifests".to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn skip_bytes_yields_no_skipped_chunk() {
        let chunks = [&b"ab"[..], b"cd", b"ef"].map(|chunk| Ok(Bytes::from_static(chunk)));
        let rest = skip_bytes(stream::iter(chunks).boxed(), 3);
        let rest: Vec<Bytes> = rest.try_collect().await.unwrap();
        assert_eq!(rest, [&b"d"[..], b"ef"]);
    }
}
