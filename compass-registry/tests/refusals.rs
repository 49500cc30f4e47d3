//! Registries that fail, send wrong responses or redirect: how often requests are retried, and
//! which host errors name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answering;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use answering::{layer, name, options, push_layer, serve};
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use compass_registry::client::Client;
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{Fault, FaultyRegistry, SampleImage, Script};
use compass_registry::{
    Destination, Error, ImageRef, ImageSink as _, ImageSource as _, ImageSourceExt as _,
    RawManifest, RetryPolicy, Tag, TagOrDigest, copy, media_type,
};
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A time limit for transfers, which hang if a test fails.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// Returns a policy that retries without delays.
fn no_delays() -> RetryPolicy {
    RetryPolicy::default()
        .initial_backoff(Duration::from_millis(1))
        .max_retry_after(Duration::from_secs(1))
        .connect_retry(Duration::ZERO)
}

/// Returns a policy with short timeouts, for hosts that do not respond.
fn impatient() -> RetryPolicy {
    no_delays().idle_timeout(Duration::from_millis(200))
}

fn with(host: &str, retry: RetryPolicy) -> Client {
    Client::new(host, options().retry(retry)).unwrap()
}

fn client(host: &str) -> Client {
    with(host, no_delays())
}

#[tokio::test]
async fn upload_long_retry_after_fails() {
    for status in [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::RANGE_NOT_SATISFIABLE] {
        let registry = serve(move |request| match request.method().as_str() {
            "POST" => (StatusCode::ACCEPTED, [(header::LOCATION, "/u/1")]).into_response(),
            "PUT" => (status, [(header::RETRY_AFTER, "3600")]).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        })
        .await;
        let pushed = tokio::time::timeout(TIME_LIMIT, push_layer(&client(&registry))).await;
        let error = pushed.expect("it waits").unwrap_err();
        let refused = matches!(&error, Error::Status { status: said, .. } if *said == status);
        assert!(refused, "{error}");
    }
}

#[tokio::test]
async fn failing_registry_attempts_are_limited() {
    let always = |from: usize| Script((from..500).map(|n| (n, Fault::Status(503))).collect());
    let tag: Tag = "v1".parse().unwrap();
    let tries = usize::try_from(no_delays().max_attempts).unwrap();
    // Successful requests before the failures. At the source: a challenge and a manifest. At the
    // destination: a challenge, a missing tag, and three missing blobs.
    for (well, at_source) in [(2, true), (5, false)] {
        let storage = MemoryStorage::default();
        let image = SampleImage::new(1, &[100, 200]);
        image.store(&storage, &name(), &tag).await.unwrap();
        let script = |failing: bool| if failing { always(well) } else { Script::default() };
        let source = FaultyRegistry::start(storage, script(at_source)).await.unwrap();
        let sink =
            FaultyRegistry::start(MemoryStorage::default(), script(!at_source)).await.unwrap();
        let (reader, writer) = (Arc::new(client(&source.host())), Arc::new(client(&sink.host())));
        let image_ref = ImageRef::new(name(), tag.clone());
        let to = Destination::new(name(), tag.clone());
        let copied = copy(reader, &image_ref, writer, &to).await;
        assert!(copied.unwrap_err().is_transient());
        let failing = if at_source { &source } else { &sink };
        let blobs = image.blobs.len();
        // The client also cancels each started upload, with one request.
        let most = well + blobs * (2 * tries + 1);
        assert!(failing.requests() <= most, "{} requests, {most} at most", failing.requests());
    }
}

#[tokio::test]
async fn concurrent_requests_get_one_challenge() {
    let tag: Tag = "v1".parse().unwrap();
    let storage = MemoryStorage::default();
    let image = SampleImage::new(1, &[100]);
    let names: Vec<compass_registry::Repository> =
        (0..30).map(|n| format!("team/app-{n}").parse().unwrap()).collect();
    for name in &names {
        image.store(&storage, name, &tag).await.unwrap();
    }
    let registry = FaultyRegistry::start(storage, Script::default()).await.unwrap();
    let (client, by_tag) = (client(&registry.host()), TagOrDigest::Tag(tag));
    let reads = names.iter().map(|name| client.manifest_digest(name, &by_tag));
    for digest in futures_util::future::join_all(reads).await {
        assert_eq!(digest.unwrap(), Some(image.manifest.digest()));
    }
    assert_eq!(registry.requests(), names.len() + 1);
}

#[tokio::test]
async fn unresponsive_registry_requests_fail_in_parallel() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = with(&listener.local_addr().unwrap().to_string(), impatient());
    let tag = TagOrDigest::Tag("v1".parse().unwrap());
    let repository = name();
    let reads = (0..20).map(|_| client.manifest_digest(&repository, &tag));
    // The sum of the timeouts of all requests, if they ran one after the other.
    let together = 20 * impatient().idle_timeout * impatient().max_attempts;
    let answers = tokio::time::timeout(together, futures_util::future::join_all(reads)).await;
    assert!(answers.expect("they wait for one another").iter().all(Result::is_err));
}

