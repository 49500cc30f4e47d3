//! Credentials are sent to the registry's own origin and its token service only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answering;

use std::sync::{Arc, Mutex};

use answering::{client, layer, name, push_layer, serve};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use compass_registry::{ImageSource, ImageSourceExt};

/// Requests as a server saw them: path with query, and the `Authorization` header.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

fn note(seen: &Seen, request: &Request) -> Option<String> {
    let header =
        |headers: &HeaderMap| headers.get("authorization")?.to_str().ok().map(str::to_owned);
    let authorization = header(request.headers());
    seen.lock().unwrap().push((request.uri().to_string(), authorization.clone()));
    authorization
}

/// `robot:hunter2` for basic authentication.
const BASIC: &str = "Basic cm9ib3Q6aHVudGVyMg==";

#[tokio::test]
async fn token_is_requested_once_and_reused() {
    let (tokens, asked) = (Seen::default(), Seen::default());
    let seen = Arc::clone(&tokens);
    let service = serve(move |request| {
        note(&seen, &request);
        (StatusCode::OK, r#"{"token": "t0ken", "expires_in": 300}"#).into_response()
    })
    .await;
    let seen = Arc::clone(&asked);
    let registry = serve(move |request| {
        if note(&seen, &request).as_deref() == Some("Bearer t0ken") {
            return (StatusCode::OK, "layer").into_response();
        }
        let challenge = format!(r#"Bearer realm="http://{service}/token",service="reg""#);
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    })
    .await;
    let (client, layer) = (client(&registry), layer());
    for _ in 0..2 {
        assert_eq!(client.read(&name(), &layer).await.unwrap(), "layer");
    }
    let tokens = tokens.lock().unwrap();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].0, "/token?service=reg&scope=repository%3Arelease%2Fweb%3Apull");
    assert_eq!(tokens[0].1.as_deref(), Some(BASIC));
    let headers: Vec<_> = asked.lock().unwrap().iter().map(|(_, header)| header.clone()).collect();
    let token = Some("Bearer t0ken".to_owned());
    assert_eq!(headers, [None, token.clone(), token]);
}

#[tokio::test]
async fn redirect_target_gets_no_credentials() {
    let stored = Seen::default();
    let seen = Arc::clone(&stored);
    let store = serve(move |request| {
        note(&seen, &request);
        (StatusCode::OK, "layer").into_response()
    })
    .await;
    let registry = serve(move |request| {
        if request.headers().get("authorization").is_none() {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")];
            return (StatusCode::UNAUTHORIZED, challenge).into_response();
        }
        let location = format!("http://{store}/signed?key=abc");
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
    })
    .await;
    let layer = layer();
    assert_eq!(client(&registry).read(&name(), &layer).await.unwrap(), "layer");
    let stored = stored.lock().unwrap();
    assert_eq!(stored[..], [("/signed?key=abc".to_owned(), None)]);
}

