//! Sends requests to one registry: addresses, authentication, redirects, retries.

mod login;
mod redirect;
mod status_error;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Response, StatusCode, Url, Version};

use super::ClientOptions;
use super::auth::Auth;
use super::error::ErrorResponse;
use super::http_clients::{AuthRequest, HttpClients, Traffic};
use super::pending_uploads::PendingUploads;
use super::rate_limit::RateLimiter;
use super::token_cache::Scope;
use crate::connect_retry::ConnectRetry;
use crate::http::Proxy;
use crate::reference::split_port;
use crate::{Error, RangeOptions, Repository, RetryPolicy};
use redirect::is_repeatable_redirect;
pub(super) use redirect::too_many_redirects;

/// The maximum number of challenges answered for one request. A token may have just been revoked,
/// or may not be known to all nodes of the registry yet. If a second new token is refused, more of
/// them would be refused, too.
const MAX_CHALLENGES: usize = 2;

/// Accepts the expected statuses of a request.
pub(super) type Expected = fn(StatusCode) -> bool;

pub(super) fn is_ok(status: StatusCode) -> bool {
    status == StatusCode::OK
}

pub(super) fn is_success(status: StatusCode) -> bool {
    status.is_success()
}

#[derive(Debug, Clone)]
pub(super) struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: String,
    base: Url,
    clients: HttpClients,
    auth: Auth,
    rate_limiter: RateLimiter,
    connect_retry: ConnectRetry,
    retry: RetryPolicy,
    parts: RangeOptions,
    /// Held by the first request if there are credentials, so that others reuse its challenge.
    first: tokio::sync::Mutex<()>,
    /// Whether the first request has ended, successfully or not.
    first_request_done: AtomicBool,
    /// Set once `/v2/` was requested for a challenge, for registries that hide private
    /// repositories.
    asked_root: tokio::sync::OnceCell<()>,
    /// Whether the registry answered a range request with the whole blob.
    ranges_ignored: AtomicBool,
    /// Whether any `HEAD` request has found a manifest. Some registries answer all of them with
    /// 404.
    head_supported: AtomicBool,
    pending_uploads: PendingUploads,
}

/// The response to `GET /v2/`.
pub(super) struct RootResponse {
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
    /// Whether the response is a blob.
    pub(super) is_blob: bool,
    /// The time limit of the response, if not the idle timeout.
    pub(super) timeout: Option<Duration>,
    /// Whether the request may fail. It is not retried if the host refuses connections.
    pub(super) is_best_effort: bool,
}

