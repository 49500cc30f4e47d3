//! Authentication: when logins are used, which tokens are requested, and what errors say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use compass_registry::client::{Client, Credentials, Login};
use compass_registry::{Error, ImageSource as _, Secret};

use crate::world::{
    Asked, BASIC, Quirky, by_tag, copy, copy_with, name, options, robot, says, status_of, store,
    with_header,
};

/// Returns a challenge, with `{host}` replaced by the registry's own host.
fn challenge(asked: &Asked, challenge: &str) -> Response {
    let host = asked.headers["host"].to_str().unwrap();
    with_header(status_of(401, ""), "www-authenticate", &challenge.replace("{host}", host))
}

const BEARER: &str = r#"Bearer realm="http://{host}/token",service="svc""#;

/// Responds to token requests, and to requests without a token.
fn tokens(asked: &Asked, token: &str) -> Option<Response> {
    if asked.path == "/token" {
        return Some(status_of(200, format!(r#"{{"token":"{token}"}}"#)));
    }
    (asked.authorization() != format!("Bearer {token}")).then(|| challenge(asked, BEARER))
}

#[tokio::test]
async fn hidden_image_is_requested_with_login() {
    for status in [404, 403] {
        for scheme in [r#"Basic realm="x""#, BEARER] {
            let source = Quirky::new(move |asked| {
                let authorization = asked.authorization();
                if asked.path == "/token" {
                    let token = status_of(200, r#"{"token":"t0ken"}"#);
                    return Some(if authorization == BASIC { token } else { status_of(401, "") });
                }
                let expected = if scheme == BEARER { "Bearer t0ken" } else { BASIC };
                match asked.path.as_str() {
                    _ if authorization == expected => None,
                    "/v2/" => Some(challenge(asked, scheme)),
                    _ => Some(says(status, "NAME_UNKNOWN", "no")),
                }
            })
            .await;
            store(&source).await;
            let destination = Quirky::plain().await;
            let copied = copy(source.client_with(robot()), &destination).await;
            copied.unwrap_or_else(|error| panic!("{status} {scheme}: {error:?}"));
            assert_eq!(source.count("GET", "/v2/") - source.count("GET", "/v2/team"), 1);
            // Without a login, the image is not found, and the error says that no login was used.
            let error = source.client().manifest(&name(), &by_tag()).await.unwrap_err();
            assert!(error.to_string().contains("without a login"), "{error}");
        }
    }
}

#[tokio::test]
async fn missing_challenge_is_requested_from_root() {
    let source = Quirky::new(|asked| match (asked.path.as_str(), asked.authorization()) {
        (_, BASIC) => None,
        ("/v2/", _) => Some(challenge(asked, r#"Basic realm="x""#)),
        _ => Some(status_of(401, "")),
    })
    .await;
    store(&source).await;
    copy(source.client_with(robot()), &Quirky::plain().await).await.unwrap();
}

#[tokio::test]
async fn unsupported_scheme_is_named() {
    let source = Quirky::new(|asked| Some(challenge(asked, "Negotiate"))).await;
    let error = source.client_with(robot()).manifest(&name(), &by_tag()).await.unwrap_err();
    assert!(error.to_string().contains("unsupported authentication scheme `Negotiate`"), "{error}");
}

#[tokio::test]
async fn nonstandard_scopes_reach_token_service() {
    for odd in ["aws", "*", "repository:team/web:pull registry:catalog:*"] {
        let scopes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&scopes);
        let source = Quirky::new(move |asked| {
            if asked.path == "/token" {
                let query = asked.query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
                let query = query.map(|scope| scope.replace("%3A", ":").replace("%2F", "/"));
                seen.lock().unwrap().extend(query.map(|scope| scope.replace("%2C", ",")));
                return Some(status_of(200, r#"{"token":"t0ken"}"#));
            }
            let asks = format!(r#"Bearer realm = "http://{{host}}/token", scope = "{odd}""#);
            (asked.authorization() != "Bearer t0ken").then(|| challenge(asked, &asks))
        })
        .await;
        store(&source).await;
        copy(source.client(), &Quirky::plain().await).await.unwrap();
        let known = ["repository:team/web:pull", "aws", "*", "registry:catalog:*"];
        let scopes = scopes.lock().unwrap();
        assert!(scopes.iter().all(|scope| known.contains(&scope.as_str())), "{scopes:?}");
        assert!(odd.split(' ').all(|odd| scopes.iter().any(|scope| scope == odd)), "{scopes:?}");
    }
}

#[tokio::test]
async fn nonstandard_token_responses_are_accepted() {
    for answer in [
        r#"{"token":"","access_token":"t0ken"}"#,
        r#"{"token":"t0ken","expires_in":-1}"#,
        r#"{"token":"t0ken","expires_in":300.5,"issued_at":"nonsense"}"#,
        r#"{"token":"t0ken","expires_in":"300"}"#,
        r#"{"access_token":"t0ken","token":null,"expires_in":null}"#,
    ] {
        let source = Quirky::new(move |asked| match asked.path.as_str() {
            "/token" => Some(status_of(200, answer)),
            _ => tokens(asked, "t0ken"),
        })
        .await;
        store(&source).await;
        copy(source.client(), &Quirky::plain().await).await.unwrap();
    }
    for answer in ["{}", "<html>", r#"{"token":""}"#] {
        let source = Quirky::new(move |asked| match asked.path.as_str() {
            "/token" => Some(status_of(200, answer)),
            _ => tokens(asked, "t0ken"),
        });
        let error = source.await.client().manifest(&name(), &by_tag()).await.unwrap_err();
        assert!(error.to_string().contains("it contains no token"), "{error}");
    }
}

/// Starts a registry that rejects the first token for blobs.
async fn withdrawing(status: u16, code: &'static str, message: &'static str) -> Quirky {
    let given = Arc::new(AtomicUsize::new(0));
    let source = Quirky::new(move |asked| {
        if asked.path == "/token" {
            let number = given.fetch_add(1, Ordering::SeqCst);
            return Some(status_of(200, format!(r#"{{"token":"token-{number}"}}"#)));
        }
        match asked.authorization() {
            "" => Some(challenge(asked, BEARER)),
            "Bearer token-0" if asked.path.contains("/blobs/") => Some(says(status, code, message)),
            _ => None,
        }
    })
    .await;
    store(&source).await;
    source
}

#[tokio::test]
async fn rejected_token_without_challenge_is_renewed() {
    for (status, code, message) in [
        (400, "DENIED", "Your Authorization Token is invalid."),
        (403, "DENIED", "The token has expired"),
        (403, "UNAUTHORIZED", "expired"),
        (400, "UNKNOWN", "token is not valid yet"),
        (401, "UNAUTHORIZED", "no"),
    ] {
        let source = withdrawing(status, code, message).await;
        let copied = copy(source.client(), &Quirky::plain().await).await;
        copied.unwrap_or_else(|error| panic!("{status} {message}: {error:?}"));
        assert_eq!(source.count("GET", "/token"), 2, "{message}");
    }
    for (status, code, message) in [(403, "DENIED", "not a member"), (400, "NAME_INVALID", "x")] {
        let source = withdrawing(status, code, message).await;
        copy(source.client(), &Quirky::plain().await).await.unwrap_err();
        assert_eq!(source.count("GET", "/token"), 1, "{message}");
    }
}

#[tokio::test]
async fn error_names_login_and_its_source() {
    let destination = Quirky::new(|asked| {
        let refused = r#"{"errors":[{"code":"DENIED","message":"hunter2 may not push"}]}"#;
        match asked.authorization() {
            "" => Some(challenge(asked, r#"Basic realm="x""#)),
            _ => asked.is("POST", "").then(|| status_of(403, refused)),
        }
    })
    .await;
    let source = Quirky::plain().await;
    store(&source).await;
    let login = Login::new(None, robot(), "/root/.docker/config.json");
    let sink = Client::new(&destination.host, options().credentials(login)).unwrap();
    let error = copy_with(source.client(), sink, &destination.storage).await.unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("as `robot` (from /root/.docker/config.json) (403): DENIED"), "{said}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn hidden_refusal_names_login() {
    for (status, code, named) in [
        (404, "NAME_UNKNOWN", true),
        (404, "NOT_FOUND", true),
        (400, "DENIED", true),
        (404, "MANIFEST_UNKNOWN", false),
        (400, "MANIFEST_INVALID", false),
    ] {
        let source = Quirky::new(move |asked| {
            asked.is("GET", "/manifests/").then(|| says(status, code, "not for you"))
        });
        let source = source.await;
        let error = source.client_with(robot()).manifest(&name(), &by_tag()).await.unwrap_err();
        let said = error.to_string();
        assert_eq!(said.contains("(asked as `robot`"), named, "{said}");
        assert!(said.contains(code), "{said}");
    }
}

#[tokio::test]
async fn token_service_error_names_login() {
    let source = Quirky::new(|asked| match asked.path.as_str() {
        "/token" => Some(says(401, "UNAUTHORIZED", "the account is locked")),
        _ => Some(challenge(asked, BEARER)),
    })
    .await;
    let login = Login::new(Some(name()), robot(), "docker-credential-x");
    let client = Client::new(&source.host, options().credentials(login)).unwrap();
    let error = client.manifest(&name(), &by_tag()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("the account is locked"), "{said}");
    assert!(said.contains("as `robot` (from docker-credential-x)"), "{said}");
}

#[tokio::test]
async fn registry_token_is_sent_unchanged() {
    for scheme in [BEARER, r#"Basic realm="x""#] {
        let source = Quirky::new(move |asked| {
            (asked.authorization() != "Bearer mine").then(|| challenge(asked, scheme))
        })
        .await;
        store(&source).await;
        let credentials = Credentials::RegistryToken(Secret::new("mine"));
        copy(source.client_with(credentials), &Quirky::plain().await).await.unwrap();
        assert_eq!(source.count("GET", "/token"), 0);
    }
}

#[tokio::test]
async fn token_service_redirect_is_followed() {
    let elsewhere = Quirky::new(|asked| {
        assert_eq!(asked.authorization(), "", "another host gets no password");
        Some(status_of(200, r#"{"token":"t0ken"}"#))
    })
    .await;
    for to in ["/token".to_owned(), format!("http://{}/other", elsewhere.host)] {
        let source = Quirky::new(move |asked| match asked.path.as_str() {
            "/old" => Some(with_header(status_of(302, ""), "location", &to)),
            "/token" if asked.authorization() != BASIC => Some(status_of(401, "")),
            "/token" => tokens(asked, "t0ken"),
            _ if asked.authorization() == "Bearer t0ken" => None,
            _ => Some(challenge(asked, r#"Bearer realm="/old""#)),
        })
        .await;
        store(&source).await;
        assert!(source.client_with(robot()).manifest(&name(), &by_tag()).await.is_ok());
    }
    let circle = Quirky::new(|asked| match asked.path.as_str() {
        "/old" => Some(with_header(status_of(302, ""), "location", "/old")),
        _ => Some(challenge(asked, r#"Bearer realm="/old""#)),
    });
    let error = circle.await.client().manifest(&name(), &by_tag()).await.unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
}
