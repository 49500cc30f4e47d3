//! Sends requests: credentials, pages, entity tags, repetitions and pauses.

mod authorization;
mod failure;
mod pages;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use self::failure::Failure;
use super::super::error::{ForgeError, message_line};
use super::super::{RepoName, Result};
use super::Settings;
use super::app::{App, Kind};
use super::cache::{Cache, Cached};
use super::limits::{Gate, Pacing};

/// The maximum number of requests at once. GitHub allows 100 for all clients of an account.
const MAX_IN_FLIGHT: usize = 16;

/// The maximum number of attempts of a request, apart from the pauses that the forge asks for.
const MAX_ATTEMPTS: u32 = 4;

/// How long an answer may be silent.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// The maximum size of an answer, and of all pages of a list, in bytes.
const MAX_ANSWER: usize = 32 << 20;

const JSON: &str = "application/vnd.github+json";
const RAW: &str = "application/vnd.github.raw+json";

/// A client of the interface.
pub(super) struct Transport {
    /// Follows redirects, as for a repository that was renamed.
    reader: Client,
    /// Follows no redirects, which can drop the body of a request.
    writer: Client,
    api: Url,
    repository: RepoName,
    credentials: Kind,
    pacing: Pacing,
    cache: Cache,
    gate: Gate,
    slots: Semaphore,
    /// The end of the last write. Writes hold the lock, so that they are sent one at a time.
    last_write: Mutex<Option<Instant>>,
}

/// A successful answer.
pub(super) struct Answer {
    body: Bytes,
    tag: Option<String>,
    next: Option<Url>,
}

