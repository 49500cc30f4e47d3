//! The client against the embedded server, and images across all implementations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use compass_registry::client::{Client, ClientOptions, Credentials};
use compass_registry::http::HttpOptions;
use compass_registry::layout::OciLayout;
use compass_registry::server::{BasicAuth, Server, ServerOptions};
use compass_registry::storage::{DiskStorage, MemoryStorage, Storage};
use compass_registry::{
    Destination, Digest, Error, ImageRef, ImageSink, ImageSource, ImageSourceExt, RawManifest,
    Reference, Repository, RetryPolicy, Secret, Tag, copy, media_type,
};

fn layer(seed: u32, bytes: u32) -> Vec<u8> {
    (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes()[3]).collect()
}

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Stores an image of two layers, one of them larger than any buffer.
async fn image(storage: &MemoryStorage, repository: &Repository, tag: &Tag) -> Digest {
    let layers = [layer(1, 3_000_000), layer(2, 70_000)];
    let descriptor = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, bytes.len())
    };
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{},{}]}}"#,
        media_type::OCI_MANIFEST,
        descriptor(media_type::OCI_CONFIG, config),
        descriptor(media_type::OCI_LAYER_GZIP, &layers[0]),
        descriptor(media_type::OCI_LAYER_GZIP, &layers[1]),
    );
    storage.add_blob(repository, *config);
    for layer in layers {
        storage.add_blob(repository, layer);
    }
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest);
    Storage::put_manifest(storage, repository, &manifest, Some(tag)).await.unwrap();
    manifest.digest()
}

async fn arrive(sink: Arc<dyn ImageSink>) -> Result<Digest, Error> {
    let (from, to, v1) = (name("dev/web"), name("release/team/web"), tag("v1"));
    let source = MemoryStorage::default();
    let digest = image(&source, &from, &v1).await;
    let (source, from) = (Arc::new(source), ImageRef::new(from, v1.clone()));
    let to = Destination::new(to, v1);
    let copied = copy(source.clone(), &from, Arc::clone(&sink), &to).await?;
    assert_eq!((copied.digest, copied.blobs, copied.present_bytes), (digest, 3, 0));
    let again = copy(source, &from, sink, &to).await?;
    assert_eq!((again.digest, again.blobs), (digest, 0));
    Ok(digest)
}

/// A client that needs no other client to have set the crypto provider of the process.
fn http_client() -> reqwest::Client {
    // This fails if a provider is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpOptions::default().build().unwrap()
}

#[tokio::test]
async fn image_survives_http_disk_and_layout() {
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(directory.path().join("registry"));
    let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let client = Arc::new(Client::new(&server.host(), ClientOptions::default()).unwrap());
    client.ping().await.unwrap();
    let digest = arrive(client.clone()).await.unwrap();

    let layout = Arc::new(OciLayout::new(directory.path().join("layout")));
    let image: Reference = "localhost/release/team/web:v1".parse().unwrap();
    let copied = copy(client, &(&image).into(), layout.clone(), &(&image).into()).await;
    assert_eq!(copied.unwrap().digest, digest);
    let written = layout.verified_manifest(image.repository(), &image.tag_or_digest()).await;
    assert_eq!(written.unwrap().digest(), digest);

    let unfinished = std::fs::read_dir(directory.path().join("registry/uploads")).unwrap();
    assert_eq!(unfinished.count(), 0);
}

