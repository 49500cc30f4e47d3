//! What a failed attempt means.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::super::super::error::{ForgeError, message_line};
use super::super::limits::Pause;
use super::super::rejection::Rejection;
use super::{Request, Transport};

/// A failed attempt.
pub(super) enum Failure {
    /// The forge asks for a pause.
    Paused(Pause),
    /// The token is not valid, or not any more.
    Unauthorized(ForgeError),
    /// Another attempt may succeed.
    Transient(ForgeError),
    Final(ForgeError),
}

impl Transport {
    /// The failure of a request without a complete answer.
    pub(super) fn lost(&self, request: &Request<'_>, error: reqwest::Error) -> Failure {
        let was_sent = !error.is_connect() && !error.is_builder();
        let cause = message_line(&describe(&error.without_url()));
        if was_sent && !request.is_repeatable {
            return Failure::Final(unconfirmed(request, cause));
        }
        Failure::Transient(ForgeError::Unreachable { host: self.host(), cause })
    }

    /// The failure of a request that the forge rejected.
    pub(super) fn rejected(
        &self,
        request: &Request<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        attempt: u32,
    ) -> Failure {
        let rejection = Rejection::read(body);
        if let Some(pause) = Pause::of(status, headers, &rejection, attempt) {
            return Failure::Paused(pause);
        }
        let (action, message) = (request.action.to_owned(), rejection.text());
        let status = status.as_u16();
        match status {
            401 => Failure::Unauthorized(ForgeError::Unauthorized { host: self.host(), message }),
            403 => {
                let needs = needed_permission(headers);
                Failure::Final(ForgeError::Forbidden { action, message, needs })
            }
            404 | 410 => Failure::Final(ForgeError::NotFound { action }),
            422 => Failure::Final(ForgeError::Invalid { action, message }),
            500 | 502 | 503 | 504 if request.is_repeatable => {
                Failure::Transient(ForgeError::Status { action, status, message })
            }
            500..600 => Failure::Final(unconfirmed(request, format!("{status}: {message}"))),
            _ => Failure::Final(ForgeError::Status { action, status, message }),
        }
    }
}

fn unconfirmed(request: &Request<'_>, cause: String) -> ForgeError {
    ForgeError::Unconfirmed { action: request.action.to_owned(), cause }
}

/// The permission that the forge names: one of an app, or the scopes of a token.
fn needed_permission(headers: &HeaderMap) -> Option<String> {
    let names = ["x-accepted-github-permissions", "x-accepted-oauth-scopes"];
    let values = names.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    values.map(message_line).find(|value| !value.is_empty())
}

/// Returns the message of an error and of its sources.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
