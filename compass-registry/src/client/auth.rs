//! Authentication: answers challenges and caches the resulting headers.

mod token_service;

use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::challenge::Challenge;
use super::credentials::{Credentials, Login};
use super::http_clients::TokenEndpoint;
use super::scopes::{merge_scopes, resource_independent_scopes};
use super::token_cache::{Header, Scope, TokenCache};
use crate::{Error, Repository, Secret};

#[derive(Debug)]
pub(super) struct Auth {
    logins: Vec<Login>,
    /// The project whose login is used for requests that name no repository.
    default_project: OnceLock<Repository>,
    idle_timeout: Duration,
    /// The registry's last challenge. Later requests are expected to get the same one.
    challenge: std::sync::Mutex<Option<Challenge>>,
    tokens: TokenCache,
}

/// Shorter secrets are not redacted, as they would match parts of ordinary words.
const MIN_SECRET: usize = 4;

impl Auth {
    pub(super) fn new(logins: Vec<Login>, idle_timeout: Duration) -> Self {
        let (challenge, tokens) = (std::sync::Mutex::default(), TokenCache::default());
        Self { logins, default_project: OnceLock::new(), idle_timeout, challenge, tokens }
    }

    /// Uses the login of a project for requests that name no repository.
    pub(super) fn set_default_project(&self, project: &Repository) {
        let _ = self.default_project.set(project.clone());
    }

    /// Whether any login is configured. Without one, only anonymous tokens are possible.
    pub(super) fn has_logins(&self) -> bool {
        !self.logins.is_empty()
    }

    /// Returns the login that applies to the first resource of a scope.
    pub(super) fn login_for(&self, scope: &str) -> Option<&Login> {
        let first = scope.split(' ').next().unwrap_or_default();
        let repository = first.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
        let path =
            repository.map(|(path, _)| path).or(self.default_project.get().map(Repository::as_str));
        self.logins.iter().find(|login| login.applies_to(path))
    }

    fn credentials(&self, scope: &str) -> Option<&Credentials> {
        self.login_for(scope).map(|login| &login.credentials)
    }

    /// Describes the login for a scope, for messages.
    pub(super) fn identity(&self, scope: &str) -> String {
        self.login_for(scope).map_or_else(|| "without a login".to_owned(), Login::to_string)
    }

    /// Describes how the registry authenticates requests of a scope.
    pub(super) fn describe_login(&self, scope: &str) -> String {
        let who = self.identity(scope);
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        match &*challenge {
            None => "not required".to_owned(),
            Some(Challenge::Basic) => format!("{who}, with basic authentication"),
            Some(Challenge::Bearer { realm, .. }) => {
                let host = Url::parse(realm).ok().and_then(|url| url.host_str().map(str::to_owned));
                format!("{who}, with tokens from {}", host.unwrap_or_else(|| realm.clone()))
            }
            Some(Challenge::Other(scheme)) => {
                format!("unsupported authentication scheme `{scheme}`")
            }
        }
    }

    /// Replaces the secrets of this client in a text that a registry sent.
    pub(super) fn redact(&self, mut text: String) -> String {
        let tokens = self.tokens.secrets();
        let own = self.logins.iter().flat_map(|login| {
            let basic = match &login.credentials {
                Credentials::Password { username, password } => {
                    Some(basic_header(username, password))
                }
                _ => None,
            };
            [Some(login.credentials.secret().clone()), basic].into_iter().flatten()
        });
        for secret in own.chain(tokens) {
            let secret = secret.reveal();
            let bare = secret.strip_prefix("Basic ").or_else(|| secret.strip_prefix("Bearer "));
            let bare = bare.unwrap_or(secret);
            if bare.len() >= MIN_SECRET && text.contains(bare) {
                text = text.replace(bare, "…");
            }
        }
        text
    }

