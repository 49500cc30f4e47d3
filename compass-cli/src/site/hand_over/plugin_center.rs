//! Creates or updates a plugin in the plugin center. `docs/plugin-center.md` has the contract.

use std::fmt;
use std::time::Duration;

use compass_bundle::store::redact_url;
use compass_registry::http::HttpOptions;
use compass_registry::{RetryPolicy, RetryableError, Secret};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use serde_json::Value;

use super::Release;
use crate::error::{CliError, Result};
use crate::site::manifests::RenderedFile;

/// The environment variable with the token.
const TOKEN: &str = "COMPASS_PLUGIN_CENTER_TOKEN";

/// How long the plugin center may take to answer, and how long to wait before the second attempt.
const LIMITS: Limits = Limits { answer: Duration::from_secs(30), pause: Duration::from_secs(1) };

/// The number of attempts of a request.
const ATTEMPTS: u32 = 3;

/// The maximum size of an answer in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A client of the plugin center.
pub(crate) struct PluginCenter {
    /// Without a slash at the end.
    url: String,
    token: Option<Secret>,
    client: reqwest::Client,
    limits: Limits,
}

/// Durations of a request.
#[derive(Clone, Copy)]
struct Limits {
    /// From the request to the end of the answer.
    answer: Duration,
    /// Between the first two attempts. It grows with each attempt.
    pause: Duration,
}

/// An answer of the plugin center.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// A request to the plugin center.
#[derive(Clone, Copy)]
enum Request<'r> {
    Get,
    Create(&'r str),
    Update(&'r str),
}

/// A request that may succeed if it is repeated.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the plugin center answered {}", .0.status)]
    Overloaded(Answer),
    #[error("{0}")]
    Unreachable(CliError),
}

impl RetryableError for SendError {
    fn is_transient(&self) -> bool {
        true
    }
}

