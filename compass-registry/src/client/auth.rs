//! Answers to challenges, and the tokens that came of them.

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Response, Url};

use super::challenge::Challenge;
use super::connect::Door;
use super::credentials::{Credentials, Login, Secret};
use super::pace::retry_after;
use super::scopes::{for_everything, merge_scopes};
use super::tokens::{Header, Scope, Tokens};
use super::transport::{host_of, unreachable};
use super::{token_answer, words};
use crate::Error;

#[derive(Debug)]
pub(super) struct Auth {
    logins: Vec<Login>,
    silence: Duration,
    /// How the registry asked last; it will do so again.
    challenge: std::sync::Mutex<Option<Challenge>>,
    tokens: Tokens,
}

/// Bytes of an answer of a token service that are read.
const MAX_TOKEN_BYTES: usize = 1 << 20;

/// Shorter secrets are not looked for in what a registry says: they would be parts of its words.
const MIN_SECRET: usize = 4;

impl Auth {
    pub(super) fn new(logins: Vec<Login>, silence: Duration) -> Self {
        let (challenge, tokens) = (std::sync::Mutex::default(), Tokens::default());
        Self { logins, silence, challenge, tokens }
    }

    /// Whether there is anything to answer a challenge with, besides a token for everybody.
    pub(super) fn has_credentials(&self) -> bool {
        !self.logins.is_empty()
    }

    /// The login for what a scope names first.
    pub(super) fn login(&self, scope: &str) -> Option<&Login> {
        let first = scope.split(' ').next().unwrap_or_default();
        let repository = first.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
        let path = repository.map(|(path, _)| path);
        self.logins.iter().find(|login| login.is_for(path))
    }

    fn credentials(&self, scope: &str) -> Option<&Credentials> {
        self.login(scope).map(|login| &login.credentials)
    }

    /// Who asks for what a scope names, in words.
    pub(super) fn who(&self, scope: &str) -> String {
        self.login(scope).map_or_else(|| "without a login".to_owned(), Login::to_string)
    }

    /// How the registry lets us in, in words.
    pub(super) fn describe(&self, scope: &str) -> String {
        let who = self.who(scope);
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        match &*challenge {
            None => "it asks for none".to_owned(),
            Some(Challenge::Basic) => format!("{who}, with the password in each request"),
            Some(Challenge::Bearer { realm, .. }) => {
                let host = Url::parse(realm).ok().and_then(|url| url.host_str().map(str::to_owned));
                format!("{who}, with tokens of {}", host.unwrap_or_else(|| realm.clone()))
            }
            Some(Challenge::Other(scheme)) => {
                format!("it asks for `{scheme}`, which is unknown here")
            }
        }
    }