impl Transport {
    pub(super) fn new(host: &str, options: ClientOptions) -> Result<Self, Error> {
        let (name, _) = split_port(host);
        let local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        let scheme = if local || options.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/", server_of(host)))
            .ok()
            .filter(|url| url.path() == "/v2/" && url.username().is_empty())
            .ok_or_else(|| Error::invalid("registry", host, "expected `HOST[:PORT]`"))?;
        let retry = options.retry.clamped();
        let mut http = options.http.clone();
        http.connect_timeout = http.connect_timeout.min(retry.idle_timeout);
        if local && http.proxy == Proxy::Environment {
            // A remote proxy cannot reach this machine by a loopback name.
            http.proxy = Proxy::None;
        }
        let clients = HttpClients::new(&http, &base, retry.idle_timeout)?;
        Ok(Self(Arc::new(Inner {
            host: host.to_owned(),
            base,
            clients,
            auth: Auth::new(host, options.credentials, retry.idle_timeout),
            rate_limiter: RateLimiter::new(
                options.max_in_flight,
                retry.max_retry_after,
                retry.speed_window,
            ),
            connect_retry: ConnectRetry::new(retry.connect_retry),
            retry,
            parts: options.range_options,
            first: tokio::sync::Mutex::default(),
            first_request_done: AtomicBool::new(false),
            asked_root: tokio::sync::OnceCell::new(),
            ranges_ignored: AtomicBool::new(false),
            head_supported: AtomicBool::new(false),
            pending_uploads: PendingUploads::default(),
        })))
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    /// Whether the registry is used without TLS.
    pub(super) fn uses_plain_http(&self) -> bool {
        self.0.base.scheme() == "http"
    }

    /// Describes the login for requests to a repository or project, or to the registry itself.
    pub(super) async fn describe_login(
        &self,
        repository: Option<&Repository>,
    ) -> Result<String, Error> {
        let scope = repository.map(|repository| format!("repository:{repository}:pull"));
        self.0.auth.describe_login(&scope.unwrap_or_default()).await
    }

    /// Uses the login of a project for requests that name no repository.
    pub(super) fn set_default_project(&self, project: &Repository) {
        self.0.auth.set_default_project(project);
    }

    pub(super) fn retry(&self) -> RetryPolicy {
        self.0.retry
    }

    /// Returns how blobs are read in ranges, or `None` if the registry ignores ranges.
    pub(super) fn range_options(&self) -> Option<&RangeOptions> {
        (!self.0.ranges_ignored.load(Ordering::Relaxed)).then_some(&self.0.parts)
    }

    pub(super) fn disable_ranges(&self) {
        self.0.ranges_ignored.store(true, Ordering::Relaxed);
    }

    /// Records that a `HEAD` request has found a manifest.
    pub(super) fn record_head_support(&self) {
        self.0.head_supported.store(true, Ordering::Relaxed);
    }

    /// Whether 404 to `HEAD` means that the manifest does not exist.
    pub(super) fn trusts_head_not_found(&self) -> bool {
        self.0.head_supported.load(Ordering::Relaxed)
    }

    /// Upload sessions that later uploads use.
    pub(super) fn pending_uploads(&self) -> &PendingUploads {
        &self.0.pending_uploads
    }

    /// Creates a request to `/v2/<repository>/<rest>`. `actions` are those of the token scope.
    pub(super) fn request(
        &self,
        method: Method,
        repository: &Repository,
        rest: &str,
        actions: &str,
    ) -> Request {
        // Repositories, tags and digests contain no character that needs escaping.
        let mut url = self.0.base.clone();
        url.set_path(&format!("/v2/{repository}/{rest}"));
        Request::new(method, url, format!("repository:{repository}:{actions}"))
    }

    /// Creates a request to `/v2/<rest>`.
    pub(super) fn root_request(&self, rest: &str, scope: &str) -> Request {
        let mut url = self.0.base.clone();
        url.set_path(&format!("/v2/{rest}"));
        Request::new(Method::GET, url, scope.to_owned())
    }

    /// Requests `/v2/`, and fails if something other than a registry answers.
    pub(super) async fn ping(&self) -> Result<RootResponse, Error> {
        let response = self.send(&self.root_request("", ""), is_ok).await?;
        let root =
            RootResponse { version: response.version(), headers: response.headers().clone() };
        self.check_is_registry(response).await?;
        Ok(root)
    }

    /// Sends a request with retries, and expects certain statuses.
    pub(super) async fn send(
        &self,
        request: &Request,
        expected: Expected,
    ) -> Result<Response, Error> {
        self.0.retry.run(|| self.send_without_retry(request, expected)).await
    }

    /// Sends a request once, follows redirects, and answers challenges.
    pub(super) async fn send_without_retry(
        &self,
        request: &Request,
        expected: Expected,
    ) -> Result<Response, Error> {
        let _guard = self.first_request_guard(&request.scope).await?;
        let mut header = self.0.auth.cached_header(self.auth_request(request)).await?;
        let mut answered = 0;
        loop {
            let response = self.send_following_redirects(request, header.as_ref()).await?;
            if expected(response.status()) {
                return Ok(response);
            }
            let refusal = ErrorResponse::read(response, self.0.retry.idle_timeout).await;
            let answer = match answered < MAX_CHALLENGES {
                true => self.authorize(request, &refusal, header.as_ref()).await?,
                false => None,
            };
            let Some(answer) = answer else { return Err(self.status_error(request, &refusal)) };
            header = Some(answer);
            answered += 1;
        }
    }

    /// Lets the first request run alone if there are credentials. All other requests then reuse its
    /// challenge instead of being refused first.
    async fn first_request_guard(
        &self,
        scope: &str,
    ) -> Result<Option<FirstRequestGuard<'_>>, Error> {
        let known = || self.0.first_request_done.load(Ordering::Acquire);
        if known() || self.0.auth.login(scope).await?.is_none() {
            return Ok(None);
        }
        let alone = self.0.first.lock().await;
        Ok((!known()).then(|| FirstRequestGuard {
            first_request_done: &self.0.first_request_done,
            _alone: alone,
        }))
    }

