//! Answers to challenges, and the tokens that came of them.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::Deserialize;

use super::challenge::Challenge;
use super::connect::Door;
use super::credentials::{Credentials, Secret};
use super::pace::retry_after;
use super::tokens::{Header, Scope, Tokens};
use super::transport::{host_of, unreachable};
use crate::{Error, Repository};

#[derive(Debug)]
pub(super) struct Auth {
    credentials: Option<Credentials>,
    projects: Vec<(Repository, Credentials)>,
    silence: Duration,
    /// How the registry asked last; it will do so again.
    challenge: std::sync::Mutex<Option<Challenge>>,
    tokens: Tokens,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a token service means where it says nothing (distribution token specification).
const DEFAULT_LIFE: u64 = 60;

/// Longer than any run, in seconds.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// Bytes of what a registry may ask for: no token service takes more in a request.
const MAX_SCOPE: usize = 8 << 10;

/// Bytes of an answer of a token service that are read.
const MAX_TOKEN_BYTES: usize = 1 << 20;

impl Auth {
    pub(super) fn new(
        credentials: Option<Credentials>,
        mut projects: Vec<(Repository, Credentials)>,
        silence: Duration,
    ) -> Self {
        // The longest path that fits is the one that counts.
        projects.sort_by_key(|(project, _)| std::cmp::Reverse(project.as_str().len()));
        Self {
            credentials,
            projects,
            silence,
            challenge: std::sync::Mutex::default(),
            tokens: Tokens::default(),
        }
    }

    /// Whether there is anything to answer a challenge with, besides a token for everybody.
    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.is_some() || !self.projects.is_empty()
    }

