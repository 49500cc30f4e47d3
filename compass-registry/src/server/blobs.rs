//! Serves blobs, whole or in ranges (distribution specification, § Pulling blobs).

use std::ops::Range;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::{Registry, stream_limit};
use crate::{Digest, Repository};

impl Registry {
    pub(super) async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        request: &Parts,
    ) -> Result<Response, ApiError> {
        match request.method {
            Method::GET | Method::HEAD => self.get_blob(repository, digest, request).await,
            Method::DELETE => match self.storage.delete_blob(repository, digest).await? {
                true => Ok(StatusCode::ACCEPTED.into_response()),
                false => Err(ApiError::blob_unknown()),
            },
            _ => Err(ApiError::unsupported("blobs support GET, HEAD and DELETE")),
        }
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        request: &Parts,
    ) -> Result<Response, ApiError> {
        let size = self.storage.blob_size(repository, digest).await?;
        let size = size.ok_or_else(ApiError::blob_unknown)?;
        // Ranges are defined for requests with a response body only (RFC 9110, § 14.2).
        let wanted = match request.method {
            Method::HEAD => RequestedRange::Full,
            _ => requested_range(&request.headers, size),
        };
        let range = match &wanted {
            RequestedRange::Partial(range) => range.clone(),
            RequestedRange::Full => 0..size,
            RequestedRange::Unsatisfiable => return Ok(not_satisfiable(size)),
        };
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            let permit = self.streams.acquire(&self.metrics).await?;
            let bytes = self.storage.read_blob(repository, digest, range.clone()).await?;
            stream_limit::body(bytes, permit, &self.metrics)
        };
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let stream = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, stream);
        insert_header(headers, "docker-content-digest", &digest.to_string());
        if let RequestedRange::Partial(range) = wanted {
            let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            insert_header(headers, "content-range", &part);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    }
}

/// Sets a header to a text that is known to be valid.
pub(super) fn insert_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn not_satisfiable(size: u64) -> Response {
    let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    insert_header(response.headers_mut(), "content-range", &format!("bytes */{size}"));
    response
}

#[derive(Debug, PartialEq, Eq)]
enum RequestedRange {
    Full,
    Partial(Range<u64>),
    Unsatisfiable,
}

/// Parses `Range` (RFC 9110, § 14.1.2). Several ranges, and invalid ones, select the whole blob.
fn requested_range(headers: &HeaderMap, size: u64) -> RequestedRange {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let bounds = text.and_then(|text| {
        let (unit, bounds) = text.split_once('=')?;
        bounds.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))
    });
    let Some((first, last)) = bounds else { return RequestedRange::Full };
    let range = match (position(first), position(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.trim().is_empty() => first..size,
        // The last byte precedes the first. RFC 9110 allows ignoring such a range; registries
        // answer 416.
        (Some(_), Some(_)) => return RequestedRange::Unsatisfiable,
        (None, Some(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        _ => return RequestedRange::Full,
    };
    if range.is_empty() { RequestedRange::Unsatisfiable } else { RequestedRange::Partial(range) }
}

/// Parses a decimal number. If it overflows, returns the maximum, which is beyond every blob.
fn position(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(range: &'static str) -> RequestedRange {
        let headers = [(header::RANGE, HeaderValue::from_static(range))].into_iter().collect();
        requested_range(&headers, 10)
    }

    #[test]
    fn requested_range_follows_rfc_9110() {
        assert_eq!(wanted("bytes=0-0"), RequestedRange::Partial(0..1));
        assert_eq!(wanted("bytes=3-"), RequestedRange::Partial(3..10));
        assert_eq!(wanted("bytes=-4"), RequestedRange::Partial(6..10));
        assert_eq!(wanted("bytes=5-99"), RequestedRange::Partial(5..10));
        assert_eq!(wanted("bytes=10-"), RequestedRange::Unsatisfiable);
        assert_eq!(wanted("bytes=-0"), RequestedRange::Unsatisfiable);
        assert_eq!(wanted("bytes=5-2"), RequestedRange::Unsatisfiable);
        assert_eq!(wanted("Bytes= 2-3 "), RequestedRange::Partial(2..4));
        assert_eq!(wanted("bytes=4-99999999999999999999"), RequestedRange::Partial(4..10));
        assert_eq!(wanted("bytes=99999999999999999999-"), RequestedRange::Unsatisfiable);
        for all in ["bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=+1-2", "bytes", "bytes=-"] {
            assert_eq!(wanted(all), RequestedRange::Full, "{all}");
        }
    }
}
