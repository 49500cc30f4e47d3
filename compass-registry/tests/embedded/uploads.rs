//! Uploads of blobs.

use std::time::Duration;

use compass_registry::Digest;
use compass_registry::server::ServerOptions;
use compass_registry::storage::{DiskStorage, MemoryStorage};
use reqwest::StatusCode;

use super::{Registry, everywhere, header};

#[tokio::test]
async fn declined_mount_opens_upload() {
    everywhere(async |registry| {
        let digest = Digest::of(b"not here");
        let mount = format!("/v2/b/two/blobs/uploads/?mount={digest}&from=a/one");
        let answer = registry.ask("POST", &mount, b"").await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let close = format!("{}?digest={digest}", header(&answer, "location"));
        let answer = registry.ask("PUT", &close, b"not here").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn upload_continues_at_reported_offset() {
    everywhere(async |registry| {
        let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
        let place = header(&opened, "location").to_owned();
        let first = registry.send("PATCH", &place, b"abc", &[("content-range", "0-2")]).await;
        assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, "0-2"));
        let gap = registry.send("PATCH", &place, b"xyz", &[("content-range", "5-7")]).await;
        assert_eq!(gap.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let asked = registry.ask("GET", &place, b"").await;
        assert_eq!((asked.status(), header(&asked, "range")), (StatusCode::NO_CONTENT, "0-2"));
        let digest = Digest::of(b"abcdef");
        let close = format!("{place}?digest={digest}");
        assert_eq!(registry.ask("PUT", &close, b"def").await.status(), StatusCode::CREATED);
        assert_eq!(registry.ask("GET", &place, b"").await.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn failed_upload_leaves_no_blob() {
    everywhere(async |registry| {
        let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
        let place = header(&opened, "location").to_owned();
        assert_eq!(registry.ask("DELETE", &place, b"").await.status(), StatusCode::NO_CONTENT);
        assert_eq!(registry.ask("PATCH", &place, b"abc").await.status(), StatusCode::NOT_FOUND);
        let digest = Digest::of(b"promised");
        let path = format!("/v2/a/one/blobs/uploads/?digest={digest}");
        assert_eq!(registry.ask("POST", &path, b"other").await.status(), StatusCode::BAD_REQUEST);
        let blob = format!("/v2/a/one/blobs/{digest}");
        assert_eq!(registry.ask("GET", &blob, b"").await.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn abandoned_upload_expires() {
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions::default().upload_idle_timeout(Duration::from_millis(50));
    let registry = Registry::with(DiskStorage::new(directory.path()), options).await;
    let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
    let place = header(&opened, "location").to_owned();
    let uploads = || std::fs::read_dir(directory.path().join("uploads")).unwrap().count();
    assert_eq!(uploads(), 1);
    while uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(registry.ask("GET", &place, b"").await.status(), StatusCode::NOT_FOUND);
}

/// Starts a `PATCH` whose body never ends, and returns its connection once `bytes` have arrived.
async fn stalled(registry: &Registry, place: &str, bytes: &[u8]) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(registry.server.host()).await.unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
    stream.write_all(&[head.as_bytes(), bytes].concat()).await.unwrap();
    let arrived = format!("0-{}", bytes.len() - 1);
    loop {
        let asked = registry.ask("GET", place, b"").await;
        assert_eq!(asked.status(), StatusCode::NO_CONTENT, "the upload is gone");
        if header(&asked, "range") == arrived {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn stalled_upload_continues_over_new_connection() {
    everywhere(async |registry| {
        let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
        let place = header(&opened, "location").to_owned();
        let first = stalled(&registry, &place, b"abc").await;
        let range = [("content-range", "3-5")];
        let next = registry.send("PATCH", &place, b"def", &range).await;
        assert_eq!((next.status(), header(&next, "range")), (StatusCode::ACCEPTED, "0-5"));
        let _second = {
            drop(first);
            let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
            let other = header(&opened, "location").to_owned();
            let stream = stalled(&registry, &other, b"xyz").await;
            let cancelled = registry.ask("DELETE", &other, b"").await;
            assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
            stream
        };
        let close = format!("{place}?digest={}", Digest::of(b"abcdef"));
        assert_eq!(registry.ask("PUT", &close, b"").await.status(), StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn stalled_body_and_upload_expire() {
    let directory = tempfile::tempdir().unwrap();
    // The timeouts are long enough for a busy machine to send three bytes.
    let (upload_idle_timeout, body_idle_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let options = ServerOptions::default()
        .upload_idle_timeout(upload_idle_timeout)
        .body_idle_timeout(body_idle_timeout);
    let registry = Registry::with(DiskStorage::new(directory.path()), options).await;
    let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
    let mut connection = stalled(&registry, header(&opened, "location"), b"abc").await;
    while std::fs::read_dir(directory.path().join("uploads")).unwrap().count() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut connection, &mut answer);
    // The server may close or reset the connection.
    let _ = read.await;
    assert!(answer.contains("the body was idle for 1s"), "{answer}");
}

#[tokio::test]
async fn upload_is_unknown_in_other_repositories() {
    everywhere(async |registry| {
        let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
        let place = header(&opened, "location").to_owned();
        let elsewhere = place.replace("a/one", "a/two");
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let answer = registry.ask(method, &elsewhere, b"").await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method}");
        }
        assert_eq!(registry.ask("GET", &place, b"").await.status(), StatusCode::NO_CONTENT);
    })
    .await;
}

#[tokio::test]
async fn chunk_with_wrong_length_is_rejected() {
    let registry = Registry::serving(MemoryStorage::default()).await;
    let opened = registry.ask("POST", "/v2/a/one/blobs/uploads/", b"").await;
    let place = header(&opened, "location").to_owned();
    for range in ["0-1", "0-3", "bytes 0-9/10"] {
        let answer = registry.send("PATCH", &place, b"abc", &[("content-range", range)]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{range}");
    }
    for range in ["2-0", "0-", "first"] {
        let answer = registry.send("PATCH", &place, b"abc", &[("content-range", range)]).await;
        assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
    }
    let answer = registry.send("PATCH", &place, b"abc", &[("content-range", "bytes 0-2/9")]).await;
    assert_eq!((answer.status(), header(&answer, "range")), (StatusCode::ACCEPTED, "0-2"));
}
