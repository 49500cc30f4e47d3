//! Answers to challenges, and the tokens that came of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::challenge::Challenge;
use super::credentials::{Credentials, Secret};
use super::transport::unreachable;
use crate::Error;

/// What a request needs to be allowed to do, as `repository:release/web:pull`.
pub(super) type Scope = String;

#[derive(Debug)]
pub(super) struct Auth {
    credentials: Option<Credentials>,
    headers: Mutex<HashMap<Scope, Header>>,
}

#[derive(Debug, Clone)]
struct Header {
    value: Secret,
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a token service means where it says nothing (distribution token specification).
const DEFAULT_LIFE: u64 = 60;

impl Auth {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, headers: Mutex::default() }
    }

    /// The `Authorization` header that was good for a scope, while it still is.
    pub(super) async fn known(&self, scope: &str) -> Option<Secret> {
        let headers = self.headers.lock().await;
        headers.get(scope).filter(|header| header.is_fresh()).map(|header| header.value.clone())
    }

    /// Answers a challenge; nothing where there is nothing to answer with. `refused` is the header
    /// that was sent, if any: one that another request has replaced meanwhile is used first.
    pub(super) async fn answer(
        &self,
        http: &reqwest::Client,
        registry: &Url,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let mut headers = self.headers.lock().await;
        let replaced = |known: &&Header| known.is_fresh() && Some(&known.value) != refused;
        if let Some(known) = headers.get(scope).filter(replaced) {
            return Ok(Some(known.value.clone()));
        }
        let header = match challenge {
            Challenge::Basic => match &self.credentials {
                Some(Credentials::Password { username, password }) => {
                    Header { value: basic(username, password), expires: None }
                }
                _ => return Ok(None),
            },
            Challenge::Bearer { realm, service, scope: asked } => {
                let scope = asked.as_deref().unwrap_or(scope);
                self.token(http, registry, realm, service.as_deref(), scope).await?
            }
        };
        if refused == Some(&header.value) {
            return Ok(None);
        }
        headers.insert(scope.to_owned(), header.clone());
        Ok(Some(header.value))
    }

    async fn token(
        &self,
        http: &reqwest::Client,
        registry: &Url,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<Header, Error> {
        let url = realm_url(registry, realm)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = match &self.credentials {
            Some(Credentials::IdentityToken(token)) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token.reveal()),
                    ("client_id", "compass"),
                    ("service", service.unwrap_or_default()),
                    ("scope", scope),
                ];
                let mut body = Url::parse("form:").map_err(|_| bad_realm(realm))?;
                body.query_pairs_mut().extend_pairs(form);
                http.post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body.query().unwrap_or_default().to_owned())
            }
            other => {
                let mut url = url;
                url.query_pairs_mut()
                    .extend_pairs(service.map(|service| ("service", service)))
                    .append_pair("scope", scope);
                let request = http.get(url);
                match other {
                    Some(Credentials::Password { username, password }) => {
                        request.header("authorization", basic(username, password).reveal())
                    }
                    _ => request,
                }
            }
        };
        let asked = "a token";
        let answer = tokio::time::timeout(crate::retry::SILENCE, async {
            let response = request.send().await?;
            let status = response.status();
            Ok((status, response.bytes().await?))
        });
        let (status, body) = match answer.await {
            Ok(answer) => {
                answer.map_err(|error: reqwest::Error| unreachable(&host, asked, error))?
            }
            Err(elapsed) => return Err(unreachable(&host, asked, elapsed)),
        };
        match status.as_u16() {
            200 => read_token(&host, &body),
            status @ (408 | 429 | 500..=599) => Err(Error::Refused {
                host,
                request: asked.to_owned(),
                status,
                message: String::new(),
            }),
            status => Err(Error::Unauthorized {
                host,
                reason: format!("the token service answered {status}"),
            }),
        }
    }
}

impl Header {
    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|at| Instant::now() < at)
    }
}

fn read_token(host: &str, body: &[u8]) -> Result<Header, Error> {
    let bad = || Error::BadContent {
        what: format!("the answer of the token service {host}"),
        reason: "it holds no token".to_owned(),
    };
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| bad())?;
    let token = answer.token.or(answer.access_token).ok_or_else(bad)?;
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).max(10);
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
