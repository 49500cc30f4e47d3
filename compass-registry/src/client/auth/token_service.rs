//! Token services, to which registries send their clients for tokens.

use reqwest::{Response, Url};

use super::super::connect::Door;
use super::super::credentials::Credentials;
use super::super::pace::retry_after;
use super::super::tokens::Header;
use super::super::transport::{host_of, unreachable};
use super::super::{token_answer, words};
use super::{Auth, basic};
use crate::Error;

/// Bytes of an answer of a token service that are read.
const MAX_TOKEN_BYTES: usize = 1 << 20;

impl Auth {
    pub(super) async fn token(
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

#[cfg(test)]
mod tests {
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
}
