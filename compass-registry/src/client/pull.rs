//! Pulling (distribution specification, § Pull).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::transport::{Request, Transport};
use crate::image_manifest::{MAX_MANIFEST_BYTES, sniff_media_type};
use crate::{ByteStream, Descriptor, Digest, Error, Locator, RawManifest, Repository};

const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A document that takes longer than so many pauses of a silent peer does not come.
const MOST_SILENCES: u32 = 5;

pub(super) async fn manifest(
    transport: &Transport,
    repository: &Repository,
    locator: &Locator,
) -> Result<RawManifest, Error> {
    let request = manifest_request(transport, Method::GET, repository, locator);
    let read = || async {
        let response = transport.send_once(&request, &[StatusCode::OK]).await?;
        let declared = content_type(&response);
        let promised: Option<Digest> = digest_header(&response);
        let bytes = read_limited(transport, &request, response).await?;
        let media_type = declared
            .clone()
            .filter(|declared| RawManifest::is_manifest_type(declared))
            .or_else(|| sniff_media_type(&bytes));
        let Some(media_type) = media_type else {
            return Err(Error::BadContent {
                what: format!("{}/{repository}:{locator}", transport.host()),
                reason: format!(
                    "what the registry sent is no manifest that is known here, but `{}`",
                    declared.unwrap_or_default()
                ),
            });
        };
        if let Some(promised) = promised {
            let sent = promised.algorithm().digest(&bytes);
            if sent != promised {
                return Err(Error::DigestMismatch {
                    what: format!("manifest {}/{repository}:{locator}", transport.host()),
                    expected: Box::new(promised),
                    actual: Box::new(sent),
                });
            }
        }
        Ok(RawManifest::known_by(locator.algorithm(), media_type, bytes))
    };
    transport.retry().run(read).await
}

pub(super) async fn manifest_digest(
    transport: &Transport,
    repository: &Repository,
    locator: &Locator,
) -> Result<Option<Digest>, Error> {
    let request = manifest_request(transport, Method::HEAD, repository, locator);
    match transport.send(&request, &[StatusCode::OK]).await {
        Ok(response) => match digest_header(&response) {
            Some(digest) => Ok(Some(digest)),
            None => Ok(Some(manifest(transport, repository, locator).await?.digest())),
        },
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a range of a blob once; who reads it resumes.
pub(super) async fn blob(
    transport: &Transport,
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> Result<ByteStream, Error> {
    let rest = format!("blobs/{}", descriptor.digest);
    let mut request = transport.request(Method::GET, repository, &rest, "pull");
    request.bulk = true;
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let partial = range.start > 0 || range.end < descriptor.size;
    if partial {
        // The last byte is part of an HTTP range (RFC 9110, § 14.1.2).
        let last = range.end.max(range.start + 1) - 1;
        let value = HeaderValue::from_str(&format!("bytes={}-{last}", range.start));
        request.headers.insert(RANGE, value.unwrap_or(HeaderValue::from_static("")));
    }
    let expected = [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE];
    let response = transport.send_once(&request, &expected).await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(too_short(&response, repository, descriptor, range.start));
    }
    let skip = if response.status() == StatusCode::OK {
        // A registry that ignores the range sends everything; what is known is dropped.
        if partial {
            transport.ranges_are_ignored();
        }
        range.start
    } else {
        begins_at(&response, range.start)?
    };
    let (transport, at) = (transport.clone(), response.url().clone());
    let bytes =
        response.bytes_stream().map_err(move |error| transport.unreachable(&request, &at, error));
    Ok(if skip == 0 { bytes.boxed() } else { dropping(bytes.boxed(), skip) })
}

/// The blob ends before the range begins.
fn too_short(
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
        _ => Error::BadContent {
            what,
            reason: format!("the registry has nothing at byte {start} of {}", descriptor.size),
        },
    }
}

/// How many bytes of a partial answer stand before the wanted offset.
fn begins_at(response: &Response, offset: u64) -> Result<u64, Error> {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let start: Option<u64> =
        range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    match start {
        Some(start) if start <= offset => Ok(offset - start),
        None if offset == 0 => Ok(0),
        _ => Err(Error::BadContent {
            what: "a partial answer of the registry".to_owned(),
            reason: format!("it does not begin at byte {offset}"),
        }),
    }
}

fn dropping(bytes: ByteStream, mut count: u64) -> ByteStream {
    let rest = bytes.map_ok(move |mut chunk: Bytes| {
        let dropped = usize::try_from(count).unwrap_or(usize::MAX).min(chunk.len());
        count -= dropped as u64;
        chunk.split_off(dropped)
    });
    rest.boxed()
}

fn manifest_request(
    transport: &Transport,
    method: Method,
    repository: &Repository,
    locator: &Locator,
) -> Request {
    let mut request =
        transport.request(method, repository, &format!("manifests/{locator}"), "pull");
    request.headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
    request
}

/// What the registry says the content's digest is.
pub(super) fn digest_header(response: &Response) -> Option<Digest> {
    response.headers().get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn content_type(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim().to_owned())
}

pub(super) async fn read_limited(
    transport: &Transport,
    request: &Request,
    mut response: Response,
) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let (at, silence) = (response.url().clone(), transport.retry().silence);
    let deadline = Instant::now() + silence * MOST_SILENCES;
    loop {
        let end = deadline.min(Instant::now() + silence);
        match tokio::time::timeout_at(end, response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Ok(None)) => return Ok(bytes.freeze()),
            Ok(Err(error)) => return Err(transport.unreachable(request, &at, error)),
            Err(elapsed) => return Err(transport.unreachable(request, &at, elapsed)),
        }
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(Error::BadContent {
                what: format!("{}{}", transport.host(), request.url.path()),
                reason: "it is larger than 4 MiB, more than a manifest may be".to_owned(),
            });
        }
    }
}