    /// A text of a registry without the secrets that it may repeat.
    pub(super) fn redact(&self, mut text: String) -> String {
        let tokens = self.tokens.secrets();
        let own = self.logins.iter().flat_map(|login| {
            let basic = match &login.credentials {
                Credentials::Password { username, password } => Some(basic(username, password)),
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
        self.remember(challenge);
        let header = self.header(door, challenge, scope, refused).await?;
        Ok(header.filter(|header| Some(header) != refused))
    }

    /// Keeps how the registry asks: it will do so again.
    pub(super) fn remember(&self, challenge: &Challenge) {
        let known = for_anything(challenge.clone());
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// A new token instead of one that was refused, if the registry works with tokens.
    pub(super) async fn renew(
        &self,
        door: Door<'_>,
        scope: &str,
        refused: &Secret,
    ) -> Result<Option<Secret>, Error> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge @ Challenge::Bearer { .. }) = challenge else { return Ok(None) };
        let header = self.header(door, &challenge, scope, Some(refused)).await?;
        Ok(header.filter(|header| header != refused))
    }

    async fn header(
        &self,
        door: Door<'_>,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        if let Some(Credentials::RegistryToken(token)) = self.credentials(scope) {
            return Ok(Some(Secret::new(format!("Bearer {}", token.reveal()))));
        }
        let (realm, service, asked) = match challenge {
            Challenge::Basic => return Ok(self.basic(scope)),
            Challenge::Bearer { realm, service, scope } => (realm, service.as_deref(), scope),
            Challenge::Other(_) => return Ok(None),
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
                let scopes = merge_scopes(&scopes, asked.as_deref().unwrap_or_default());
                match self.token(door, realm, (service, scope), &scopes).await {
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
        let mut logins: Vec<(Option<&Login>, Vec<Scope>)> = Vec::new();
        for scope in scopes {
            let who = self.login(&scope);
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
        (service, scope): (Option<&str>, &str),
        scopes: &[String],
    ) -> Result<Header, Error> {
        let url = realm_url(door.registry, realm)?;
        let (host, asked) = (format!("the token service {}", host_of(&url)), url.path().to_owned());
        let request = match self.credentials(scope) {
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
        let request = request.header("accept-encoding", "identity");
        self.ask((&host, &asked), request, &self.who(scope)).await
    }

    /// Asks a token service.
    async fn ask(
        &self,
        (host, asked): (&str, &str),
        request: reqwest::RequestBuilder,
        who: &str,
    ) -> Result<Header, Error> {
        let answer = tokio::time::timeout(self.silence, async {
            let mut response = request.send().await?;
            let body = read_body(&mut response).await?;
            Ok((response, body))
        });
        let (response, body) = match answer.await {
            Ok(answer) => {
                answer.map_err(|error: reqwest::Error| unreachable(host, asked, error))?
            }
            Err(elapsed) => return Err(unreachable(host, asked, elapsed)),
        };
        let said = || self.redact(words::of(&body));
        match response.status().as_u16() {
            200..=299 => token_answer::read(&body).ok_or_else(|| Error::BadContent {
                what: format!("the answer of {host}"),
                // A body that is no error may hold a token in some other form.
                reason: "it holds no token".to_owned(),
            }),
            status @ (408 | 429 | 500..=599) => Err(Error::Refused {
                host: host.to_owned(),
                request: asked.to_owned(),
                status,
                message: said(),
                retry_after: retry_after(response.headers()),
            }),
            status => Err(Error::Unauthorized {
                host: host.to_owned(),
                reason: format!("it answered {status} to {asked}, {who}{}", words::after(&said())),
            }),
        }
    }
}

async fn read_body(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < MAX_TOKEN_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// How a registry that asked like this would ask for anything else.
fn for_anything(challenge: Challenge) -> Challenge {
    match challenge {
        Challenge::Bearer { realm, service, scope } => {
            let scope = scope.map(|scope| for_everything(&scope));
            Challenge::Bearer { realm, service, scope: scope.filter(|scope| !scope.is_empty()) }
        }
        other => other,
    }
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

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;

    #[test]
    fn a_token_service_without_tls_gets_no_password_of_a_registry_with_it() {
        let registry = |text: &str| Url::parse(text).unwrap();
        let (secure, plain) = (registry("https://reg.a/v2/"), registry("http://reg.a/v2/"));
        assert!(realm_url(&secure, "http://auth.a/token").is_err());
        assert!(realm_url(&secure, "https://auth.a/token").is_ok());
        assert!(realm_url(&plain, "http://auth.a/token").is_ok());
        assert!(realm_url(&plain, "file:///etc/passwd").is_err());
        // regclient, `TestAuth`: a realm may be a path, and may have a query.
        let relative = realm_url(&secure, "/token2?a=b").unwrap();
        assert_eq!(relative.as_str(), "https://reg.a/token2?a=b");
    }

    fn login(path: Option<&str>, name: &str) -> Login {
        let password = Secret::new("hunter2");
        let credentials = Credentials::Password { username: name.to_owned(), password };
        Login::new(path.map(|path| path.parse().unwrap()), credentials, "/auth.json")
    }

    fn auth(logins: Vec<Login>) -> Auth {
        Auth::new(logins, Duration::ZERO)
    }

    #[test]
    fn first_login_that_fits_counts() {
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
            assert_eq!(auth.who(scope), format!("as `{name}` (from /auth.json)"), "{scope}");
        }
    }

    #[test]
    fn secrets_in_answers_are_not_repeated() {
        let auth = auth(vec![login(None, "robot")]);
        let said = "hunter2 is wrong (cm9ib3Q6aHVudGVyMg==)".to_owned();
        assert_eq!(auth.redact(said), "… is wrong (…)");
    }

    #[test]
    fn remembered_challenge_keeps_odd_scopes() {
        let bearer = |scope: Option<&str>| Challenge::Bearer {
            realm: "https://a.b/t".to_owned(),
            service: None,
            scope: scope.map(str::to_owned),
        };
        assert_eq!(for_anything(bearer(Some("aws repository:a:pull"))), bearer(Some("aws")));
        assert_eq!(for_anything(bearer(Some("repository:a:pull"))), bearer(None));
    }
}