#[tokio::test]
async fn refused_password_is_not_in_error() {
    let registry = serve(|_| {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")];
        (StatusCode::UNAUTHORIZED, challenge, "you sent hunter2").into_response()
    })
    .await;
    let layer = layer();
    let Err(error) = client(&registry).blob(&name(), &layer, 0..layer.size).await else {
        panic!("refused")
    };
    assert!(matches!(error, compass_registry::Error::Unauthorized { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn endless_redirects_fail() {
    let registry = serve(|_| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/v2/again")]).into_response()
    })
    .await;
    let layer = layer();
    let Err(error) = client(&registry).blob(&name(), &layer, 0..layer.size).await else {
        panic!("refused")
    };
    assert!(error.to_string().contains("redirects in a row"), "{error}");
}

/// Accepts uploads, and redirects their sessions to `location`.
async fn uploads_to(location: String, seen: Seen) -> String {
    serve(move |request| {
        let given = note(&seen, &request);
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"".to_owned())];
        match (given, request.method().as_str()) {
            (None, _) => (StatusCode::UNAUTHORIZED, challenge).into_response(),
            (_, "POST") => {
                (StatusCode::ACCEPTED, [(header::LOCATION, location.clone())]).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await
}

#[tokio::test]
async fn external_upload_location_gets_no_credentials() {
    let stored = Seen::default();
    let seen = Arc::clone(&stored);
    let digest = layer().digest;
    let store = serve(move |request| {
        note(&seen, &request);
        let stored = [("docker-content-digest", digest.to_string())];
        (StatusCode::CREATED, stored).into_response()
    })
    .await;
    let registry = uploads_to(format!("http://{store}/put?key=abc"), Seen::default()).await;
    push_layer(&client(&registry)).await.unwrap();
    let stored = stored.lock().unwrap();
    assert_eq!(stored.len(), 1);
    assert!(stored[0].0.starts_with("/put?key=abc&digest="), "{stored:?}");
    assert_eq!(stored[0].1, None);
}

#[tokio::test]
async fn token_service_message_is_redacted() {
    let service = serve(|_| (StatusCode::FORBIDDEN, "hunter2 is wrong").into_response()).await;
    let registry = serve(move |_| {
        let challenge = format!(r#"Bearer realm="http://{service}/token",service="reg""#);
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    })
    .await;
    let layer = layer();
    let error = client(&registry).read(&name(), &layer).await.unwrap_err();
    assert!(error.to_string().contains("it answered 403 to /token"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn token_service_needs_http_url() {
    let asked = Seen::default();
    let seen = Arc::clone(&asked);
    let service = serve(move |request| {
        note(&seen, &request);
        StatusCode::OK.into_response()
    })
    .await;
    let realm = format!("ftp://{service}/token");
    let registry = serve(move |_| {
        let challenge = format!(r#"Bearer realm="{realm}""#);
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    })
    .await;
    let layer = layer();
    let error = client(&registry).read(&name(), &layer).await.unwrap_err();
    assert!(error.to_string().contains("token service"), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn concurrent_requests_share_one_token_request() {
    let tokens = Seen::default();
    let seen = Arc::clone(&tokens);
    let service = serve(move |request| {
        note(&seen, &request);
        (StatusCode::OK, r#"{"token": "t0ken", "expires_in": 300}"#).into_response()
    })
    .await;
    let registry = serve(move |request| {
        let challenge = format!(r#"Bearer realm="http://{service}/token",service="reg""#);
        match request.headers().get("authorization") {
            Some(_) => (StatusCode::OK, "layer").into_response(),
            None => {
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
            }
        }
    })
    .await;
    let (client, layer) = (client(&registry), layer());
    let reads = (0..20).map(|_| async { client.read(&name(), &layer).await.unwrap() });
    futures_util::future::join_all(reads).await;
    assert_eq!(tokens.lock().unwrap().len(), 1);
}

/// Starts a host that names a token service of its own, which records requests. Returns the host.
async fn external_host_with_challenge(asked: &Seen) -> String {
    let seen = Arc::clone(asked);
    let service = serve(move |request| {
        note(&seen, &request);
        (StatusCode::OK, r#"{"token":"stolen"}"#).into_response()
    })
    .await;
    serve(move |_| {
        let challenge = format!(r#"Bearer realm="http://{service}/token""#);
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    })
    .await
}

#[tokio::test]
async fn redirect_target_challenge_is_ignored() {
    let asked = Seen::default();
    let external_host_with_challenge = external_host_with_challenge(&asked).await;
    let registry = serve(move |_| {
        let location = format!("http://{external_host_with_challenge}/blob");
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
    })
    .await;
    let layer = layer();
    client(&registry).read(&name(), &layer).await.unwrap_err();
    assert_eq!(asked.lock().unwrap()[..], []);
}

#[tokio::test]
async fn external_upload_location_challenge_is_ignored() {
    let asked = Seen::default();
    let registry = uploads_to(
        format!("http://{}/put", external_host_with_challenge(&asked).await),
        Seen::default(),
    )
    .await;
    push_layer(&client(&registry)).await.unwrap_err();
    assert_eq!(asked.lock().unwrap()[..], []);
}

#[tokio::test]
async fn token_with_huge_lifetime_is_used() {
    let answer = format!(r#"{{"token":"t0ken","expires_in":{}}}"#, u64::MAX);
    let service = serve(move |_| (StatusCode::OK, answer.clone()).into_response()).await;
    let registry = serve(move |request| {
        if request.headers().get("authorization").is_some() {
            return (StatusCode::OK, "layer").into_response();
        }
        let challenge = format!(r#"Bearer realm="http://{service}/token""#);
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    })
    .await;
    let layer = layer();
    assert_eq!(client(&registry).read(&name(), &layer).await.unwrap(), "layer");
}
