//! Requests to token services (distribution token specification).

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode, Url};

use super::super::credentials::{Credentials, Login};
use super::super::error::{MAX_REDIRECTS, describe_url, unreachable};
use super::super::http_clients::AuthRequest;
use super::super::token_cache::Header;
use super::super::{error_body, token_response};
use super::{Auth, basic_header, describe};
use crate::http::retry_after;
use crate::{Error, Secret};

/// The maximum number of bytes read from a response.
const MAX_TOKEN_BYTES: usize = 1 << 20;

const NO_HTTPS: &str = "the registry's challenge must name an https URL";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The access that a token is requested for.
pub(super) struct TokenScope<'t> {
    /// The URL of the token service, as the registry named it.
    pub(super) realm: &'t str,
    pub(super) service: Option<&'t str>,
    pub(super) scopes: &'t [String],
    pub(super) login: Option<&'t Login>,
}

/// A request for a token.
struct TokenRequest {
    url: Url,
    /// The form of an OAuth 2 request; `None` if all parameters are in the URL.
    form: Option<String>,
    authorization: Option<Secret>,
}

/// The response of a token service.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Auth {
    pub(super) async fn request_token(
        &self,
        context: AuthRequest<'_>,
        wanted: &TokenScope<'_>,
    ) -> Result<Header, Error> {
        let mut request = TokenRequest::new(realm_url(context.registry, wanted.realm)?, wanted);
        for _ in 0..=MAX_REDIRECTS {
            let host = describe_url(&request.url);
            let answer = context.connect_retry.run(&host, || self.send(context, &request)).await?;
            let (status, scopes) = (answer.status.as_u16(), wanted.scopes.join(" "));
            tracing::debug!(host, scopes, status, "token service");
            match request.redirected(&answer, context.registry) {
                Some(next) => request = next,
                None => return self.read(&request, &answer, &describe(wanted.login)),
            }
        }
        Err(invalid_realm(wanted.realm, "too many redirects"))
    }

    async fn send(
        &self,
        context: AuthRequest<'_>,
        request: &TokenRequest,
    ) -> Result<Answer, Error> {
        let http = context.client_for(&request.url);
        let mut builder = match &request.form {
            Some(form) => http
                .post(request.url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone()),
            None => http.get(request.url.clone()),
        };
        if let Some(value) = &request.authorization {
            builder = builder.header(AUTHORIZATION, value.reveal());
        }
        let answer = tokio::time::timeout(self.idle_timeout, async {
            let mut response = builder.header(ACCEPT_ENCODING, "identity").send().await?;
            let body = read_body(&mut response).await?;
            Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
        });
        let failed = |error: Source| unreachable(&request.host(), request.url.path(), error);
        match answer.await {
            Ok(answer) => answer.map_err(|error: reqwest::Error| failed(error.into())),
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }

    /// Extracts the token from a response, or the reason why there is none.
    fn read(&self, request: &TokenRequest, answer: &Answer, who: &str) -> Result<Header, Error> {
        let said = || self.redact(error_body::summarize(&answer.body));
        match answer.status.as_u16() {
            200..=299 => {
                token_response::parse(&answer.body).ok_or_else(|| Error::InvalidResponse {
                    what: format!("the response of {}", request.host()),
                    // The body may contain a token in an unknown form, so the message does not
                    // quote it.
                    reason: format!("it contains no token ({})", answer.describe(who)),
                })
            }
            status @ (408 | 429 | 500..=599) => Err(Error::Status {
                host: request.host(),
                request: request.url.path().to_owned(),
                status,
                message: said(),
                retry_after: retry_after(&answer.headers),
            }),
            status => Err(Error::Unauthorized {
                host: request.host(),
                reason: format!(
                    "it answered {status} to {}, asked {who}{}",
                    request.url.path(),
                    error_body::suffix(&said())
                ),
            }),
        }
    }
}

impl TokenRequest {
    fn new(mut url: Url, wanted: &TokenScope<'_>) -> Self {
        let credentials = wanted.login.map(|login| &login.credentials);
        if let Some(Credentials::IdentityToken(token)) = credentials {
            let mut form = url.clone();
            form.set_query(None);
            form.query_pairs_mut().extend_pairs([
                ("grant_type", "refresh_token"),
                ("refresh_token", token.reveal()),
                ("client_id", "compass"),
                ("service", wanted.service.unwrap_or_default()),
                ("scope", &wanted.scopes.join(" ")),
            ]);
            let form = form.query().map(str::to_owned);
            return Self { url, form, authorization: None };
        }
        url.query_pairs_mut()
            .extend_pairs(wanted.service.map(|service| ("service", service)))
            .extend_pairs(wanted.scopes.iter().map(|scope| ("scope", scope)));
        Self { url, form: None, authorization: credentials.and_then(basic_header) }
    }

    /// Names the host, for messages.
    fn host(&self) -> String {
        format!("the token service {}", describe_url(&self.url))
    }

    /// Returns the next request of a redirect. As in Go's HTTP client, credentials are sent within
    /// the same origin only.
    fn redirected(&self, answer: &Answer, registry: &Url) -> Option<Self> {
        let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection())?;
        let url = self.url.join(location.to_str().ok()?).ok()?;
        let url = realm_url(registry, url.as_str()).ok().filter(|_| self.form.is_none())?;
        let is_registry_origin = url.origin() == self.url.origin();
        let authorization = self.authorization.clone().filter(|_| is_registry_origin);
        Some(Self { url, form: None, authorization })
    }
}

impl Answer {
    fn describe(&self, who: &str) -> String {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind {
            Some(kind) => format!("`{kind}`, asked {who}"),
            None => format!("asked {who}"),
        }
    }
}

async fn read_body(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < MAX_TOKEN_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Resolves the URL of a token service. A registry with TLS must not name a token service without
/// TLS.
fn realm_url(registry: &Url, realm: &str) -> Result<Url, Error> {
    let url = registry.join(realm).map_err(|_| invalid_realm(realm, NO_HTTPS))?;
    match (registry.scheme(), url.scheme()) {
        ("http", "http") | (_, "https") => Ok(url),
        _ => Err(invalid_realm(realm, NO_HTTPS)),
    }
}

fn invalid_realm(realm: &str, reason: &str) -> Error {
    Error::invalid("token service", realm, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_url_rejects_downgrade_to_http() {
        let registry = |text: &str| Url::parse(text).unwrap();
        let (secure, plain) = (registry("https://reg.a/v2/"), registry("http://reg.a/v2/"));
        assert!(realm_url(&secure, "http://auth.a/token").is_err());
        assert!(realm_url(&secure, "https://auth.a/token").is_ok());
        assert!(realm_url(&plain, "http://auth.a/token").is_ok());
        assert!(realm_url(&plain, "file:///etc/passwd").is_err());
        // A realm may be a path, and may have a query (regclient, `TestAuth`).
        let relative = realm_url(&secure, "/token2?a=b").unwrap();
        assert_eq!(relative.as_str(), "https://reg.a/token2?a=b");
    }
}