/// A request.
struct Request<'r> {
    /// What the request does, for messages.
    action: &'r str,
    method: Method,
    url: Url,
    body: &'r Value,
    accept: &'static str,
    /// Whether sending the request twice has the same effect as once.
    is_repeatable: bool,
    /// The app that signs the request; otherwise it carries a token.
    signer: Option<&'r App>,
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self, action: &str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| ForgeError::InvalidAnswer {
            action: action.to_owned(),
            reason: message_line(&error.to_string()),
        })
    }
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Result<Self> {
        let Settings { repository, api, credentials, pacing, http } = settings;
        let invalid = |error: compass_registry::Error| ForgeError::Settings {
            message: format!("cannot create an HTTP client: {error}"),
            hint: "check the proxy settings and the certificates of the system".to_owned(),
        };
        let http = http.read_timeout(Some(READ_TIMEOUT));
        let writer = http.builder().map_err(invalid)?.redirect(reqwest::redirect::Policy::none());
        let writer = writer.build().map_err(|error| ForgeError::Settings {
            message: format!("cannot create an HTTP client: {}", error.without_url()),
            hint: "check the proxy settings".to_owned(),
        })?;
        Ok(Self {
            reader: http.build().map_err(invalid)?,
            writer,
            api,
            repository,
            credentials: credentials.0,
            pacing,
            cache: Cache::default(),
            gate: Gate::default(),
            slots: Semaphore::new(MAX_IN_FLIGHT),
            last_write: Mutex::new(None),
        })
    }

    /// The URL of a resource. Segments and values are encoded.
    pub(super) fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Reads one JSON value.
    pub(super) async fn get_json<T: DeserializeOwned>(&self, action: &str, url: Url) -> Result<T> {
        self.get(action, url, JSON).await?.json(action)
    }

    /// Reads the bytes of a file.
    pub(super) async fn get_raw(&self, action: &str, url: Url) -> Result<Bytes> {
        Ok(self.get(action, url, RAW).await?.body)
    }

    /// Reads a page; also returns the URL of the next one.
    pub(super) async fn get_page<T: DeserializeOwned>(
        &self,
        action: &str,
        url: Url,
    ) -> Result<(T, Option<Url>)> {
        let answer = self.get(action, url, JSON).await?;
        Ok((answer.json(action)?, answer.next))
    }

    /// Reads a page with the token, or signed by the app, whose webhooks its installations cannot read.
    pub(super) async fn get_page_as_owner<T: DeserializeOwned>(
        &self,
        action: &str,
        url: Url,
    ) -> Result<(T, Option<Url>)> {
        let signer = self.app();
        let (method, body) = (Method::GET, &Value::Null);
        let (accept, is_repeatable) = (JSON, true);
        let request = Request { action, method, url, body, accept, is_repeatable, signer };
        let answer = self.send(&request).await?;
        Ok((answer.json(action)?, answer.next))
    }

    async fn get(&self, action: &str, url: Url, accept: &'static str) -> Result<Answer> {
        let method = Method::GET;
        let body = &Value::Null;
        self.send(&Request { action, method, url, body, accept, is_repeatable: true, signer: None })
            .await
    }

    /// Sends a write that has the same effect if it is sent twice.
    pub(super) async fn write(
        &self,
        action: &str,
        method: Method,
        url: Url,
        body: &Value,
    ) -> Result<Answer> {
        let accept = JSON;
        self.write_paced(&Request {
            action,
            method,
            url,
            body,
            accept,
            is_repeatable: true,
            signer: None,
        })
        .await
    }

    /// Sends a write that creates something each time it is sent.
    pub(super) async fn write_once<T: DeserializeOwned>(
        &self,
        action: &str,
        url: Url,
        body: &Value,
    ) -> Result<T> {
        let (method, accept) = (Method::POST, JSON);
        let request =
            Request { action, method, url, body, accept, is_repeatable: false, signer: None };
        self.write_paced(&request).await?.json(action)
    }

    async fn write_paced(&self, request: &Request<'_>) -> Result<Answer> {
        let mut last = self.last_write.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep_until(last + self.pacing.write_interval).await;
        }
        let answer = self.send(request).await;
        *last = Some(Instant::now());
        answer
    }

    /// Sends a request until it succeeds or fails for good.
    async fn send(&self, request: &Request<'_>) -> Result<Answer> {
        let (mut attempt, mut paused, mut renewed) = (1, Duration::ZERO, false);
        loop {
            self.gate.wait().await;
            let failure = match self.attempt(request, attempt).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Paused(pause) => {
                    let wait = self.pacing.wait(pause.seconds.max(1));
                    paused += wait;
                    if paused > self.pacing.max_pause {
                        return Err(ForgeError::RateLimited {
                            action: request.action.to_owned(),
                            limit: pause.limit,
                            wait: Duration::from_secs(pause.seconds),
                        });
                    }
                    tracing::info!(seconds = pause.seconds, "the forge asks for a pause");
                    self.gate.close(wait);
                }
                Failure::Unauthorized(_) if !renewed && self.forget_token(request).await => {
                    renewed = true
                }
                Failure::Transient(_) if request.is_repeatable && attempt < MAX_ATTEMPTS => {
                    tokio::time::sleep(self.pacing.wait(1 << (attempt - 1))).await;
                }
                Failure::Unauthorized(error)
                | Failure::Transient(error)
                | Failure::Final(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    async fn attempt(&self, request: &Request<'_>, attempt: u32) -> Result<Answer, Failure> {
        let token = self.authorization(request).await.map_err(Failure::Final)?;
        let is_read = request.method == Method::GET;
        let client = if is_read { &self.reader } else { &self.writer };
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .bearer_auth(token.reveal())
            .header(ACCEPT, request.accept)
            .header("x-github-api-version", "2022-11-28");
        let cached = if is_read { self.cache.get(&request.url) } else { None };
        if let Some(tag) =
            cached.as_ref().and_then(|cached| HeaderValue::from_str(&cached.tag).ok())
        {
            builder = builder.header(IF_NONE_MATCH, tag);
        }
        if !request.body.is_null() {
            builder = builder.header("content-type", "application/json");
            builder = builder.body(request.body.to_string());
        }
        let _slot = self.slots.acquire().await;
        tracing::debug!(method = %request.method, path = request.url.path(), "request");
        let lost = |error| self.lost(request, error);
        let response = builder.send().await.map_err(lost)?;
        if let Some(cached) = cached.filter(|_| response.status() == StatusCode::NOT_MODIFIED) {
            return Ok(Answer { body: cached.body.clone(), tag: None, next: cached.next.clone() });
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read(request, response).await?;
        if !status.is_success() {
            return Err(self.rejected(request, status, &headers, &body, attempt));
        }
        let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let next = self.next_page(request.action, &headers).map_err(Failure::Final)?;
        let answer = Answer { body, tag, next };
        self.remember(request, &answer);
        Ok(answer)
    }

    fn remember(&self, request: &Request<'_>, answer: &Answer) {
        if let Some(tag) = answer.tag.clone().filter(|_| request.method == Method::GET) {
            let (body, next) = (answer.body.clone(), answer.next.clone());
            self.cache.insert(&request.url, Cached { tag, body, next });
        }
    }

    async fn read(&self, request: &Request<'_>, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(request, error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(Failure::Final(too_large(request.action)));
            }
        }
        Ok(body.freeze())
    }

    /// Returns the URL of the next page (RFC 8288). The token is sent there, so it has to be on the same
    /// server.
    fn next_page(&self, action: &str, headers: &HeaderMap) -> Result<Option<Url>> {
        let Some(link) = headers.get(LINK).and_then(|link| link.to_str().ok()) else {
            return Ok(None);
        };
        let Some(target) = next_link(link) else { return Ok(None) };
        match self.api.join(target) {
            Ok(url) if url.origin() == self.api.origin() => Ok(Some(url)),
            _ => Err(ForgeError::InvalidAnswer {
                action: action.to_owned(),
                reason: "the next page is on another server".to_owned(),
            }),
        }
    }

    /// The name of the server, for messages.
    fn host(&self) -> String {
        let host = self.api.host_str().unwrap_or_default();
        self.api.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn too_large(action: &str) -> ForgeError {
    ForgeError::InvalidAnswer {
        action: action.to_owned(),
        reason: format!("it has more than {} MiB", MAX_ANSWER >> 20),
    }
}

/// Returns the target of the link with `rel="next"`.
fn next_link(header: &str) -> Option<&str> {
    header.split('<').skip(1).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters
            .split([';', ','])
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_link_finds_only_next() {
        let both = "<https://h/a?page=1>; rel=\"prev\", <https://h/a?page=3&x=1,2>; rel=\"next\"";
        assert_eq!(next_link(both), Some("https://h/a?page=3&x=1,2"));
        assert_eq!(next_link("<https://h/a>; rel=\"last\""), None);
        assert_eq!(next_link(""), None);
    }
}
