//! Creates or updates a plugin in the plugin center. `docs/plugin-center.md` has the contract.

use std::fmt;
use std::time::Duration;

use compass_bundle::store::redact_url;
use compass_registry::Secret;
use compass_registry::http::HttpOptions;
use serde_json::Value;

use super::Release;
use crate::error::{CliError, Result};
use crate::site::manifests::RenderedFile;

/// The environment variable with the token.
const TOKEN: &str = "COMPASS_PLUGIN_CENTER_TOKEN";

/// How long the plugin center may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

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
}

/// An answer of the plugin center.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// A request to the plugin center.
#[derive(Clone, Copy)]
enum Request<'r> {
    Get,
    Create(&'r str),
    Update(&'r str),
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
        let client = HttpOptions::default().read_timeout(Some(TIMEOUT)).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, client })
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
            return Err(self.refused(&answer));
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
            _ => return Err(self.refused(&answer)),
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
        let mut attempt = 1;
        loop {
            let answer = self.send_once(request, name).await;
            let is_transient = match &answer {
                Ok(answer) => matches!(answer.status, 429 | 500 | 502..=504),
                Err(_) => true,
            };
            if !is_transient || attempt == ATTEMPTS {
                return answer;
            }
            tracing::info!(attempt, "retrying a request to the plugin center");
            tokio::time::sleep(Duration::from_secs(1) * attempt).await;
            attempt += 1;
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

    fn refused(&self, answer: &Answer) -> CliError {
        let text = String::from_utf8_lossy(&answer.body);
        let first = text.lines().next().unwrap_or_default();
        let shown: String = first.chars().take(200).collect();
        let error = self.failed(format!("it answered {}: {shown}", answer.status));
        match answer.status {
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
