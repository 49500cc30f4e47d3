//! Errors for refused requests, with the registry's message and the login that was used.

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode, Url};

use super::login::unsupported_scheme;
use super::{Request, Transport};
use crate::Error;
use crate::client::error::{ErrorResponse, describe_url, read_prefix, unreachable};
use crate::client::error_body;
use crate::client::http_clients::Origin;
use crate::http::retry_after;

/// The header that identifies a registry (Docker Registry HTTP API V2).
const VERSION: &str = "docker-distribution-api-version";

impl Transport {
    /// Creates the error for an unexpected status: [`Error::Unauthorized`] or [`Error::Status`].
    pub(super) fn status_error(&self, request: &Request, refusal: &ErrorResponse) -> Error {
        let is_login = matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !(is_login && self.is_registry_origin(&refusal.url)) {
            return self.unexpected_status(request, refusal);
        }
        let unknown = unsupported_scheme(refusal);
        let unknown = unknown.map_or_else(String::new, |scheme| {
            format!("; unsupported authentication scheme `{scheme}`")
        });
        let words = error_body::suffix(&self.0.auth.redact(refusal.words.clone()));
        Error::Unauthorized {
            host: self.0.host.clone(),
            reason: format!(
                "{} {} {} ({}){words}{unknown}",
                request.method,
                refusal.url.path(),
                self.0.auth.identity(&request.scope),
                refusal.status.as_u16(),
            ),
        }
    }

    /// Creates an [`Error::Status`] for any status.
    pub(super) fn unexpected_status(&self, request: &Request, refusal: &ErrorResponse) -> Error {
        let mut message = self.0.auth.redact(refusal.words.clone());
        if refusal.status.is_redirection() {
            message = describe_redirect(refusal);
        }
        if self.is_registry_origin(&refusal.url) && self.depends_on_login(request, refusal) {
            let asked = format!("(asked {})", self.0.auth.identity(&request.scope));
            let separator = if message.is_empty() { "" } else { " " };
            message = format!("{message}{separator}{asked}");
        }
        Error::Status {
            host: self.describe_host(&refusal.url),
            request: format!("{} {}", request.method, refusal.url.path()),
            status: refusal.status.as_u16(),
            message,
            retry_after: retry_after(&refusal.headers),
        }
    }

    /// Whether the response may be different with another login. Registries answer 404 for private
    /// repositories, and some answer 400 instead of 403.
    fn depends_on_login(&self, request: &Request, refusal: &ErrorResponse) -> bool {
        let says = |code: &str| refusal.words.contains(code);
        let is_anonymous = self.0.auth.is_anonymous(&request.scope);
        match refusal.status {
            // A registry sends these codes only to a login that can see the repository.
            StatusCode::NOT_FOUND if request.scope.starts_with("repository:") => {
                is_anonymous || !["MANIFEST_UNKNOWN", "BLOB_UNKNOWN"].into_iter().any(says)
            }
            StatusCode::BAD_REQUEST => says("DENIED") || says("UNAUTHORIZED"),
            _ => false,
        }
    }

    /// Checks that the response to `GET /v2/` is from a registry, not a web page.
    pub(super) async fn check_is_registry(&self, response: Response) -> Result<(), Error> {
        if response.headers().contains_key(VERSION) {
            return Ok(());
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let path = response.url().path().to_owned();
        let body = read_prefix(response, self.0.retry.idle_timeout).await;
        let text = String::from_utf8_lossy(&body);
        let text = text.trim();
        // Registries without the header answer with `{}` or an empty body, and Quay with `true`.
        // Other web services may answer with other objects.
        let is_known = matches!(text, "" | "{}" | "true") || text.split_whitespace().eq(["{", "}"]);
        if is_known && !kind.contains("html") || text.is_empty() {
            return Ok(());
        }
        let kind = if kind.is_empty() { "a text".to_owned() } else { format!("`{kind}`") };
        let reason = format!("GET {path} returned {kind}: {}", error_body::summarize(&body));
        Err(Error::NotARegistry { host: self.0.host.clone(), reason })
    }

    pub(in crate::client) fn unreachable(
        &self,
        request: &Request,
        at: &Url,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let asked = format!("{} {}", request.method, at.path());
        unreachable(&self.describe_host(at), &asked, error)
    }

    pub(super) fn is_registry_origin(&self, url: &Url) -> bool {
        self.origin_of(url) == Origin::Registry
    }

    pub(super) fn origin_of(&self, url: &Url) -> Origin {
        Origin::of(url, &self.0.base)
    }

    /// Names the host for messages: the registry, or the host that it redirected to.
    pub(super) fn describe_host(&self, url: &Url) -> String {
        if self.is_registry_origin(url) {
            return self.0.host.clone();
        }
        format!("{} (redirected from {})", describe_url(url), self.0.host)
    }
}

/// Describes the target of a redirect that is not followed. Omits the query, which may contain a
/// signature.
fn describe_redirect(refusal: &ErrorResponse) -> String {
    let location = refusal.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    match location.and_then(|location| refusal.url.join(location).ok()) {
        Some(url) => {
            format!("it redirects to {}://{}{}", url.scheme(), describe_url(&url), url.path())
        }
        None => "it redirects without a location".to_owned(),
    }
}