    /// Announces which repositories will be read.
    pub(super) async fn prefetch_pull_tokens<'r>(
        &self,
        repositories: impl Iterator<Item = &'r Repository>,
    ) -> Result<(), Error> {
        let scopes = repositories.map(|repository| format!("repository:{repository}:pull"));
        self.0.auth.group_scopes(scopes.collect()).await
    }

    fn auth_request<'t>(&'t self, request: &'t Request) -> AuthRequest<'t> {
        AuthRequest {
            scope: &request.scope,
            clients: &self.0.clients,
            registry: &self.0.base,
            connect_retry: &self.0.connect_retry,
        }
    }

    /// Sends a body to an upload session. The body can be sent only once.
    ///
    /// Returns redirects instead of following them.
    ///
    /// # Errors
    /// [`Error::Status`] with status 401 if the request was refused and a fresh token is available
    /// for another attempt.
    pub(super) async fn send_stream(
        &self,
        request: &Request,
        body: Body,
    ) -> Result<Response, Error> {
        let known = self.0.auth.cached_header(self.auth_request(request)).await?;
        self.0
            .rate_limiter
            .wait_while_paused()
            .await
            .map_err(|slow| self.unreachable(request, &request.url, slow))?;
        let http = self.0.clients.client_for(self.origin_of(&request.url), Traffic::Blob);
        let mut builder = http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(body);
        if let Some(value) = self.authorization(&request.url, known.as_ref()) {
            builder = builder.header("authorization", value);
        }
        let response = builder.send().await;
        let response = response.map_err(|error| self.unreachable(request, &request.url, error))?;
        self.0.rate_limiter.observe(&response);
        self.log(request, &response);
        let status = response.status();
        if status.is_success() || is_repeatable_redirect(status) {
            return Ok(response);
        }
        let refusal = ErrorResponse::read(response, self.0.retry.idle_timeout).await;
        if self.authorize(request, &refusal, known.as_ref()).await?.is_some() {
            let expired = refusal.with_status(StatusCode::UNAUTHORIZED);
            return Err(self.unexpected_status(request, &expired));
        }
        Err(self.status_error(request, &refusal))
    }
}

/// Returns the server to connect to. For Docker Hub, it differs from the host in image names.
fn server_of(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        own => own,
    }
}

/// The guard of the first request. Dropping it lets the other requests proceed.
struct FirstRequestGuard<'t> {
    first_request_done: &'t AtomicBool,
    _alone: tokio::sync::MutexGuard<'t, ()>,
}

impl Drop for FirstRequestGuard<'_> {
    /// Ends the wait after a failure, too. Otherwise, requests to an unreachable registry would run
    /// one after the other.
    fn drop(&mut self) {
        self.first_request_done.store(true, Ordering::Release);
    }
}

impl Request {
    fn new(method: Method, url: Url, scope: Scope) -> Self {
        let (headers, body) = (HeaderMap::new(), bytes::Bytes::new());
        let (is_blob, is_best_effort) = (false, false);
        Self { method, url, scope, headers, body, is_blob, timeout: None, is_best_effort }
    }
}