    /// Returns the `Authorization` header for a scope. Uses the cached header while it is valid,
    /// otherwise a new one for the last challenge.
    pub(super) async fn cached_header(
        &self,
        endpoint: TokenEndpoint<'_>,
        scope: &str,
    ) -> Result<Option<Secret>, Error> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match challenge {
            Some(challenge) => self.header(endpoint, &challenge, scope, None).await,
            None => Ok(None),
        }
    }

    /// Answers a challenge, or returns `None` if there are no credentials for it.
    ///
    /// `refused` is the header that was sent, if any. If another request has replaced it meanwhile,
    /// the newer header is returned.
    pub(super) async fn answer_challenge(
        &self,
        endpoint: TokenEndpoint<'_>,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        self.remember_challenge(challenge);
        let header = self.header(endpoint, challenge, scope, refused).await?;
        Ok(header.filter(|header| Some(header) != refused))
    }

    /// Remembers a challenge for later requests.
    pub(super) fn remember_challenge(&self, challenge: &Challenge) {
        let known = without_resource_scopes(challenge.clone());
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// Requests a new token to replace a refused one, if the registry uses tokens.
    pub(super) async fn renew_token(
        &self,
        endpoint: TokenEndpoint<'_>,
        scope: &str,
        refused: &Secret,
    ) -> Result<Option<Secret>, Error> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge @ Challenge::Bearer { .. }) = challenge else { return Ok(None) };
        let header = self.header(endpoint, &challenge, scope, Some(refused)).await?;
        Ok(header.filter(|header| header != refused))
    }

    async fn header(
        &self,
        endpoint: TokenEndpoint<'_>,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        if let Some(Credentials::RegistryToken(token)) = self.credentials(scope) {
            return Ok(Some(Secret::new(format!("Bearer {}", token.reveal()))));
        }
        let (realm, service, asked) = match challenge {
            Challenge::Basic => return Ok(self.basic_header(scope)),
            Challenge::Bearer { realm, service, scope } => (realm, service.as_deref(), scope),
            Challenge::Other(_) => return Ok(None),
        };
        loop {
            let cell = self.tokens.entry(scope);
            let mut header = cell.header.lock().await;
            let good = |known: &&Header| known.is_fresh() && Some(&known.value) != refused;
            if let Some(known) = header.as_ref().filter(good) {
                return Ok(Some(known.value.clone()));
            }
            if !self.tokens.is_current(scope, &cell) {
                continue;
            }
            // A shared token that is still valid was refused because its service does not support
            // several scopes in one token.
            let parts = cell.is_shared() && header.as_ref().is_some_and(Header::is_fresh);
            if !parts {
                let scopes = cell.scopes.join(" ");
                let scopes = merge_scopes(&scopes, asked.as_deref().unwrap_or_default());
                match self.request_token(endpoint, realm, (service, scope), &scopes).await {
                    Err(Error::Unauthorized { .. }) if cell.is_shared() => {}
                    token => return Ok(Some(header.insert(token?).value.clone())),
                }
            }
            self.tokens.ungroup(&cell);
        }
    }

    /// Groups the scopes of future requests, so that one token covers several of them.
    pub(super) fn group_scopes(&self, scopes: Vec<Scope>) {
        // A token belongs to one login, so scopes are grouped by login.
        let mut logins: Vec<(Option<&Login>, Vec<Scope>)> = Vec::new();
        for scope in scopes {
            let who = self.login_for(&scope);
            match logins.iter_mut().find(|(login, _)| *login == who) {
                Some((_, scopes)) => scopes.push(scope),
                None => logins.push((who, vec![scope])),
            }
        }
        for (_, scopes) in logins {
            self.tokens.group(scopes);
        }
    }

    /// Returns a token for one scope, if the refused header was a token for several.
    pub(super) async fn single_scope_header(
        &self,
        endpoint: TokenEndpoint<'_>,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let Some(refused) = refused else { return Ok(None) };
        let cell = self.tokens.entry(scope);
        let known = cell.header.lock().await.as_ref().map(|header| header.value.clone());
        if cell.is_shared() && known.as_ref() == Some(refused) {
            self.tokens.ungroup(&cell);
        }
        Ok(self.cached_header(endpoint, scope).await?.filter(|header| header != refused))
    }

    fn basic_header(&self, scope: &str) -> Option<Secret> {
        match self.credentials(scope) {
            Some(Credentials::Password { username, password }) => {
                Some(basic_header(username, password))
            }
            _ => None,
        }
    }
}

/// Removes the scopes of single resources from a challenge, so that it fits any request.
fn without_resource_scopes(challenge: Challenge) -> Challenge {
    match challenge {
        Challenge::Bearer { realm, service, scope } => {
            let scope = scope.map(|scope| resource_independent_scopes(&scope));
            Challenge::Bearer { realm, service, scope: scope.filter(|scope| !scope.is_empty()) }
        }
        other => other,
    }
}

fn basic_header(username: &str, password: &Secret) -> Secret {
    let pair = format!("{username}:{}", password.reveal());
    Secret::new(format!("Basic {}", STANDARD.encode(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(path: Option<&str>, name: &str) -> Login {
        let password = Secret::new("hunter2");
        let credentials = Credentials::Password { username: name.to_owned(), password };
        Login::new(path.map(|path| path.parse().unwrap()), credentials, "/auth.json")
    }

    fn auth(logins: Vec<Login>) -> Auth {
        Auth::new(logins, Duration::ZERO)
    }

    #[test]
    fn login_for_first_match_wins() {
        let logins = [(Some("team/web"), "w"), (Some("team"), "t"), (None, "host")];
        let auth = auth(logins.map(|(path, name)| login(path, name)).into());
        for (scope, name) in [
            ("repository:team/web:pull", "w"),
            ("repository:team/web/a:pull,push repository:team/b:pull", "w"),
            ("repository:team/website:pull", "t"),
            ("repository:teams/web:pull", "host"),
            ("registry:catalog:*", "host"),
            ("", "host"),
        ] {
            assert_eq!(auth.identity(scope), format!("as `{name}` (from /auth.json)"), "{scope}");
        }
    }

    #[test]
    fn default_project_login_used_for_root() {
        let logins = [(Some("team"), "t"), (None, "host")];
        let auth = auth(logins.map(|(path, name)| login(path, name)).into());
        auth.set_default_project(&"team/web".parse().unwrap());
        assert_eq!(auth.identity(""), "as `t` (from /auth.json)");
        assert_eq!(auth.identity("repository:other/web:pull"), "as `host` (from /auth.json)");
    }

    #[test]
    fn redact_removes_secrets_from_answers() {
        let auth = auth(vec![login(None, "robot")]);
        let said = "hunter2 is wrong (cm9ib3Q6aHVudGVyMg==)".to_owned();
        assert_eq!(auth.redact(said), "… is wrong (…)");
    }

    #[test]
    fn remembered_challenge_keeps_general_scopes() {
        let bearer = |scope: Option<&str>| Challenge::Bearer {
            realm: "https://a.b/t".to_owned(),
            service: None,
            scope: scope.map(str::to_owned),
        };
        assert_eq!(
            without_resource_scopes(bearer(Some("aws repository:a:pull"))),
            bearer(Some("aws"))
        );
        assert_eq!(without_resource_scopes(bearer(Some("repository:a:pull"))), bearer(None));
    }
}
