//! Errors of requests to storages.

use compass_registry::RetryableError;
use http::StatusCode;

use super::super::address::Provider;

/// Maximum characters of a storage's message that are shown.
const MAX_WORDS: usize = 500;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum RequestError {
    /// The storage refused the request.
    #[error("{}", .0.describe())]
    Refused(Refusal),
    /// The storage failed repeatedly, or cannot be reached.
    #[error(transparent)]
    Failed(#[from] compass_registry::Error),
    /// The storage sent an answer that the protocol does not allow.
    #[error("the storage sent an invalid answer to {request}: {reason}")]
    InvalidAnswer { request: String, reason: String },
    /// No credentials were found.
    #[error("no credentials: set {0}, or log in with the vendor's tool")]
    NoCredentials(&'static str),
    /// The request could not be signed.
    #[error("cannot sign the request: {0}")]
    Unsigned(String),
}

/// An answer with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Refusal {
    pub(super) status: StatusCode,
    /// The storage's code of the error, such as `AccessDenied`; empty if it sent none.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: String,
    /// The region of the bucket, if requests must be sent to another one.
    pub(super) region: Option<String>,
}

impl RetryableError for RequestError {
    /// The transport has repeated requests that failed temporarily.
    fn is_transient(&self) -> bool {
        false
    }
}

impl RequestError {
    /// Whether the object or the bucket does not exist.
    pub(in super::super) fn is_not_found(&self) -> bool {
        self.refusal()
            .is_some_and(|one| one.status == StatusCode::NOT_FOUND && one.code != "NoSuchUpload")
    }

    /// Whether the upload was completed or aborted.
    pub(in super::super) fn is_upload_gone(&self) -> bool {
        self.refusal().is_some_and(|one| one.code == "NoSuchUpload")
    }

    /// Whether the object exists, so that a conditional request failed.
    pub(in super::super) fn is_existing(&self) -> bool {
        self.refusal().is_some_and(|one| {
            one.status == StatusCode::PRECONDITION_FAILED || one.code == "FileAlreadyExists"
        })
    }

    /// Whether a concurrent request for the same object let this one fail.
    pub(in super::super) fn is_conflict(&self) -> bool {
        self.refusal().is_some_and(|one| one.status == StatusCode::CONFLICT) && !self.is_existing()
    }

    /// Whether the parts of the upload changed after they were listed.
    pub(in super::super) fn is_part_changed(&self) -> bool {
        self.refusal().is_some_and(|one| one.code == "InvalidPart")
    }

    /// Whether the storage does not support or permit the request.
    pub(in super::super) fn is_unavailable(&self) -> bool {
        self.refusal().is_some_and(|one| {
            matches!(
                one.status,
                StatusCode::FORBIDDEN
                    | StatusCode::METHOD_NOT_ALLOWED
                    | StatusCode::NOT_IMPLEMENTED
            )
        })
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl Refusal {
    pub(super) fn describe(&self) -> String {
        let region = self.region.as_ref();
        let region = region.map(|one| format!("the bucket is in region {}", printable(one)));
        let meaning = match (self.status, self.code.as_str()) {
            _ if region.is_some() => region.as_deref().unwrap_or_default(),
            (_, "NoSuchBucket") => "the bucket does not exist",
            (StatusCode::NOT_FOUND, _) => "it does not exist",
            (_, "RequestTimeTooSkewed") => "the clock of this machine is wrong",
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => "access denied",
            (StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT, _) => {
                "the bucket is in another region"
            }
            _ => "the storage refused the request",
        };
        let code = match self.code.as_str() {
            "" => format!("HTTP {}", self.status.as_u16()),
            code => format!("{}, HTTP {}", printable(code), self.status.as_u16()),
        };
        let id = match self.request_id.as_str() {
            "" => String::new(),
            id => format!(", request {}", printable(id)),
        };
        match printable(&self.message) {
            message if message.is_empty() => format!("{meaning} ({code}{id})"),
            message => format!("{meaning}: {} ({code}{id})", message.trim_end_matches('.')),
        }
    }
}

/// The variables for credentials of a provider.
pub(super) fn credential_variables(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        Provider::Oss => "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    }
}

/// Limits a text of the storage, and replaces its control characters.
fn printable(text: &str) -> String {
    let kept = text.trim().chars().take(MAX_WORDS);
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_shows_code_and_request() {
        let refusal = |status: u16, code: &str, message: &str| Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: "7F".to_owned(),
            region: None,
        };
        assert_eq!(
            refusal(403, "AccessDenied", "No\u{1b}way.").describe(),
            "access denied: No way (AccessDenied, HTTP 403, request 7F)"
        );
        assert_eq!(refusal(404, "", "").describe(), "it does not exist (HTTP 404, request 7F)");
        let elsewhere = Refusal { region: Some("eu-1".to_owned()), ..refusal(301, "", "") };
        let text = "the bucket is in region eu-1 (HTTP 301, request 7F)";
        assert_eq!(elsewhere.describe(), text);
        let gone = RequestError::Refused(refusal(404, "NoSuchUpload", ""));
        assert!(gone.is_upload_gone() && !gone.is_not_found());
        let exists = RequestError::Refused(refusal(409, "FileAlreadyExists", ""));
        assert!(exists.is_existing() && !exists.is_conflict());
    }
}
