//! Requests to one registry: addresses, authorization, redirects, retries, errors.

use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::ClientOptions;
use super::auth::{Auth, Scope};
use super::challenge::{self, Challenge};
use super::credentials::Secret;
use crate::retry::{SILENCE, retrying};
use crate::{Error, Repository};

/// Redirects that are followed for one blob.
const MAX_REDIRECTS: usize = 5;

/// Bytes of an error answer that are looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(super) struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: String,
    base: Url,
    http: reqwest::Client,
    auth: Auth,
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
}

impl Transport {
    pub(super) fn new(host: &str, options: ClientOptions) -> Result<Self, Error> {
        install_crypto();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let local = matches!(name, "localhost" | "127.0.0.1");
        let scheme = if local || options.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/"))
            .ok()
            .filter(|url| url.path() == "/v2/" && url.username().is_empty())
            .ok_or_else(|| Error::invalid("registry", host, "expected `HOST[:PORT]`"))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("compass/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true);
        if local {
            // No proxy elsewhere can reach this machine by that name.
            builder = builder.no_proxy();
        }
        if let Some(pem) = &options.ca {
            let bad = |_| Error::invalid("CA file", host, "expected certificates in PEM form");
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(bad)?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| unreachable(host, "anything", error))?;
        let auth = Auth::new(options.credentials);
        Ok(Self(Arc::new(Inner { host: host.to_owned(), base, http, auth })))
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    /// A request to `/v2/<repository>/<rest>`. `actions` are those of the token scope.
    pub(super) fn request(
        &self,
        method: Method,
        repository: &Repository,
        rest: &str,
        actions: &str,
    ) -> Request {
        // Repositories, tags and digests have no character that an URL would escape.
        let mut url = self.0.base.clone();
        url.set_path(&format!("/v2/{repository}/{rest}"));
        let scope = format!("repository:{repository}:{actions}");
        Request { method, url, scope, headers: HeaderMap::new(), body: bytes::Bytes::new() }
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let request = Request {
            method: Method::GET,
            url: self.0.base.clone(),
            scope: String::new(),
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
        };
        let response = self.send(&request, &[StatusCode::OK]).await?;
        drop(response);
        Ok(())
    }

    /// Sends a request, again where that may help, and expects one of some statuses.
    pub(super) async fn send(
        &self,
        request: &Request,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        retrying(|| self.send_once(request, expected)).await
    }

    /// Sends a request once, follows redirects of what is read, and answers a challenge.
    pub(super) async fn send_once(
        &self,
        request: &Request,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        let sent = self.0.auth.known(&request.scope).await;
        let response = self.follow(request, sent.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.expect(request, response, expected).await;
        }
        let Some(answer) = self.answer(request, &response, sent.as_ref()).await? else {
            return self.expect(request, response, expected).await;
        };
        let response = self.follow(request, Some(&answer)).await?;
        self.expect(request, response, expected).await
    }

    async fn answer(
        &self,
        request: &Request,
        response: &Response,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter_map(|value| challenge::parse(value.to_str().ok()?));
        // A token is worth less to a thief than a password.
        let best = challenges.max_by_key(|one| matches!(one, Challenge::Bearer { .. }));
        match best {
            Some(challenge) => {
                let Inner { auth, http, base, .. } = &*self.0;
                auth.answer(http, base, &challenge, &request.scope, refused).await
            }
            None => Ok(None),
        }
    }

    async fn follow(
        &self,
        request: &Request,
        authorization: Option<&Secret>,
    ) -> Result<Response, Error> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut builder = self
                .0
                .http
                .request(request.method.clone(), url.clone())
                .headers(request.headers.clone());
            if let Some(value) = self.authorization(&url, authorization) {
                builder = builder.header("authorization", value);
            }
            if !request.body.is_empty() || request.method == Method::POST {
                builder = builder.body(request.body.clone());
            }
            let response = match tokio::time::timeout(SILENCE, builder.send()).await {
                Ok(response) => response.map_err(|error| self.unreachable(request, error))?,
                Err(elapsed) => return Err(self.unreachable(request, elapsed)),
            };
            let read = matches!(request.method, Method::GET | Method::HEAD);
            if !(read && response.status().is_redirection()) {
                return Ok(response);
            }
            url = self.location(&url, &response)?;
        }
        Err(self.refused(request, StatusCode::LOOP_DETECTED, "too many redirects".to_owned()))
    }

    /// The header, for the registry's own origin and nobody else.
    fn authorization(&self, url: &Url, value: Option<&Secret>) -> Option<HeaderValue> {
        let own = url.origin() == self.0.base.origin();
        let mut header = HeaderValue::from_str(value.filter(|_| own)?.reveal()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Where an answer points to. TLS is never left.
    pub(super) fn location(&self, from: &Url, response: &Response) -> Result<Url, Error> {
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let url = text.and_then(|text| from.join(text).ok());
        url.filter(|url| url.scheme() == "https" || url.scheme() == self.0.base.scheme())
            .ok_or_else(|| Error::BadContent {
                what: format!("the answer of {}", self.0.host),
                reason: "it points to no usable address".to_owned(),
            })
    }

    /// Sends a body that can be sent only once to an upload address.
    pub(super) async fn put_stream(
        &self,
        request: &Request,
        body: Body,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        let known = self.0.auth.known(&request.scope).await;
        let mut builder =
            self.0.http.put(request.url.clone()).headers(request.headers.clone()).body(body);
        if let Some(value) = self.authorization(&request.url, known.as_ref()) {
            builder = builder.header("authorization", value);
        }
        let response = builder.send().await.map_err(|error| self.unreachable(request, error))?;
        self.expect(request, response, expected).await
    }

    async fn expect(
        &self,
        request: &Request,
        response: Response,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        let status = response.status();
        if expected.contains(&status) {
            return Ok(response);
        }
        let what = || format!("{}{}", self.0.host, request.url.path());
        match status {
            StatusCode::NOT_FOUND => Err(Error::NotFound { what: what() }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Unauthorized {
                host: self.0.host.clone(),
                reason: format!("{} {}", request.method, request.url.path()),
            }),
            _ => {
                let message = error_message(response).await;
                Err(self.refused(request, status, message))
            }
        }
    }

    fn refused(&self, request: &Request, status: StatusCode, message: String) -> Error {
        Error::Refused {
            host: self.0.host.clone(),
            request: format!("{} {}", request.method, request.url.path()),
            status: status.as_u16(),
            message,
        }
    }

    pub(super) fn unreachable(
        &self,
        request: &Request,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let asked = format!("{} {}", request.method, request.url.path());
        unreachable(&self.0.host, &asked, error)
    }
}

/// The connection to a host failed. The error is stripped of its address, which may be signed.
pub(super) fn unreachable(
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
async fn error_message(mut response: Response) -> String {
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
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE, response.chunk()).await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ERROR_BYTES {
            return String::new();
        }
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&body) else { return String::new() };
    let errors = answer.errors.iter().map(|error| format!("{} {}", error.code, error.message));
    let line: String = errors.collect::<Vec<_>>().join("; ");
    line.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
}

/// Lets rustls use ring, unless the program has chosen already.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that a provider is installed, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
