//! Requests to one registry: addresses, authorization, redirects, retries, errors.

mod blame;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::ClientOptions;
use super::auth::Auth;
use super::challenge::{self, Challenge};
use super::connect::{Connections, Door, install_crypto};
use super::credentials::Secret;
use super::pace::{Pace, retry_after};
use super::tokens::Scope;
use crate::reference::split_port;
use crate::{Digest, Error, Parts, Repository, RetryPolicy};
use blame::error_message;
pub(super) use blame::{host_of, unreachable};

/// Redirects that are followed for one blob.
const MAX_REDIRECTS: usize = 5;

/// Challenges that are answered for one request. One token may have been withdrawn just before, or
/// not be known everywhere yet; a second fresh one that is refused will stay so.
const MAX_ANSWERS: usize = 2;

#[derive(Debug, Clone)]
pub(super) struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: String,
    base: Url,
    connections: Connections,
    auth: Auth,
    pace: Pace,
    retry: RetryPolicy,
    parts: Parts,
    /// Held by the first request, where there are credentials: others wait for what it learns.
    first: tokio::sync::Mutex<()>,
    /// The first request has been answered, or has failed.
    introduced: AtomicBool,
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
    /// How long the answer may take, where that is longer than registries are silent.
    pub(super) patience: Option<Duration>,
}

impl Transport {
    pub(super) fn new(host: &str, options: ClientOptions) -> Result<Self, Error> {
        install_crypto();
        let (name, _) = split_port(host);
        let local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        let scheme = if local || options.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/", server_of(host)))
            .ok()
            .filter(|url| url.path() == "/v2/" && url.username().is_empty())
            .ok_or_else(|| Error::invalid("registry", host, "expected `HOST[:PORT]`"))?;
        let connections = Connections::new(host, (local, scheme == "http"), &options)?;
        let retry = options.retry.bounded();
        Ok(Self(Arc::new(Inner {
            host: host.to_owned(),
            base,
            connections,
            auth: Auth::new(options.credentials, options.projects, retry.silence),
            pace: Pace::new(options.requests, retry.longest_pause),
            retry,
            parts: options.parts,
            first: tokio::sync::Mutex::default(),
            introduced: AtomicBool::new(false),
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
        let _introduction = self.introduction().await;
        let mut header = self.0.auth.known(self.door(), &request.scope).await?;
        for _ in 0..MAX_ANSWERS {
            let response = self.follow(request, header.as_ref()).await?;
            let answer = if self.is_challenged(&response) {
                self.answer(request, &response, header.as_ref()).await?
            } else if response.status() == StatusCode::FORBIDDEN && self.is_own(response.url()) {
                // Some registries say so instead where a token is not for the repository.
                self.0.auth.alone(self.door(), &request.scope, header.as_ref()).await?
            } else {
                None
            };
            let Some(answer) = answer else {
                return self.expect(request, response, expected).await;
            };
            header = Some(answer);
            // The connection can be used again only when the refusal has been read.
            drop(error_message(response, self.0.retry.silence).await);
        }
        let response = self.follow(request, header.as_ref()).await?;
        self.expect(request, response, expected).await
    }

    /// Where the registry will ask who we are, the first request goes alone: its refusal spares all
    /// others theirs.
    async fn introduction(&self) -> Option<Introduction<'_>> {
        let known = || self.0.introduced.load(Ordering::Acquire);
        if known() || !self.0.auth.has_credentials() {
            return None;
        }
        let alone = self.0.first.lock().await;
        (!known()).then(|| Introduction { introduced: &self.0.introduced, _alone: alone })
    }

    /// Says what will be read.
    pub(super) fn expect_pulls<'r>(&self, repositories: impl Iterator<Item = &'r Repository>) {
        let scopes = repositories.map(|repository| format!("repository:{repository}:pull"));
        self.0.auth.expect(scopes.collect());
    }

    fn door(&self) -> Door<'_> {
        Door { connections: &self.0.connections, registry: &self.0.base }
    }

    /// Whether the registry itself asks who we are. Another host, to which it sent us, is never told.
    fn is_challenged(&self, response: &Response) -> bool {
        self.is_own(response.url()) && response.status() == StatusCode::UNAUTHORIZED
    }

    async fn answer(
        &self,
        request: &Request,
        response: &Response,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter_map(|value| value.to_str().ok());
        let challenges = challenges.flat_map(challenge::parse);
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
            let http = self.0.connections.to(self.is_own(&url), request.bulk);
            let mut builder =
                http.request(request.method.clone(), url.clone()).headers(request.headers.clone());
            if let Some(value) = self.authorization(&url, authorization) {
                builder = builder.header("authorization", value);
            }
            if !request.body.is_empty() || request.method == Method::POST {
                builder = builder.body(request.body.clone());
            }
            let turn = self.0.pace.turn().await;
            let patience = request.patience.unwrap_or(self.0.retry.silence);
            let response = match tokio::time::timeout(patience, builder.send()).await {
                Ok(response) => response.map_err(|error| self.unreachable(request, &url, error))?,
                Err(elapsed) => return Err(self.unreachable(request, &url, elapsed)),
            };
            // Whoever is woken by the free place is to know as much.
            self.0.pace.learn(&response);
            drop(turn);
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
        let value = value.filter(|_| self.is_own(url))?;
        let mut header = HeaderValue::from_str(value.reveal()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Where an answer points to. TLS is never left.
    pub(super) fn location(&self, from: &Url, response: &Response) -> Result<Url, Error> {
        let bad = |reason: String| {
            let what = format!("the answer of {} to {}", self.place(from), from.path());
            Err(Error::BadContent { what, reason })
        };
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(text) = text else { return bad("it points somewhere, and not where".to_owned()) };
        let Ok(url) = from.join(text) else { return bad("it points to no address".to_owned()) };
        if url.scheme() == "https" || url.scheme() == self.0.base.scheme() {
            return Ok(url);
        }
        // The rest of the address may be signed.
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        bad(format!("it points to {scheme}://{host}, and TLS is not left"))
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
        let way = self.0.connections.to(self.is_own(&request.url), true);
        let mut builder = way
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(body);
        if let Some(value) = self.authorization(&request.url, known.as_ref()) {
            builder = builder.header("authorization", value);
        }
        let response = builder.send().await;
        let response = response.map_err(|error| self.unreachable(request, &request.url, error))?;
        self.0.pace.learn(&response);
        let challenged = self.is_challenged(&response);
        if challenged && self.answer(request, &response, known.as_ref()).await?.is_some() {
            let (status, wait) = (response.status(), retry_after(response.headers()));
            let said = "the token has expired".to_owned();
            return Err(self.refused(request, &request.url, (status, wait), said));
        }
        self.expect(request, response, expected).await
    }
}

/// The server of a host: Docker Hub's has another name than its images.
fn server_of(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        own => own,
    }
}

/// The first request of all, on its way.
struct Introduction<'t> {
    introduced: &'t AtomicBool,
    _alone: tokio::sync::MutexGuard<'t, ()>,
}

impl Drop for Introduction<'_> {
    /// Also where it failed: who waited for a dead registry need not do so one after the other.
    fn drop(&mut self) {
        self.introduced.store(true, Ordering::Release);
    }
}

impl Request {
    fn new(method: Method, url: Url, scope: Scope) -> Self {
        let (headers, body) = (HeaderMap::new(), bytes::Bytes::new());
        Self { method, url, scope, headers, body, bulk: false, patience: None }
    }
}
