//! Redirects, and locations in responses.

use std::time::Instant;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::{Request, Transport};
use crate::client::error::{ErrorResponse, MAX_REDIRECTS, describe_url};
use crate::client::http_clients::Traffic;
use crate::{Error, Secret};

/// Whether a redirect repeats the request with its method and body (RFC 9110, §§ 15.4.8 and
/// 15.4.9).
pub(in crate::client) fn is_repeatable_redirect(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

impl Transport {
    /// Sends a request and follows redirects. Reads follow them to any host, writes only within the
    /// registry's origin.
    pub(super) async fn send_following_redirects(
        &self,
        request: &Request,
        authorization: Option<&Secret>,
    ) -> Result<Response, Error> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let host = describe_url(&url);
            let send = || self.send_to(request, &url, authorization);
            let response = match request.is_best_effort {
                true => send().await?,
                false => self.0.connect_retry.run(&host, send).await?,
            };
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let reads = matches!(request.method, Method::GET | Method::HEAD);
            let next = match reads {
                true => self.resolve_location(&url, &response)?,
                false => match self.replay_location(&url, &response) {
                    Some(next) => next,
                    None => return Ok(response),
                },
            };
            url = next;
        }
        Err(too_many_redirects(request))
    }

    /// Returns the URL at which to repeat a write, or `None` if its origin differs.
    pub(in crate::client) fn replay_location(
        &self,
        from: &Url,
        response: &Response,
    ) -> Option<Url> {
        if !is_repeatable_redirect(response.status()) {
            return None;
        }
        let next = self.resolve_location(from, response).ok()?;
        (next.origin() == from.origin()).then_some(next)
    }

    /// Creates the error for a redirect that is not followed.
    pub(in crate::client) fn redirect_error(
        &self,
        request: &Request,
        response: &Response,
    ) -> Error {
        let refusal = ErrorResponse::without_body(response);
        self.unexpected_status(request, &refusal)
    }

    /// Sends a request to one URL.
    async fn send_to(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&Secret>,
    ) -> Result<Response, Error> {
        let mut headers = request.headers.clone();
        if let Some(value) = self.authorization(url, authorization) {
            headers.insert(AUTHORIZATION, value);
        }
        let turn = self.0.rate_limiter.acquire().await;
        let turn = turn.map_err(|slow| self.unreachable(request, url, slow))?;
        let timeout = request.timeout.unwrap_or(self.0.retry.idle_timeout);
        let sent = Instant::now();
        let response =
            match tokio::time::timeout(timeout, self.dispatch(request, url, headers)).await {
                Ok(response) => response?,
                Err(elapsed) => return Err(self.unreachable(request, url, elapsed)),
            };
        // Update the limiter before releasing the permit, so that the next waiter sees it.
        self.0.rate_limiter.observe(&response);
        drop(turn);
        self.0.parts.observe_response(sent.elapsed());
        self.log(request, &response);
        Ok(response)
    }

    /// Sends a request with the client that fits it.
    async fn dispatch(
        &self,
        request: &Request,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, Error> {
        let Request { method, body, is_blob, .. } = request;
        if *method == Method::GET
            && self.is_registry_origin(url)
            && let Some(plain) = self.0.clients.plain()
        {
            let response = plain.get(url.as_str(), headers).await;
            return response.map_err(|error| self.unreachable(request, url, error));
        }
        let traffic = if *is_blob { Traffic::Blob } else { Traffic::Api };
        let http = self.0.clients.client_for(self.origin_of(url), traffic);
        let mut builder = http.request(method.clone(), url.clone()).headers(headers);
        if !body.is_empty() || *method == Method::POST {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| self.unreachable(request, url, error))
    }

    /// Logs a request and its status.
    ///
    /// The query is omitted, because it may contain a signature, and the path on other hosts too.
    pub(super) fn log(&self, request: &Request, response: &Response) {
        let (method, status, url) = (&request.method, response.status().as_u16(), response.url());
        let path = if self.is_registry_origin(url) { url.path() } else { "…" };
        let host = describe_url(url);
        tracing::debug!(%method, host, path, status, "registry");
    }

    /// Returns the `Authorization` header if the URL belongs to the registry's own origin.
    pub(super) fn authorization(&self, url: &Url, value: Option<&Secret>) -> Option<HeaderValue> {
        let value = value.filter(|_| self.is_registry_origin(url))?;
        let mut header = HeaderValue::from_str(value.reveal()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Resolves the `Location` of a response.
    ///
    /// Downgrades from https are refused. A registry behind a proxy that terminates TLS may use
    /// `http` in its locations, and one that is reached without that proxy may use `https`; both
    /// are corrected.
    pub(in crate::client) fn resolve_location(
        &self,
        from: &Url,
        response: &Response,
    ) -> Result<Url, Error> {
        let bad = |reason: String| {
            let what = format!("the response of {} to {}", self.describe_host(from), from.path());
            Err(Error::InvalidResponse { what, reason })
        };
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(text) = text else { return bad("it has no `Location` header".to_owned()) };
        let Ok(mut url) = from.join(text) else {
            return bad("its `Location` is not a URL".to_owned());
        };
        let base = &self.0.base;
        let is_same_host = url.host_str() == base.host_str();
        let is_base_port = url.port_or_known_default() == base.port_or_known_default();
        if (base.scheme(), url.scheme()) == ("http", "https") && is_same_host && is_base_port {
            // The port serves one scheme only. `set_scheme` cannot fail for `http`.
            let _ = url.set_scheme("http");
            return Ok(url);
        }
        if url.scheme() == "https" || url.scheme() == base.scheme() {
            return Ok(url);
        }
        let is_same_host = url.scheme() == "http" && is_same_host;
        let is_same_port = url.port().is_none() || url.port() == base.port();
        if is_same_host
            && is_same_port
            && url.set_scheme("https").is_ok()
            && url.set_port(base.port()).is_ok()
        {
            return Ok(url);
        }
        // The message omits the path and query, which may contain a signature.
        let (own, scheme, host) = (base.scheme(), url.scheme(), url.host_str().unwrap_or_default());
        bad(format!("refusing to follow a redirect from {own} to {scheme}://{host}"))
    }
}

pub(in crate::client) fn too_many_redirects(request: &Request) -> Error {
    Error::InvalidResponse {
        what: format!("the response to {} {}", request.method, request.url.path()),
        reason: format!("{} redirects in a row", MAX_REDIRECTS + 1),
    }
}