#[tokio::test]
async fn missing_content_is_not_found() {
    let server =
        Server::start(MemoryStorage::default(), "127.0.0.1:0", ServerOptions::default()).await;
    let client = Client::new(&server.as_ref().unwrap().host(), ClientOptions::default()).unwrap();
    let error = client.manifest(&name("a/b"), &tag("v1").into()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(client.manifest_digest(&name("a/b"), &tag("v1").into()).await.unwrap(), None);
}

#[tokio::test]
async fn wrong_password_fails_without_showing() {
    let options = ServerOptions::default().basic_auth(Some(BasicAuth::new("robot", "correct")));
    let server = Server::start(MemoryStorage::default(), "127.0.0.1:0", options).await.unwrap();
    let with = |password: &str| {
        let username = "robot".to_owned();
        let credentials = Credentials::Password { username, password: Secret::new(password) };
        let options = ClientOptions::default().credentials(credentials);
        Client::new(&server.host(), options).unwrap()
    };
    arrive(Arc::new(with("correct"))).await.unwrap();
    for client in [with("hunter2"), Client::new(&server.host(), ClientOptions::default()).unwrap()]
    {
        let error = arrive(Arc::new(client)).await.unwrap_err();
        assert!(format!("{error:?}").contains("Unauthorized"), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn blob_is_read_from_any_offset() {
    let storage = MemoryStorage::default();
    let bytes = layer(7, 100_000);
    storage.add_blob(&name("a/b"), bytes.clone());
    let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let client = Client::new(&server.host(), ClientOptions::default()).unwrap();
    let descriptor = compass_registry::Descriptor::of("text/plain", &bytes);
    for offset in [0, 1, 99_999] {
        use futures_util::TryStreamExt as _;
        let part = client.blob(&name("a/b"), &descriptor, offset..descriptor.size).await.unwrap();
        let part: Vec<_> = part.try_collect().await.unwrap();
        assert_eq!(part.concat(), bytes[usize::try_from(offset).unwrap()..]);
    }
}

#[tokio::test]
async fn unreachable_registry_is_named_in_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(300)] {
        let retry = RetryPolicy::default().connect_retry(wait);
        let options = ClientOptions::default().retry(retry);
        let client = Client::new(&free.to_string(), options).unwrap();
        let error = client.ping().await.unwrap_err();
        assert!(error.to_string().contains(&free.to_string()), "{error}");
        assert!(error.hint().is_some());
        // After the time limit, the error is final.
        assert_eq!(error.is_transient(), wait.is_zero(), "{error:?}");
    }
}

#[tokio::test]
async fn long_referrers_list_is_paginated() {
    let directory = tempfile::tempdir().unwrap();
    referrers_come_in_pages(MemoryStorage::default()).await;
    referrers_come_in_pages(DiskStorage::new(directory.path())).await;
}

async fn referrers_come_in_pages(storage: impl Storage) {
    let (repository, v1) = (name("a/web"), tag("v1"));
    let source = MemoryStorage::default();
    let subject = image(&source, &repository, &v1).await;
    let mut digests = Vec::new();
    for number in 0..5 {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [],
            "artifactType": "text/a+b", "annotations": {"words": "w".repeat(900_000 + number)},
            "subject": {
                "mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 2,
            },
        });
        let manifest = RawManifest::new(media_type::OCI_INDEX, manifest.to_string());
        storage.put_manifest(&repository, &manifest, None).await.unwrap();
        digests.push(manifest.digest());
    }
    digests.sort();
    let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let client = Client::new(&server.host(), ClientOptions::default()).unwrap();
    for (kind, expected) in
        [(None, &digests[..]), (Some("text/a+b"), &digests), (Some("text/a"), &[])]
    {
        let found = client.referrers(&repository, &subject, kind).await.unwrap();
        let found: Vec<_> = found.iter().map(|one| one.descriptor.digest).collect();
        assert_eq!(found, expected, "{kind:?}");
    }
    let url = format!("http://{}/v2/{repository}/referrers/{subject}", server.host());
    let page = http_client().get(url).send().await.unwrap();
    assert!(page.headers().contains_key("link"));
    assert!(page.bytes().await.unwrap().len() < 3 << 20);
}

#[tokio::test]
async fn idle_uploads_are_evicted_at_limit() {
    let server = Server::start(MemoryStorage::default(), "127.0.0.1:0", ServerOptions::default());
    let server = server.await.unwrap();
    let (host, http) = (server.host(), http_client());
    let mut opened = Vec::new();
    for _ in 0..300 {
        let begun =
            http.post(format!("http://{host}/v2/a/web/blobs/uploads/")).send().await.unwrap();
        opened.push(begun.headers()["location"].to_str().unwrap().to_owned());
        // Use the first upload, so that it is not the one idle longest.
        let first = http.get(format!("http://{host}{}", opened[0])).send().await.unwrap();
        assert_eq!(first.status(), 204);
    }
    let mut known = 0;
    for location in &opened {
        let asked = http.get(format!("http://{host}{location}")).send().await.unwrap();
        known += usize::from(asked.status() == 204);
    }
    assert_eq!(known, 256);
    let last = format!("http://{host}{}?digest={}", opened[299], Digest::of(b"layer"));
    assert_eq!(http.put(last).body("layer").send().await.unwrap().status(), 201);
}
