//! Error responses (distribution specification, § Error Codes).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::Error;

/// The seconds after which a client may repeat a request that found the server busy.
const RETRY_AFTER: &str = "5";

#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
    }

    pub(super) fn unsupported(message: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub(super) fn manifest_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown to the registry")
    }

    pub(super) fn blob_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to the registry")
    }

    pub(super) fn name_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository unknown to the registry")
    }

    pub(super) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "upload unknown to the registry")
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }
}

impl From<Error> for ApiError {
    /// Converts a failure of the storage. The message contains no paths, which belong in the
    /// server's log only.
    fn from(error: Error) -> Self {
        // The blob was deleted after the request began.
        if matches!(error, Error::NotFound { .. }) {
            return Self::blob_unknown();
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the storage failed");
        if let Error::Upstream { source } = &error {
            let message = format!("the upstream registry failed: {source}");
            return Self::new(StatusCode::BAD_GATEWAY, "UNKNOWN", message);
        }
        if let Error::Io { source, .. } = &error
            && let Some(message) = no_room(source.kind())
        {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN", message);
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the storage failed")
    }
}

fn no_room(kind: std::io::ErrorKind) -> Option<&'static str> {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match kind {
        StorageFull => Some("the disk is full"),
        QuotaExceeded => Some("the quota of the disk is exceeded"),
        FileTooLarge => Some("the file is larger than the system allows"),
        _ => None,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"errors": [{"code": self.code, "message": self.message}]});
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(r#"Basic realm="compass""#);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