    /// Who asks for what a scope names first.
    fn credentials(&self, scope: &str) -> Option<&Credentials> {
        let first = scope.split(' ').next().unwrap_or_default();
        let repository = first.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
        let below = |project: &Repository| {
            let rest = repository.and_then(|(path, _)| path.strip_prefix(project.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let own = self.projects.iter().find(|(project, _)| below(project));
        own.map(|(_, credentials)| credentials).or(self.credentials.as_ref())
    }

    /// Who asks, in words.
    pub(super) fn who(&self) -> String {
        match &self.credentials {
            Some(Credentials::Password { username, .. }) => format!("as `{username}`"),
            Some(Credentials::IdentityToken(_)) => "with an identity token".to_owned(),
            None if !self.projects.is_empty() => "with a login for each project".to_owned(),
            None => "anonymously".to_owned(),
        }
    }

    /// How the registry lets us in, in words.
    pub(super) fn describe(&self) -> String {
        let who = self.who();
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        match &*challenge {
            None => "it asks for none".to_owned(),
            Some(Challenge::Basic) => format!("{who}, with the password in each request"),
            Some(Challenge::Bearer { realm, .. }) => {
                let host = Url::parse(realm).ok().and_then(|url| url.host_str().map(str::to_owned));
                format!("{who}, with tokens of {}", host.unwrap_or_else(|| realm.clone()))
            }
        }
    }

    /// The `Authorization` header for a scope: the one that is known, while it is good, or else one
    /// for the challenge that the registry had before.
    pub(super) async fn known(&self, door: Door<'_>, scope: &str) -> Result<Option<Secret>, Error> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match challenge {
            Some(challenge) => self.header(door, &challenge, scope, None).await,
            None => Ok(None),
        }
    }

    /// Answers a challenge; nothing where there is nothing to answer with. `refused` is the header
    /// that was sent, if any: one that another request has replaced meanwhile is used first.
    pub(super) async fn answer(
        &self,
        door: Door<'_>,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let known = challenge.clone().without_scope();
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        let header = self.header(door, challenge, scope, refused).await?;
        Ok(header.filter(|header| Some(header) != refused))
    }

    async fn header(
        &self,
        door: Door<'_>,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let (realm, service, asked) = match challenge {
            Challenge::Basic => return Ok(self.basic(scope)),
            Challenge::Bearer { realm, service, scope } => (realm, service.as_deref(), scope),
        };
        loop {
            let slot = self.tokens.of(scope);
            let mut header = slot.header.lock().await;
            let good = |known: &&Header| known.is_fresh() && Some(&known.value) != refused;
            if let Some(known) = header.as_ref().filter(good) {
                return Ok(Some(known.value.clone()));
            }
            if !self.tokens.holds(scope, &slot) {
                continue;
            }
            // One that is for several is refused for this one, for other reasons than its age.
            let parts = slot.is_shared() && header.as_ref().is_some_and(Header::is_fresh);
            if !parts {
                let scopes = slot.scopes.join(" ");
                let scopes = united(&scopes, asked.as_deref().unwrap_or_default());
                let who = self.credentials(scope);
                match self.token(door, realm, (service, who), &scopes).await {
                    Err(Error::Unauthorized { .. }) if slot.is_shared() => {}
                    token => return Ok(Some(header.insert(token?).value.clone())),
                }
            }
            self.tokens.part(&slot);
        }
    }

    /// Says what will be asked for, so that one token does for several.
    pub(super) fn expect(&self, scopes: Vec<Scope>) {
        // A token is somebody's: those of one login go together.
        let mut logins: Vec<(Option<&Credentials>, Vec<Scope>)> = Vec::new();
        for scope in scopes {
            let who = self.credentials(&scope);
            match logins.iter_mut().find(|(login, _)| *login == who) {
                Some((_, scopes)) => scopes.push(scope),
                None => logins.push((who, vec![scope])),
            }
        }
        for (_, scopes) in logins {
            self.tokens.share(scopes);
        }
    }

    /// A token for this scope alone, where the one that was refused is or was for several.
    pub(super) async fn alone(
        &self,
        door: Door<'_>,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let Some(refused) = refused else { return Ok(None) };
        let slot = self.tokens.of(scope);
        let known = slot.header.lock().await.as_ref().map(|header| header.value.clone());
        if slot.is_shared() && known.as_ref() == Some(refused) {
            self.tokens.part(&slot);
        }
        Ok(self.known(door, scope).await?.filter(|header| header != refused))
    }

    fn basic(&self, scope: &str) -> Option<Secret> {
        match self.credentials(scope) {
            Some(Credentials::Password { username, password }) => Some(basic(username, password)),
            _ => None,
        }
    }

    async fn token(
        &self,
        door: Door<'_>,
        realm: &str,
        (service, who): (Option<&str>, Option<&Credentials>),
        scopes: &[String],
    ) -> Result<Header, Error> {
        let url = realm_url(door.registry, realm)?;
        let (host, asked) = (format!("the token service {}", host_of(&url)), url.path().to_owned());
        let request = match who {
            Some(Credentials::IdentityToken(token)) => {
                let scopes = scopes.join(" ");
                let form = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token.reveal()),
                    ("client_id", "compass"),
                    ("service", service.unwrap_or_default()),
                    ("scope", &scopes),
                ];
                let mut body = Url::parse("form:").map_err(|_| bad_realm(realm))?;
                body.query_pairs_mut().extend_pairs(form);
                door.to(&url)
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body.query().unwrap_or_default().to_owned())
            }
            other => {
                let mut url = url;
                url.query_pairs_mut()
                    .extend_pairs(service.map(|service| ("service", service)))
                    .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
                let request = door.to(&url).get(url);
                match other {
                    Some(Credentials::Password { username, password }) => {
                        request.header("authorization", basic(username, password).reveal())
                    }
                    _ => request,
                }
            }
        };
        self.ask((&host, &asked), request).await
    }

    /// Asks a token service.
    async fn ask(
        &self,
        (host, asked): (&str, &str),
        request: reqwest::RequestBuilder,
    ) -> Result<Header, Error> {
        let answer = tokio::time::timeout(self.silence, async {
            let mut response = request.send().await?;
            let mut body = Vec::new();
            while body.len() < MAX_TOKEN_BYTES
                && let Some(chunk) = response.chunk().await?
            {
                body.extend_from_slice(&chunk);
            }
            Ok((response, body))
        });
        let (response, body) = match answer.await {
            Ok(answer) => {
                answer.map_err(|error: reqwest::Error| unreachable(host, asked, error))?
            }
            Err(elapsed) => return Err(unreachable(host, asked, elapsed)),
        };
        match response.status().as_u16() {
            200 => read_token(host, &body),
            status @ (408 | 429 | 500..=599) => Err(Error::Refused {
                host: host.to_owned(),
                request: asked.to_owned(),
                status,
                message: String::new(),
                retry_after: retry_after(response.headers()),
            }),
            status => Err(Error::Unauthorized {
                host: host.to_owned(),
                reason: format!("it answered {status} to {asked}"),
            }),
        }
    }
}