#[tokio::test]
async fn manifest_accepted_but_missing_is_error() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let registry = serve(move |request| match request.method().as_str() {
        "PUT" => StatusCode::CREATED.into_response(),
        _ => {
            count.fetch_add(1, Ordering::Relaxed);
            StatusCode::NOT_FOUND.into_response()
        }
    })
    .await;
    let manifest = SampleImage::new(1, &[10]).manifest;
    let tag = "v1".parse().unwrap();
    let error = client(&registry).put_manifest(&name(), &manifest, Some(&tag)).await.unwrap_err();
    assert!(error.to_string().contains("does not have it"), "{error}");
    // `HEAD` and `GET` of the digest and of the tag in each attempt, and `/v2/` once, because the
    // manifest may be hidden.
    assert_eq!(asked.load(Ordering::Relaxed), 4 * no_delays().max_attempts as usize + 1);
}

#[tokio::test]
async fn errors_name_requested_host() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap().to_string();
    drop(listener);
    let forbids = serve(|_| StatusCode::FORBIDDEN.into_response()).await;
    let lacks = serve(|_| StatusCode::NOT_FOUND.into_response()).await;
    for store in [gone, forbids, lacks] {
        let location = format!("http://{store}/store/layer?signature=hunter2");
        let registry = serve(move |_| {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response()
        })
        .await;
        let error = client(&registry).read(&name(), &layer()).await.unwrap_err().to_string();
        let named = format!("{store} (redirected from {registry})");
        assert!(error.contains(&named) && error.contains("/store/layer"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn endless_slow_manifest_fails() {
    let registry = serve(|_| {
        let drops = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, std::io::Error>(" ")
        });
        Body::from_stream(drops).into_response()
    })
    .await;
    let client = with(&registry, impatient().max_attempts(1));
    let (repository, tag) = (name(), TagOrDigest::Tag("v1".parse().unwrap()));
    let reading = client.manifest(&repository, &tag);
    let read = tokio::time::timeout(TIME_LIMIT, reading).await.expect("it waits");
    assert!(matches!(read, Err(Error::Unreachable { .. })), "{read:?}");
}

/// Returns a policy with a minimum speed that no transfer of these tests reaches.
fn demanding() -> RetryPolicy {
    let speed_window = Duration::from_millis(300);
    no_delays().min_speed(1 << 40).speed_window(speed_window)
}

#[tokio::test]
async fn slow_transfer_fails() {
    let registry = serve(|request| {
        let drops = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, std::io::Error>(" ")
        });
        let drips = |status: StatusCode| (status, Body::from_stream(drops)).into_response();
        match request.method().as_str() {
            "POST" => (StatusCode::ACCEPTED, [(header::LOCATION, "/u/1")]).into_response(),
            "GET" => drips(StatusCode::OK),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await;
    let client = with(&registry, demanding());
    let reading = tokio::time::timeout(TIME_LIMIT, client.read(&name(), &layer_of(1 << 20))).await;
    let error = reading.expect("it waits").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("below the minimum"), "{cause}");
}

/// Describes a blob of this size; the source sends other bytes.
fn layer_of(size: u64) -> compass_registry::Descriptor {
    compass_registry::Descriptor { size, ..layer() }
}

/// Responds to requests, such as those that open uploads, without reading their bodies.
async fn answer_only_heads(mut connection: tokio::net::TcpStream) {
    let mut head = vec![0; 64 << 10];
    let count = connection.read(&mut head).await.unwrap();
    let answer = match head[..count].split(|byte| *byte == b' ').next() {
        Some(b"POST") => "HTTP/1.1 202 Accepted\r\nlocation: /u/1\r\n",
        Some(b"PUT") => return std::future::pending().await,
        _ => "HTTP/1.1 404 Not Found\r\n",
    };
    let answer = format!("{answer}content-length: 0\r\nconnection: close\r\n\r\n");
    connection.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn unread_upload_fails() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Bytes buffered by the system on behalf of the server would look like progress.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer_only_heads(connection));
        }
    });
    let client = with(&host, demanding());
    let bytes = compass_registry::testing::random_bytes(1, 16 << 20);
    let pushing = answering::push_blob(&client, &bytes);
    let error = tokio::time::timeout(TIME_LIMIT, pushing).await.expect("it waits").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("below the minimum"), "{error:?}");
}

#[tokio::test]
async fn content_type_prefix_is_not_enough() {
    let manifest = SampleImage::new(1, &[10]).manifest;
    let bytes = manifest.bytes().clone();
    let registry = serve(move |_| {
        ([(header::CONTENT_TYPE, "application/vnd.oci")], bytes.clone()).into_response()
    })
    .await;
    let read = client(&registry).manifest(&name(), &TagOrDigest::Tag("v1".parse().unwrap())).await;
    let read: RawManifest = read.unwrap();
    assert_eq!(read.descriptor().media_type, media_type::OCI_MANIFEST);
}