impl PluginCenter {
    /// Creates the client, with the token from the environment.
    pub(super) fn from_environment(url: &str) -> Result<Self> {
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        if !is_http || redact_url(url) != url {
            return Err(CliError::usage(
                "`--plugin-center` needs an http or https URL without a password",
            )
            .hint(format!("set {TOKEN} to the token")));
        }
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new);
        if token.as_ref().is_some_and(|token| HeaderValue::from_str(token.reveal()).is_err()) {
            return Err(CliError::usage(format!("{TOKEN} contains control characters")));
        }
        Self::new(url, token, LIMITS)
    }

    fn new(url: &str, token: Option<Secret>, limits: Limits) -> Result<Self> {
        let builder = HttpOptions::default().builder()?;
        // A redirect would send the manifest, which may contain secrets, to another server.
        let client = builder.redirect(Policy::none()).timeout(limits.answer).build();
        let client = client.map_err(|error| CliError::external(&error))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, client, limits })
    }

    /// Checks that the plugin center answers and accepts the token.
    pub(super) async fn check(&self, release: Release<'_>) -> Result<()> {
        if release.kind != "plugin" {
            let message = format!(
                "{} is not a plugin, and the plugin center accepts only plugins",
                release.name
            );
            return Err(CliError::usage(message).hint("use `--apply` or `--output`"));
        }
        self.version(release.name).await.map(drop)
    }

    /// Creates or updates the plugin, and reads its version back.
    pub(super) async fn submit(&self, release: Release<'_>, files: &[RenderedFile]) -> Result<()> {
        let [file] = files else {
            let message = format!("the package has {} release manifests, not one", files.len());
            return Err(CliError::check_failed(message));
        };
        let create = self.version(release.name).await?.is_none();
        let request =
            if create { Request::Create(&file.full) } else { Request::Update(&file.full) };
        let answer = self.send(request, release.name).await?;
        let answer = match answer.status {
            // An earlier attempt, whose answer was lost, may have created the plugin.
            409 if create => self.send(Request::Update(&file.full), release.name).await?,
            _ => answer,
        };
        if !(200..300).contains(&answer.status) {
            let text = match file.is_quoted_in(&answer.first_line()) {
                false => answer.first_line(),
                true => "its text is not shown, because it may quote a secret".to_owned(),
            };
            return Err(self.refused(answer.status, &text));
        }
        match self.version(release.name).await? {
            Some(version) if version == release.version => Ok(()),
            found => Err(self.failed(format!(
                "it accepted version {}, but reports {}",
                release.version,
                found.as_deref().unwrap_or("no plugin of that name")
            ))),
        }
    }

    /// Returns the version of a plugin; `None` if the plugin center does not have it.
    async fn version(&self, name: &str) -> Result<Option<String>> {
        let answer = self.send(Request::Get, name).await?;
        match answer.status {
            404 => return Ok(None),
            200..300 => {}
            _ => return Err(self.refused(answer.status, &answer.first_line())),
        }
        let document: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let version = document.as_ref().and_then(|document| document.get("version")?.as_str());
        match version {
            Some(version) => Ok(Some(version.to_owned())),
            None => Err(self.failed("the answer is not a JSON object with a `version`".to_owned())),
        }
    }

    /// Sends a request, and repeats it if the plugin center cannot be reached or is overloaded.
    async fn send(&self, request: Request<'_>, name: &str) -> Result<Answer> {
        let send = async || {
            let answer = self.send_once(request, name).await.map_err(SendError::Unreachable)?;
            match RetryPolicy::is_transient_status(answer.status) {
                true => Err(SendError::Overloaded(answer)),
                false => Ok(answer),
            }
        };
        let retry = RetryPolicy::default().max_attempts(ATTEMPTS);
        match retry.initial_backoff(self.limits.pause).run(send).await {
            Ok(answer) | Err(SendError::Overloaded(answer)) => Ok(answer),
            Err(SendError::Unreachable(error)) => Err(error),
        }
    }

    async fn send_once(&self, request: Request<'_>, name: &str) -> Result<Answer> {
        let client = &self.client;
        let plugin = format!("{}/plugins/{name}", self.url);
        let (builder, body) = match request {
            Request::Get => (client.get(plugin), None),
            Request::Create(body) => (client.post(format!("{}/plugins", self.url)), Some(body)),
            Request::Update(body) => (client.put(plugin), Some(body)),
        };
        let builder = match &self.token {
            Some(token) => builder.bearer_auth(token.reveal()),
            None => builder,
        };
        let builder = match body {
            Some(body) => builder.header("content-type", "application/yaml").body(body.to_owned()),
            None => builder,
        };
        let unreachable = |error: reqwest::Error| self.failed(describe(&error.without_url()));
        let mut response = builder.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        tracing::debug!(plugin = name, status, "plugin center");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(self.failed("the answer is too large".to_owned()));
            }
        }
        Ok(Answer { status, body })
    }

    fn refused(&self, status: u16, text: &str) -> CliError {
        let text = match &self.token {
            Some(token) => text.replace(token.reveal(), "…"),
            None => text.to_owned(),
        };
        let shown: String = text.chars().take(200).collect();
        let error = self.failed(format!("it answered {status}: {shown}"));
        match status {
            300..=399 => {
                error.hint("compass does not follow redirects: use the address in `Location`")
            }
            401 | 403 => error.hint(format!("set {TOKEN} to a token that may change plugins")),
            _ => error,
        }
    }

    fn failed(&self, cause: String) -> CliError {
        CliError::check_failed(format!("cannot use the plugin center {self}"))
            .into_external()
            .with_cause(cause)
    }
}

/// Returns the message of an error and of its sources.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

impl fmt::Display for PluginCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const QUICK: Limits =
        Limits { answer: Duration::from_millis(200), pause: Duration::from_millis(1) };

    /// A plugin center that answers each request with these bytes, and keeps the connections open.
    fn center(answer: &'static [u8]) -> PluginCenter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                stream.write_all(answer).unwrap();
                kept.push(stream);
            }
        });
        PluginCenter::new(&url, Some(Secret::new("the-token")), QUICK).unwrap()
    }

    async fn error_of(answer: &'static [u8]) -> CliError {
        center(answer).version("gpu").await.unwrap_err()
    }

    #[tokio::test]
    async fn version_no_answer_is_error() {
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"version\":"] {
            let error = error_of(answer).await;
            assert_eq!(error.exit, CliError::EXTERNAL);
            assert!(error.to_string().contains("timed out"), "{error}");
        }
    }

    #[tokio::test]
    async fn version_echoed_token_is_hidden() {
        let error =
            error_of(b"HTTP/1.1 403 X\r\ncontent-length: 22\r\n\r\nBearer the-token is bad").await;
        assert!(error.to_string().contains("it answered 403: Bearer … is"), "{error}");
    }

    #[tokio::test]
    async fn version_redirect_is_not_followed() {
        let error = error_of(b"HTTP/1.1 307 X\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").await;
        assert!(error.to_string().contains("it answered 307"), "{error}");
    }
}