fn read_token(host: &str, body: &[u8]) -> Result<Header, Error> {
    let bad = || Error::BadContent {
        what: format!("the answer of {host}"),
        reason: "it holds no token".to_owned(),
    };
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| bad())?;
    let token = answer.token.or(answer.access_token).ok_or_else(bad)?;
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(10, LONGEST_LIFE);
    // A tenth earlier, so that no request starts with a token that dies on the way.
    let expires = Instant::now() + Duration::from_secs(life - life / 10);
    Ok(Header { value: Secret::new(format!("Bearer {token}")), expires: Some(expires) })
}

/// The token service's URL; a registry with TLS must not send credentials to one without.
fn realm_url(registry: &Url, realm: &str) -> Result<Url, Error> {
    let url = registry.join(realm).map_err(|_| bad_realm(realm))?;
    match (registry.scheme(), url.scheme()) {
        ("http", "http") | (_, "https") => Ok(url),
        _ => Err(bad_realm(realm)),
    }
}

fn bad_realm(realm: &str) -> Error {
    Error::invalid("token service", realm, "the registry names it, and it is not an HTTPS address")
}

fn basic(username: &str, password: &Secret) -> Secret {
    let pair = format!("{username}:{}", password.reveal());
    Secret::new(format!("Basic {}", STANDARD.encode(pair)))
}

/// The scopes that are needed, and what the registry asks for besides, each repository once.
fn united(needed: &str, asked: &str) -> Vec<String> {
    let mut scopes: Vec<(&str, Vec<&str>)> = Vec::new();
    let asked = if asked.len() <= MAX_SCOPE { asked } else { "" };
    for scope in needed.split_whitespace().chain(asked.split_whitespace()) {
        let (subject, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
        let known = match scopes.iter().position(|(known, _)| *known == subject) {
            Some(known) => known,
            None => {
                scopes.push((subject, Vec::new()));
                scopes.len() - 1
            }
        };
        for action in actions.split(',') {
            if !scopes[known].1.contains(&action) {
                scopes[known].1.push(action);
            }
        }
    }
    scopes.iter().map(|(subject, actions)| format!("{subject}:{}", actions.join(","))).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::{Auth, Credentials, Secret, realm_url, united};

    #[test]
    fn a_token_service_without_tls_gets_no_password_of_a_registry_with_it() {
        let registry = |text: &str| Url::parse(text).unwrap();
        let (secure, plain) = (registry("https://reg.a/v2/"), registry("http://reg.a/v2/"));
        assert!(realm_url(&secure, "http://auth.a/token").is_err());
        assert!(realm_url(&secure, "https://auth.a/token").is_ok());
        assert!(realm_url(&plain, "http://auth.a/token").is_ok());
        assert!(realm_url(&plain, "file:///etc/passwd").is_err());
    }

    #[test]
    fn the_login_that_counts_is_that_of_the_longest_path_that_fits() {
        let login = |name: &str| Credentials::Password {
            username: name.to_owned(),
            password: Secret::new("hunter2"),
        };
        let projects = [("team", "t"), ("team/web", "w")];
        let projects = projects.map(|(path, name)| (path.parse().unwrap(), login(name)));
        let auth = Auth::new(Some(login("host")), projects.to_vec(), std::time::Duration::ZERO);
        for (scope, name) in [
            ("repository:team/web:pull", "w"),
            ("repository:team/web/a:pull,push repository:team/b:pull", "w"),
            ("repository:team/website:pull", "t"),
            ("repository:teams/web:pull", "host"),
            ("registry:catalog:*", "host"),
            ("", "host"),
        ] {
            assert_eq!(auth.credentials(scope), Some(&login(name)), "{scope}");
        }
    }

    #[test]
    fn a_token_is_for_what_is_needed_and_what_the_registry_asks_for() {
        for (needed, asked, scopes) in [
            ("repository:a:pull", "", vec!["repository:a:pull"]),
            ("", "", vec![]),
            ("repository:a:pull,push", "repository:a:pull", vec!["repository:a:pull,push"]),
            ("repository:a:pull", "repository:a:pull,push", vec!["repository:a:pull,push"]),
            (
                "repository:a:pull,push repository:b:pull",
                "repository:b:pull registry:catalog:*",
                vec!["repository:a:pull,push", "repository:b:pull", "registry:catalog:*"],
            ),
        ] {
            assert_eq!(united(needed, asked), scopes, "{needed} and {asked}");
        }
    }
}
