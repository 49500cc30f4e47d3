//! The settings of the forge, with the names that they have in workflow runs.

use std::sync::Arc;
use std::time::Duration;

use compass_registry::Secret;
use compass_registry::http::HttpOptions;
use reqwest::Url;

use super::error::ForgeError;
use super::github::{Credentials, GitHub, Pacing, Settings};
use super::{RepoName, Result, SharedForge};

/// The interface of github.com.
const DEFAULT_API: &str = "https://api.github.com";

/// Environment variables.
const API_URL: &str = "GITHUB_API_URL";
const TOKEN: &str = "GITHUB_TOKEN";
const APP_ID: &str = "GITHUB_APP_ID";
const APP_KEY: &str = "GITHUB_APP_PRIVATE_KEY";
const REPOSITORY: &str = "GITHUB_REPOSITORY";
const WRITE_INTERVAL: &str = "COMPASS_FORGE_WRITE_INTERVAL";

/// The options of commands that use the forge.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ForgeArgs {
    /// The repository on the forge [default: `GITHUB_REPOSITORY`]
    #[arg(long, value_name = "OWNER/REPO")]
    pub(crate) repo_name: Option<RepoName>,
}

/// Creates the client of the forge from the environment. Sends no request.
pub(crate) fn open_forge(args: &ForgeArgs) -> Result<SharedForge> {
    let repository = match &args.repo_name {
        Some(name) => name.clone(),
        None => repository_of_environment()?,
    };
    Ok(Arc::new(GitHub::new(Settings {
        repository,
        api: parse_api(&variable(API_URL).unwrap_or_else(|| DEFAULT_API.to_owned()))?,
        credentials: credentials()?,
        pacing: pacing()?,
        http: HttpOptions::default(),
    })?))
}

fn repository_of_environment() -> Result<RepoName> {
    let Some(name) = variable(REPOSITORY) else {
        return Err(settings(
            "the repository on the forge is not known".to_owned(),
            "name it: `--repo-name OWNER/REPO`",
        ));
    };
    name.parse().map_err(|form| settings(format!("{REPOSITORY} is not a repository"), form))
}

/// Parses the URL of the interface. Plain HTTP is only for this machine, because the token is sent with
/// every request.
fn parse_api(text: &str) -> Result<Url> {
    let hint = "use a URL such as `https://github.example/api/v3`, without a password";
    let invalid = |reason: &str| settings(format!("{API_URL} {reason}"), hint);
    let url = Url::parse(text).map_err(|_| invalid("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("contains a user or a password"));
    }
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        "http" => Err(invalid("uses http, which would disclose the token")),
        _ => Err(invalid("is neither https nor http")),
    }
}

fn credentials() -> Result<Credentials> {
    match (variable(APP_ID), variable(APP_KEY), variable(TOKEN)) {
        (Some(id), Some(key), _) => Credentials::app(&id, &Secret::new(key)),
        (Some(_), None, None) => Err(settings(
            format!("{APP_ID} is set without {APP_KEY}"),
            "set it to the private key of the app, in PEM form",
        )),
        (None, Some(_), None) => Err(settings(
            format!("{APP_KEY} is set without {APP_ID}"),
            "set it to the number of the app",
        )),
        (_, _, Some(token)) => Ok(Credentials::token(Secret::new(token.trim()))),
        (None, None, None) => Err(settings(
            "there are no credentials for the forge".to_owned(),
            "set `GITHUB_TOKEN`, for example to the output of `gh auth token`",
        )),
    }
}

fn pacing() -> Result<Pacing> {
    let Some(text) = variable(WRITE_INTERVAL) else { return Ok(Pacing::default()) };
    let millis: u64 = text.parse().map_err(|_| {
        settings(
            format!("{WRITE_INTERVAL} is not a number of milliseconds"),
            "use 1000 for github.com; a server without limits may have less",
        )
    })?;
    Ok(Pacing { write_interval: Duration::from_millis(millis), ..Pacing::default() })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn settings(message: String, hint: &str) -> ForgeError {
    ForgeError::Settings { message, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_url_with_password_is_error() {
        for text in
            ["https://api.github.com", "https://github.example/api/v3/", "http://127.0.0.1:8080"]
        {
            assert!(parse_api(text).is_ok(), "{text}");
        }
        for text in ["https://u:secret@host", "http://host", "ftp://host", "host"] {
            let error = parse_api(text).unwrap_err().to_string();
            assert!(error.starts_with("GITHUB_API_URL") && !error.contains("secret"), "{error}");
        }
    }
}
