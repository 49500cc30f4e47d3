//! What went wrong with a request, and with whom: the registry, or somebody it pointed to.

use std::time::Duration;

use reqwest::{Response, StatusCode, Url};

use super::super::pace::retry_after;
use super::{Request, Transport};
use crate::Error;

/// Bytes of an error answer that are looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;

impl Transport {
    pub(super) async fn expect(
        &self,
        request: &Request,
        response: Response,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        let status = response.status();
        if expected.contains(&status) {
            return Ok(response);
        }
        let at = response.url().clone();
        match status {
            StatusCode::NOT_FOUND => Err(Error::NotFound { what: self.place_of(&at) }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.is_own(&at) => {
                Err(Error::Unauthorized {
                    host: self.0.host.clone(),
                    reason: format!(
                        "{} {} {} ({})",
                        request.method,
                        request.url.path(),
                        self.0.auth.who(),
                        status.as_u16()
                    ),
                })
            }
            _ => {
                let wait = retry_after(response.headers());
                let said = error_message(response, self.0.retry.silence).await;
                Err(self.refused(request, &at, (status, wait), said))
            }
        }
    }

    pub(super) fn refused(
        &self,
        request: &Request,
        at: &Url,
        (status, retry_after): (StatusCode, Option<Duration>),
        message: String,
    ) -> Error {
        Error::Refused {
            host: self.place(at),
            request: format!("{} {}", request.method, at.path()),
            status: status.as_u16(),
            message,
            retry_after,
        }
    }

    pub(in crate::client) fn unreachable(
        &self,
        request: &Request,
        at: &Url,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let asked = format!("{} {}", request.method, at.path());
        unreachable(&self.place(at), &asked, error)
    }

    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.0.base.origin()
    }

    /// What is asked for, and where.
    fn place_of(&self, url: &Url) -> String {
        let path = url.path();
        match self.is_own(url) {
            true => format!("{}{path}", self.0.host),
            false => format!("{path} at {}", self.place(url)),
        }
    }

    /// Who is asked there: the registry, or somebody it pointed to.
    pub(super) fn place(&self, url: &Url) -> String {
        if self.is_own(url) {
            return self.0.host.clone();
        }
        format!("{} (where {} pointed)", host_of(url), self.0.host)
    }
}

/// The host of an address, with its port where it has one.
pub(in crate::client) fn host_of(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// The connection to a host failed. The error is stripped of its address, which may be signed.
pub(in crate::client) fn unreachable(
    host: &str,
    request: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let source = match error.into().downcast::<reqwest::Error>() {
        Ok(error) => Box::new(error.without_url()),
        Err(other) => other,
    };
    Error::Unreachable { host: host.to_owned(), request: request.to_owned(), source }
}

/// What a registry says went wrong (distribution specification, § Error Codes), one line of it.
pub(super) async fn error_message(mut response: Response, silence: Duration) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        errors: Vec<OneError>,
    }
    #[derive(serde::Deserialize)]
    struct OneError {
        code: String,
        #[serde(default)]
        message: String,
    }
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ERROR_BYTES {
                return;
            }
        }
    };
    // What has come by then has to be enough.
    let _ = tokio::time::timeout(silence, read).await;
    let Ok(answer) = serde_json::from_slice::<Answer>(&body) else { return String::new() };
    let errors = answer.errors.iter().map(|error| format!("{} {}", error.code, error.message));
    let line: String = errors.collect::<Vec<_>>().join("; ");
    line.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
}
