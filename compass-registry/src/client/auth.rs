//! Authentication: answers challenges and caches the resulting headers.

mod token_service;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::challenge::Challenge;
use super::credentials::{CredentialProvider, Credentials, Login};
use super::http_clients::AuthRequest;
use super::scopes::{merge_scopes, resource_independent_scopes};
use super::token_cache::{Header, Scope, TokenCache};
use crate::{Error, Repository, Secret};
use token_service::TokenScope;

#[derive(Debug)]
pub(super) struct Auth {
    host: String,
    provider: Option<Arc<dyn CredentialProvider>>,
    /// The provider's last results, for messages.
    logins: Mutex<HashMap<Option<Repository>, Login>>,
    /// The project whose login is used for requests that name no repository.
    default_project: OnceLock<Repository>,
    idle_timeout: Duration,
    /// The registry's last challenge. Later requests are expected to get the same one.
    challenge: Mutex<Option<Challenge>>,
    tokens: TokenCache,
}

/// Shorter secrets are not redacted, as they would match parts of ordinary words.
const MIN_SECRET: usize = 4;

impl Auth {
    pub(super) fn new(
        host: &str,
        provider: Option<Arc<dyn CredentialProvider>>,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            host: host.to_owned(),
            provider,
            logins: Mutex::default(),
            default_project: OnceLock::new(),
            idle_timeout,
            challenge: Mutex::default(),
            tokens: TokenCache::default(),
        }
    }

    /// Uses the login of a project for requests that name no repository.
    pub(super) fn set_default_project(&self, project: &Repository) {
        let _ = self.default_project.set(project.clone());
    }

    /// Returns the login for the first resource of a scope.
    ///
    /// # Errors
    /// Errors of the credential provider.
    pub(super) async fn login(&self, scope: &str) -> Result<Option<Login>, Error> {
        let Some(provider) = &self.provider else { return Ok(None) };
        let repository = self.repository(scope);
        let login = provider.resolve(&self.host, repository.as_ref()).await?;
        let mut logins = self.logins();
        match &login {
            Some(login) => logins.insert(repository, login.clone()),
            None => logins.remove(&repository),
        };
        Ok(login)
    }

    /// Returns the repository of the first resource of a scope, or the default project.
    fn repository(&self, scope: &str) -> Option<Repository> {
        let first = scope.split(' ').next().unwrap_or_default();
        let resource = first.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
        match resource {
            Some((path, _)) => path.parse().ok(),
            None => self.default_project.get().cloned(),
        }
    }

    fn logins(&self) -> MutexGuard<'_, HashMap<Option<Repository>, Login>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn challenge(&self) -> MutexGuard<'_, Option<Challenge>> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last request of a scope had no login.
    pub(super) fn is_anonymous(&self, scope: &str) -> bool {
        !self.logins().contains_key(&self.repository(scope))
    }

    /// Describes the login of the last request of a scope, for messages.
    pub(super) fn identity(&self, scope: &str) -> String {
        describe(self.logins().get(&self.repository(scope)))
    }

    /// Describes how the registry authenticates requests of a scope.
    pub(super) async fn describe_login(&self, scope: &str) -> Result<String, Error> {
        self.login(scope).await?;
        let who = self.identity(scope);
        Ok(match &*self.challenge() {
            None => "not required".to_owned(),
            Some(Challenge::Basic) => format!("{who}, with basic authentication"),
            Some(Challenge::Bearer { realm, .. }) => {
                let host = Url::parse(realm).ok().and_then(|url| url.host_str().map(str::to_owned));
                format!("{who}, with tokens from {}", host.unwrap_or_else(|| realm.clone()))
            }
            Some(Challenge::Other(scheme)) => {
                format!("unsupported authentication scheme `{scheme}`")
            }
        })
    }

    /// Replaces the secrets of this client in a text that a registry sent.
    pub(super) fn redact(&self, mut text: String) -> String {
        let own: Vec<Secret> = self
            .logins()
            .values()
            .flat_map(|Login { credentials, .. }| {
                [Some(credentials.secret().clone()), basic_header(credentials)]
            })
            .flatten()
            .collect();
        for secret in own.into_iter().chain(self.tokens.secrets()) {
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
        request: AuthRequest<'_>,
    ) -> Result<Option<Secret>, Error> {
        let challenge = self.challenge().clone();
        match challenge {
            Some(challenge) => self.header(request, &challenge, None).await,
            // Messages name the login, even if no challenge has asked for it yet.
            None => self.login(request.scope).await.map(|_| None),
        }
    }

    /// Answers a challenge, or returns `None` if there are no credentials for it.
    ///
    /// `refused` is the header that was sent, if any. If another request has replaced it meanwhile,
    /// the newer header is returned.
    pub(super) async fn answer_challenge(
        &self,
        request: AuthRequest<'_>,
        challenge: &Challenge,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        self.remember_challenge(challenge);
        let header = self.header(request, challenge, refused).await?;
        Ok(header.filter(|header| Some(header) != refused))
    }

    /// Remembers a challenge for later requests.
    pub(super) fn remember_challenge(&self, challenge: &Challenge) {
        *self.challenge() = Some(without_resource_scopes(challenge.clone()));
    }

    /// Requests a new token to replace a refused one, if the registry uses tokens.
    pub(super) async fn renew_token(
        &self,
        request: AuthRequest<'_>,
        refused: &Secret,
    ) -> Result<Option<Secret>, Error> {
        let challenge = self.challenge().clone();
        let Some(challenge @ Challenge::Bearer { .. }) = challenge else { return Ok(None) };
        let header = self.header(request, &challenge, Some(refused)).await?;
        Ok(header.filter(|header| header != refused))
    }

    async fn header(
        &self,
        request: AuthRequest<'_>,
        challenge: &Challenge,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let login = self.login(request.scope).await?;
        let credentials = login.as_ref().map(|login| &login.credentials);
        if let Some(Credentials::RegistryToken(token)) = credentials {
            return Ok(Some(Secret::new(format!("Bearer {}", token.reveal()))));
        }
        let (realm, service, asked) = match challenge {
            Challenge::Basic => return Ok(credentials.and_then(basic_header)),
            Challenge::Bearer { realm, service, scope } => (realm, service.as_deref(), scope),
            Challenge::Other(_) => return Ok(None),
        };
        loop {
            let cell = self.tokens.entry(request.scope);
            let mut header = cell.header.lock().await;
            let good = |known: &&Header| known.is_fresh() && Some(&known.value) != refused;
            if let Some(known) = header.as_ref().filter(good) {
                return Ok(Some(known.value.clone()));
            }
            if !self.tokens.is_current(request.scope, &cell) {
                continue;
            }
            // A shared token that is still valid was refused because its service does not support
            // several scopes in one token.
            let parts = cell.is_shared() && header.as_ref().is_some_and(Header::is_fresh);
            if !parts {
                let scopes = cell.scopes.join(" ");
                let scopes = merge_scopes(&scopes, asked.as_deref().unwrap_or_default());
                let wanted = TokenScope { realm, service, scopes: &scopes, login: login.as_ref() };
                match self.request_token(request, &wanted).await {
                    Err(Error::Unauthorized { .. }) if cell.is_shared() => {}
                    token => {
                        let token = header.insert(token?);
                        cell.record(token);
                        return Ok(Some(token.value.clone()));
                    }
                }
            }
            self.tokens.ungroup(&cell);
        }
    }

    /// Groups the scopes of future requests, so that one token covers several of them.
    ///
    /// # Errors
    /// Errors of the credential provider.
    pub(super) async fn group_scopes(&self, scopes: Vec<Scope>) -> Result<(), Error> {
        // A token belongs to one login, so scopes are grouped by login.
        let mut logins: Vec<(Option<Login>, Vec<Scope>)> = Vec::new();
        for scope in scopes {
            let who = self.login(&scope).await?;
            match logins.iter_mut().find(|(login, _)| *login == who) {
                Some((_, scopes)) => scopes.push(scope),
                None => logins.push((who, vec![scope])),
            }
        }
        for (_, scopes) in logins {
            self.tokens.group(scopes);
        }
        Ok(())
    }

    /// Returns a token for one scope, if the refused header was a token for several.
    pub(super) async fn single_scope_header(
        &self,
        request: AuthRequest<'_>,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let Some(refused) = refused else { return Ok(None) };
        let cell = self.tokens.entry(request.scope);
        let known = cell.header.lock().await.as_ref().map(|header| header.value.clone());
        if cell.is_shared() && known.as_ref() == Some(refused) {
            self.tokens.ungroup(&cell);
        }
        Ok(self.cached_header(request).await?.filter(|header| header != refused))
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

fn describe(login: Option<&Login>) -> String {
    login.map_or_else(|| "without a login".to_owned(), Login::to_string)
}

/// Returns the header of basic authentication, if the credentials are a password.
fn basic_header(credentials: &Credentials) -> Option<Secret> {
    let Credentials::Password { username, password } = credentials else { return None };
    let pair = format!("{username}:{}", password.reveal());
    Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
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
        Auth::new("a.b", Some(Arc::new(logins)), Duration::ZERO)
    }

    async fn identity(auth: &Auth, scope: &str) -> String {
        auth.login(scope).await.unwrap();
        auth.identity(scope)
    }

    #[tokio::test]
    async fn login_first_match_wins() {
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
            let expected = format!("as `{name}` (from /auth.json)");
            assert_eq!(identity(&auth, scope).await, expected, "{scope}");
        }
    }

    #[tokio::test]
    async fn default_project_login_used_for_root() {
        let logins = [(Some("team"), "t"), (None, "host")];
        let auth = auth(logins.map(|(path, name)| login(path, name)).into());
        auth.set_default_project(&"team/web".parse().unwrap());
        assert_eq!(identity(&auth, "").await, "as `t` (from /auth.json)");
        let other = identity(&auth, "repository:other/web:pull").await;
        assert_eq!(other, "as `host` (from /auth.json)");
    }

    #[tokio::test]
    async fn redact_removes_secrets_from_answers() {
        let auth = auth(vec![login(None, "robot")]);
        auth.login("").await.unwrap();
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
