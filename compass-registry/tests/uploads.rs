//! Uploads to registries that limit request sizes, respond slowly, or stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answering;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use answering::{options, push_blob, serve_router};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use compass_registry::client::{Client, ClientOptions};
use compass_registry::testing::random_bytes;
use compass_registry::{Descriptor, Error, RetryPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A registry with one upload, behind a proxy that limits the size of requests.
#[derive(Clone)]
struct Narrow {
    /// The maximum size of a request in bytes.
    limit: usize,
    /// How long completing an upload takes.
    end: Duration,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Narrow {
    async fn serve(limit: usize, end: Duration) -> (String, Arc<Mutex<Vec<u8>>>) {
        let received = Arc::default();
        let narrow = Self { limit, end, received: Arc::clone(&received) };
        let router = Router::new().fallback(move |request| narrow.clone().answer(request));
        (serve_router(router).await, received)
    }

    async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        match parts.method.as_str() {
            "PUT" if !body.is_empty() => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            "PATCH" if body.len() > self.limit => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            "PATCH" => {
                self.received.lock().unwrap().extend_from_slice(&body);
                self.progress(StatusCode::ACCEPTED)
            }
            "GET" => self.progress(StatusCode::NO_CONTENT),
            "POST" => (StatusCode::ACCEPTED, [(header::LOCATION, "/u/1")]).into_response(),
            "PUT" => {
                tokio::time::sleep(self.end).await;
                let digest = Descriptor::of("", &self.received.lock().unwrap()).digest;
                (StatusCode::CREATED, [("docker-content-digest", digest.to_string())])
                    .into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn progress(&self, status: StatusCode) -> Response {
        let last = self.received.lock().unwrap().len().saturating_sub(1);
        (status, [(header::LOCATION, "/u/1".to_owned()), (header::RANGE, format!("0-{last}"))])
            .into_response()
    }
}

async fn push(host: &str, bytes: &[u8]) -> Result<(), compass_registry::Error> {
    let retry = RetryPolicy::default()
        .initial_backoff(Duration::from_millis(1))
        .idle_timeout(Duration::from_millis(500));
    push_blob(&Client::new(host, options().retry(retry)).unwrap(), bytes).await
}

#[tokio::test]
async fn chunk_size_adapts_to_proxy_limit() {
    let bytes = random_bytes(1, 5 << 20);
    let (host, received) = Narrow::serve(1 << 20, Duration::ZERO).await;
    push(&host, &bytes).await.unwrap();
    assert!(*received.lock().unwrap() == bytes);
}

#[tokio::test]
async fn proxy_limit_below_minimum_fails() {
    let (host, _) = Narrow::serve(1000, Duration::ZERO).await;
    let error = push(&host, &random_bytes(1, 5 << 20)).await.unwrap_err();
    assert!(error.to_string().contains("413"), "{error}");
}

#[tokio::test]
async fn completing_upload_may_exceed_idle_timeout() {
    let (host, received) = Narrow::serve(1 << 20, Duration::from_millis(1500)).await;
    push(&host, b"a few bytes").await.unwrap();
    assert_eq!(*received.lock().unwrap(), b"a few bytes");
}

#[tokio::test]
async fn one_byte_chunk_is_uploaded() {
    let (host, received) = Narrow::serve(1 << 20, Duration::ZERO).await;
    push(&host, b"x").await.unwrap();
    assert_eq!(*received.lock().unwrap(), b"x");
}

/// Answers until the upload of a blob begins. Then it refuses all connections.
async fn stop_during_upload(listener: TcpListener) {
    let (mut connection, _) = listener.accept().await.unwrap();
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.starts_with(b"PUT") {
        let count = connection.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the client closed the connection");
        head.extend_from_slice(&buffer[..count]);
        if head.starts_with(b"POST") && head.ends_with(b"\r\n\r\n") {
            let accepted = "HTTP/1.1 202 Accepted\r\nlocation: /u/1\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(accepted.as_bytes()).await.unwrap();
            head.clear();
        }
    }
}

#[tokio::test]
async fn stopped_registry_fails_upload_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let registry = tokio::spawn(stop_during_upload(listener));
    let retry = RetryPolicy::default().max_attempts(1).connect_retry(Duration::MAX);
    let client = Client::new(&host, ClientOptions::default().retry(retry)).unwrap();
    let pushed = tokio::time::timeout(Duration::from_mins(1), push_blob(&client, b"layer")).await;
    let error = pushed.expect("cancelling the upload waits for the registry").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    registry.await.unwrap();
}
