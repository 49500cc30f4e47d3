//! The token of each request. An app exchanges a signed statement for the token of its installation.

use compass_registry::Secret;
use jiff::Timestamp;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;

use super::super::super::error::ForgeError;
use super::super::super::{RepoName, Result};
use super::super::app::{App, InstallationToken, Kind};
use super::{Answer, JSON, Request, Transport};

/// The installation of an app, and an app itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AppItem {
    id: u64,
    slug: String,
}

/// The answer with a token.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenItem {
    token: String,
    expires_at: String,
}

impl Transport {
    /// Returns the token or the signed statement for a request.
    pub(super) async fn authorization(&self, request: &Request<'_>) -> Result<Secret> {
        if let Some(app) = request.signer {
            return app.assertion(Timestamp::now());
        }
        let app = match &self.credentials {
            Kind::Token(token) => return Ok(token.clone()),
            Kind::App(app) => app,
        };
        let mut known = app.token.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.is_valid(Timestamp::now())) {
            return Ok(known.token.clone());
        }
        let token = self.installation_token(app).await?;
        let secret = token.token.clone();
        *known = Some(token);
        Ok(secret)
    }

    /// Drops the token of an app, which the forge rejected; returns whether there was one.
    pub(super) async fn forget_token(&self, request: &Request<'_>) -> bool {
        match &self.credentials {
            Kind::App(app) if request.signer.is_none() => app.token.lock().await.take().is_some(),
            _ => false,
        }
    }

    /// Whether the credentials are those of an app.
    pub(in crate::forge::github) fn is_app(&self) -> bool {
        self.app().is_some()
    }

    /// The app of the credentials; `None` for a token.
    pub(super) fn app(&self) -> Option<&App> {
        match &self.credentials {
            Kind::App(app) => Some(app),
            Kind::Token(_) => None,
        }
    }

    /// Returns the login of the app; `None` for a token.
    pub(in crate::forge::github) async fn app_login(&self) -> Result<Option<String>> {
        let Some(app) = self.app() else { return Ok(None) };
        let action = "read the account of the app";
        let answer = self.send_as_app(app, action, Method::GET, self.url(&["app"], &[])).await?;
        Ok(Some(format!("{}[bot]", answer.json::<AppItem>(action)?.slug)))
    }

    async fn installation_token(&self, app: &App) -> Result<InstallationToken> {
        let RepoName { owner, name } = &self.repository;
        let action = "find the installation of the app";
        let url = self.url(&["repos", owner, name, "installation"], &[]);
        let answer = self.send_as_app(app, action, Method::GET, url).await.map_err(|error| {
            match error.is_not_found() {
                true => ForgeError::Settings {
                    message: format!("the app is not installed for {}", self.repository),
                    hint: "install it on the repository, or check `--repo-name`".to_owned(),
                },
                false => error,
            }
        })?;
        let id = answer.json::<AppItem>(action)?.id.to_string();
        let action = "get a token for the app";
        let url = self.url(&["app", "installations", &id, "access_tokens"], &[]);
        let answer = self.send_as_app(app, action, Method::POST, url).await?;
        let TokenItem { token, expires_at } = answer.json(action)?;
        match expires_at.parse() {
            Ok(expires) if !token.is_empty() => {
                Ok(InstallationToken { token: Secret::new(token), expires })
            }
            _ => Err(ForgeError::InvalidAnswer {
                action: action.to_owned(),
                reason: "it has no token with a time".to_owned(),
            }),
        }
    }

    /// Sends a request that the app signs.
    async fn send_as_app(
        &self,
        app: &App,
        action: &str,
        method: Method,
        url: Url,
    ) -> Result<Answer> {
        let (body, accept, is_repeatable) = (&Value::Null, JSON, true);
        let request =
            Request { action, method, url, body, accept, is_repeatable, signer: Some(app) };
        // A request that the app signs needs no other request.
        Box::pin(self.send(&request)).await
    }
}
