//! Tokens for several repositories: the client requests as few as the token service supports, and
//! still reads all permitted repositories.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answering;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use answering::{client, layer, serve};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use compass_registry::{Error, ImageSourceExt as _, Repository};

/// How a token service responds to a request for several scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    GrantsAll,
    GrantsTheFirst,
    Refuses,
    /// Grants all of them except the one for `release/app-5`.
    GrantsMost,
}

/// Returns a token whose text is the list of its scopes.
fn granted(service: Service, request: &Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let scopes: Vec<_> =
        scopes.map(|scope| scope.replace("%3A", ":").replace("%2F", "/")).collect();
    let granted = match service {
        Service::Refuses if scopes.len() > 1 => return StatusCode::BAD_REQUEST.into_response(),
        Service::GrantsTheFirst => scopes[..1].join("+"),
        Service::GrantsMost => {
            let most: Vec<_> = scopes.into_iter().filter(|one| !one.contains("app-5:")).collect();
            most.join("+")
        }
        _ => scopes.join("+"),
    };
    format!(r#"{{"token": "{granted}+", "expires_in": 300}}"#).into_response()
}

/// Reads a blob from each of twelve repositories, and returns the results and the numbers of
/// requests to the registry and to its token service.
async fn read_all(service: Service, denial: StatusCode) -> (Vec<Result<(), Error>>, usize, usize) {
    let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let [requests, tokens] = counts.clone();
    let realm = serve(move |request| {
        tokens.fetch_add(1, Ordering::SeqCst);
        granted(service, &request)
    })
    .await;
    let registry = serve(move |request| {
        requests.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().strip_prefix("/v2/").unwrap();
        let needed = format!("repository:{}:pull+", path.split("/blobs/").next().unwrap());
        match request.headers().get("authorization").map(|token| token.to_str().unwrap()) {
            Some(token) if token.contains(&needed) => "layer".into_response(),
            Some(_) if denial == StatusCode::FORBIDDEN => denial.into_response(),
            _ => {
                let challenge = format!(r#"Bearer realm="http://{realm}/token",service="reg""#);
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
            }
        }
    })
    .await;
    let (client, layer) = (client(&registry), layer());
    let repositories: Vec<Repository> =
        (0..12).map(|number| format!("release/app-{number}").parse().unwrap()).collect();
    client.prefetch_pull_tokens(&repositories).await.unwrap();
    let reads = repositories.iter().map(async |one| client.read(one, &layer).await.map(drop));
    let results = futures_util::future::join_all(reads).await;
    let [requests, tokens] = counts.map(|count| count.load(Ordering::SeqCst));
    (results, requests, tokens)
}

#[tokio::test]
async fn one_token_covers_announced_repositories() {
    let (results, requests, tokens) = read_all(Service::GrantsAll, StatusCode::UNAUTHORIZED).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // Only the first request gets a challenge.
    assert_eq!((requests, tokens), (13, 1));
}

#[tokio::test]
async fn refused_shared_token_is_split() {
    for denial in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        for service in [Service::Refuses, Service::GrantsTheFirst] {
            let (results, requests, tokens) = read_all(service, denial).await;
            assert!(results.iter().all(Result::is_ok), "{service:?}, {denial}: {results:?}");
            assert!(tokens <= 13 && requests <= 25, "{service:?}, {denial}: {requests}, {tokens}");
        }
    }
}

#[tokio::test]
async fn denied_repository_does_not_affect_others() {
    for denial in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let (results, _, _) = read_all(Service::GrantsMost, denial).await;
        for (number, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), number == 5, "{denial}, app-{number}: {result:?}");
        }
    }
}
