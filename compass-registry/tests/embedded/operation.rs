//! Health, metrics, and the bound on transfers.

use std::time::Duration;

use compass_registry::server::{BasicAuth, ServerOptions};
use compass_registry::storage::MemoryStorage;
use reqwest::StatusCode;

use super::{Registry, header};

#[tokio::test]
async fn metrics_count_requests_and_bytes() {
    let registry = Registry::serving(MemoryStorage::default()).await;
    let digest = registry.push_blob("a/one", b"abcdef").await;
    let blob = format!("/v2/a/one/blobs/{digest}");
    registry.ask("GET", &blob, b"").await.bytes().await.unwrap();
    assert_eq!(registry.ask("GET", "/healthz", b"").await.text().await.unwrap(), "ok\n");
    let metrics = registry.ask("GET", "/metrics", b"").await;
    assert!(header(&metrics, "content-type").starts_with("text/plain"));
    let text = metrics.text().await.unwrap();
    for line in [
        "compass_registry_requests_total{status=\"200\"} 1",
        "compass_registry_requests_total{status=\"201\"} 1",
        "compass_registry_blob_sent_bytes_total 6",
        "compass_registry_streams 0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn metrics_require_login_health_does_not() {
    let login = Some(BasicAuth::new("robot", "hunter2"));
    let options = ServerOptions::default().basic_auth(login);
    let registry = Registry::with(MemoryStorage::default(), options).await;
    let status = async |path: &str| registry.ask("GET", path, b"").await.status();
    assert_eq!(status("/healthz").await, StatusCode::OK);
    assert_eq!(status("/metrics").await, StatusCode::UNAUTHORIZED);
    let login = [("authorization", "Basic cm9ib3Q6aHVudGVyMg==")];
    let metrics = registry.send("GET", "/metrics", b"", &login).await.text().await.unwrap();
    assert!(!metrics.contains("hunter2") && !metrics.contains("robot"), "{metrics}");
}

#[tokio::test]
async fn too_many_streams_are_503() {
    let options = ServerOptions::default().max_streams(1).stream_wait(Duration::from_millis(1));
    let registry = Registry::with(MemoryStorage::default(), options).await;
    // More than the buffers of both sockets hold.
    let digest = registry.push_blob("a/one", &vec![7; 64 << 20]).await;
    let blob = format!("/v2/a/one/blobs/{digest}");
    let mut first = registry.ask("GET", &blob, b"").await;
    first.chunk().await.unwrap();
    let second = registry.ask("GET", &blob, b"").await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&second, "retry-after"), "5");
    assert!(second.text().await.unwrap().contains("TOOMANYREQUESTS"));
    // Requests without a body need no transfer.
    assert_eq!(registry.ask("HEAD", &blob, b"").await.status(), StatusCode::OK);
    while first.chunk().await.unwrap().is_some() {}
    let metrics = registry.ask("GET", "/metrics", b"").await.text().await.unwrap();
    assert!(metrics.contains("compass_registry_streams_refused_total 1\n"), "{metrics}");
    // The server may need a moment to see that the transfer has ended.
    let part = [("range", "bytes=1-2")];
    while registry.send("GET", &blob, b"", &part).await.status() != StatusCode::PARTIAL_CONTENT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
