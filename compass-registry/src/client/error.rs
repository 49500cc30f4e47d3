//! Error responses and connection errors, without the signatures in URLs of object storages.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName};
use reqwest::{Response, StatusCode, Url};

use super::error_body;
use crate::Error;
use crate::error::connection::ConnectionError;

/// The maximum number of redirects of one request.
pub(super) const MAX_REDIRECTS: usize = 5;

/// The maximum number of bytes read from an error body.
const MAX_BODY: usize = 64 << 10;

/// Shorter query values are not redacted, as they would match parts of ordinary words.
const MIN_PARAMETER: usize = 8;

/// A response with an unexpected status. Its body has been read, so that its connection can be
/// reused.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    /// The registry's message.
    pub(super) words: String,
}

impl ErrorResponse {
    /// Reads the beginning of the body.
    pub(super) async fn read(response: Response, idle_timeout: Duration) -> Self {
        let (status, url) = (response.status(), response.url().clone());
        let headers = response.headers().clone();
        let encoding = content_encoding(&response);
        let body = read_prefix(response, idle_timeout).await;
        let words = match encoding {
            Some(encoding) if std::str::from_utf8(&body).is_err() => {
                format!("its message has `Content-Encoding: {encoding}`")
            }
            _ => redact_query_values(error_body::summarize(&body), &url),
        };
        Self { status, headers, url, words }
    }

    pub(super) fn without_body(response: &Response) -> Self {
        let (status, url) = (response.status(), response.url().clone());
        Self { status, headers: response.headers().clone(), url, words: String::new() }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Whether the registry rejects the token rather than the user. Some registries do so with a
    /// status other than 401 and without a challenge.
    pub(super) fn is_token_rejected(&self) -> bool {
        let words = self.words.to_ascii_lowercase();
        let names_token = words.contains("token") || words.contains("jwt");
        let is_invalid = ["invalid", "expired", "not valid", "malformed"];
        let is_invalid = is_invalid.into_iter().any(|word| words.contains(word));
        match self.status {
            StatusCode::BAD_REQUEST => names_token && is_invalid,
            StatusCode::FORBIDDEN => words.contains("expired") || (names_token && is_invalid),
            _ => false,
        }
    }
}

/// Redacts the longer query values of the requested URL in a message. Object storages repeat
/// signatures in their messages.
fn redact_query_values(mut words: String, url: &Url) -> String {
    for (_, value) in url.query_pairs() {
        if value.len() >= MIN_PARAMETER && words.contains(&*value) {
            words = words.replace(&*value, "…");
        }
    }
    words
}

/// Reads the beginning of a body, as far as it arrives within the time limit.
pub(super) async fn read_prefix(mut response: Response, idle_timeout: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(idle_timeout, read).await;
    body
}

/// Returns the `Content-Encoding` of a response, except `identity`.
pub(super) fn content_encoding(response: &Response) -> Option<String> {
    let encoding = header(response, &CONTENT_ENCODING)?.to_ascii_lowercase();
    (!matches!(encoding.as_str(), "" | "identity")).then_some(encoding)
}

pub(super) fn header(response: &Response, name: &HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
}

/// Formats the host of a URL, with its port if there is one.
pub(super) fn describe_url(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// Creates the error for a failed connection, without the URL, which may be signed.
pub(super) fn unreachable(
    host: &str,
    request: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let source = match error.into().downcast::<reqwest::Error>() {
        Ok(error) => {
            let was_open = !(error.is_connect() || error.is_builder());
            Box::new(ConnectionError::new(was_open, error.without_url()))
        }
        Err(other) => other,
    };
    Error::Unreachable { host: host.to_owned(), request: request.to_owned(), source }
}
