//! Requests to one registry: addresses, authorization, redirects, retries, errors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::ClientOptions;
use super::auth::{Auth, Door, Scope};
use super::challenge::{self, Challenge};
use super::connect::{builder, install_crypto};
use super::credentials::Secret;
use super::pace::{Pace, retry_after};
use crate::{Digest, Error, Parts, Repository, RetryPolicy};

/// Redirects that are followed for one blob.
const MAX_REDIRECTS: usize = 5;

/// Challenges that are answered for one request. One token may have been withdrawn just before, or
/// not be known everywhere yet; a second fresh one that is refused will stay so.
const MAX_ANSWERS: usize = 2;

/// Bytes of an error answer that are looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(super) struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: String,
    base: Url,
    /// For what is short. Over TLS, many requests share one connection.
    http: reqwest::Client,
    /// For blobs: each has a connection of its own, so that no window of another is in its way.
    bulk: reqwest::Client,
    auth: Auth,
    pace: Pace,
    retry: RetryPolicy,
    parts: Parts,
    /// The registry was asked for a part of a blob, and sent all of it.
    ranges_ignored: AtomicBool,
    /// Uploads that were opened where a mount was declined.
    declined: Mutex<HashMap<(Repository, Digest), Url>>,
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
    /// Whether the answer is a blob.
    pub(super) bulk: bool,
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
        let builder = || builder(host, local, &options);
        let failed = |error| unreachable(host, "anything", error);
        let http = builder()?.build().map_err(failed)?;
        // Without TLS, all of it is HTTP/1.1.
        let bulk = match scheme {
            "http" => http.clone(),
            _ => builder()?.http1_only().build().map_err(failed)?,
        };
        let retry = options.retry;
        Ok(Self(Arc::new(Inner {
            host: host.to_owned(),
            base,
            http,
            bulk,
            auth: Auth::new(options.credentials, retry.silence),
            pace: Pace::new(options.requests, retry.longest_pause),
            retry,
            parts: options.parts,
            ranges_ignored: AtomicBool::new(false),
            declined: Mutex::default(),
        })))
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    /// Whether there is no TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.0.base.scheme() == "http"
    }

    /// How we are let in, in words.
    pub(super) fn login(&self) -> String {
        self.0.auth.describe()
    }

    pub(super) fn retry(&self) -> RetryPolicy {
        self.0.retry
    }

    /// How blobs are read in parts, unless the registry does not know how.
    pub(super) fn parts(&self) -> Option<&Parts> {
        (!self.0.ranges_ignored.load(Ordering::Relaxed)).then_some(&self.0.parts)
    }

    pub(super) fn ranges_are_ignored(&self) {
        self.0.ranges_ignored.store(true, Ordering::Relaxed);
    }

    /// Keeps the upload that was opened where a mount was declined.
    pub(super) fn keep_declined(&self, repository: &Repository, digest: Digest, upload: Url) {
        self.declined().insert((repository.clone(), digest), upload);
    }

    pub(super) fn take_declined(&self, repository: &Repository, digest: Digest) -> Option<Url> {
        self.declined().remove(&(repository.clone(), digest))
    }

    fn declined(&self) -> std::sync::MutexGuard<'_, HashMap<(Repository, Digest), Url>> {
        self.0.declined.lock().unwrap_or_else(PoisonError::into_inner)
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
        Request::new(method, url, format!("repository:{repository}:{actions}"))
    }

    /// A request to `/v2/<rest>`.
    pub(super) fn root_request(&self, rest: &str, scope: &str) -> Request {
        let mut url = self.0.base.clone();
        url.set_path(&format!("/v2/{rest}"));
        Request::new(Method::GET, url, scope.to_owned())
    }

    /// Asks for the API's root, and gives the answer.
    pub(super) async fn ping(&self) -> Result<Response, Error> {
        self.send(&self.root_request("", ""), &[StatusCode::OK]).await
    }

    /// Sends a request, again where that may help, and expects one of some statuses.
    pub(super) async fn send(
        &self,
        request: &Request,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        self.0.retry.run(|| self.send_once(request, expected)).await
    }

    /// Sends a request once, follows redirects of what is read, and answers a challenge.
    pub(super) async fn send_once(
        &self,
        request: &Request,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        let mut header = self.0.auth.known(self.door(), &request.scope).await?;
        for _ in 0..MAX_ANSWERS {
            let response = self.follow(request, header.as_ref()).await?;
            if !self.is_challenged(&response) {
                return self.expect(request, response, expected).await;
            }
            let Some(answer) = self.answer(request, &response, header.as_ref()).await? else {
                return self.expect(request, response, expected).await;
            };
            header = Some(answer);
            // The connection can be used again only when the refusal has been read.
            drop(error_message(response, self.0.retry.silence).await);
        }
        let response = self.follow(request, header.as_ref()).await?;
        self.expect(request, response, expected).await
    }

    fn door(&self) -> Door<'_> {
        Door { http: &self.0.http, registry: &self.0.base }
    }

    /// Whether the registry itself asks who we are. Another host, to which it sent us, is never told.
    fn is_challenged(&self, response: &Response) -> bool {
        let own = response.url().origin() == self.0.base.origin();
        own && response.status() == StatusCode::UNAUTHORIZED
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
                self.0.auth.answer(self.door(), &challenge, &request.scope, refused).await
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
            let http = if request.bulk { &self.0.bulk } else { &self.0.http };
            let mut builder =
                http.request(request.method.clone(), url.clone()).headers(request.headers.clone());
            if let Some(value) = self.authorization(&url, authorization) {
                builder = builder.header("authorization", value);
            }
            if !request.body.is_empty() || request.method == Method::POST {
                builder = builder.body(request.body.clone());
            }
            let turn = self.0.pace.turn().await;
            let response = match tokio::time::timeout(self.0.retry.silence, builder.send()).await {
                Ok(response) => response.map_err(|error| self.unreachable(request, error))?,
                Err(elapsed) => return Err(self.unreachable(request, elapsed)),
            };
            drop(turn);
            self.0.pace.learn(&response);
            let read = matches!(request.method, Method::GET | Method::HEAD);
            if !(read && response.status().is_redirection()) {
                return Ok(response);
            }
            url = self.location(&url, &response)?;
        }
        Err(Error::BadContent {
            what: format!("the answer to {} {}", request.method, request.url.path()),
            reason: format!("{} redirects in a row", MAX_REDIRECTS + 1),
        })
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

    /// Sends a body that can be sent only once to an upload address. A refusal that a fresh token
    /// may lift is [`Error::Refused`] with status 401, when the token is there.
    pub(super) async fn send_stream(
        &self,
        request: &Request,
        body: Body,
        expected: &[StatusCode],
    ) -> Result<Response, Error> {
        let known = self.0.auth.known(self.door(), &request.scope).await?;
        self.0.pace.pause().await;
        let mut builder = self
            .0
            .bulk
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(body);
        if let Some(value) = self.authorization(&request.url, known.as_ref()) {
            builder = builder.header("authorization", value);
        }
        let response = builder.send().await.map_err(|error| self.unreachable(request, error))?;
        self.0.pace.learn(&response);
        let challenged = self.is_challenged(&response);
        if challenged && self.answer(request, &response, known.as_ref()).await?.is_some() {
            let (status, wait) = (response.status(), retry_after(response.headers()));
            return Err(self.refused(request, status, wait, "the token has expired".to_owned()));
        }
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
                let wait = retry_after(response.headers());
                let said = error_message(response, self.0.retry.silence).await;
                Err(self.refused(request, status, wait, said))
            }
        }
    }

    fn refused(
        &self,
        request: &Request,
        status: StatusCode,
        retry_after: Option<Duration>,
        message: String,
    ) -> Error {
        Error::Refused {
            host: self.0.host.clone(),
            request: format!("{} {}", request.method, request.url.path()),
            status: status.as_u16(),
            message,
            retry_after,
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

impl Request {
    fn new(method: Method, url: Url, scope: Scope) -> Self {
        let (headers, body) = (HeaderMap::new(), bytes::Bytes::new());
        Self { method, url, scope, headers, body, bulk: false }
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
async fn error_message(mut response: Response, silence: Duration) -> String {
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
