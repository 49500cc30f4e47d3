//! Manifests, referrers and authentication.

use std::time::Duration;

use compass_registry::server::{BasicAuth, ServerOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::{Digest, media_type};
use reqwest::StatusCode;

use super::{Registry, everywhere, header, manifest};

#[tokio::test]
async fn stalled_manifests_leave_memory_for_others() {
    use tokio::io::AsyncWriteExt as _;
    everywhere(async |registry| {
        let text = empty_image(&registry, "").await;
        assert_eq!(registry.push_manifest("a/one", "v1", &text).await.status(), 201);
        let head = format!(
            "PUT /v2/a/one/manifests/v2 HTTP/1.1\r\nhost: x\r\ncontent-type: {}\r\n\
             content-length: 4000000\r\n\r\n",
            media_type::OCI_MANIFEST
        );
        let mut stalled = Vec::new();
        for sent in [vec![b' '; 1], vec![b' '; 3_900_000]].iter().cycle().take(40) {
            let host = registry.server.host();
            let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // The server stops reading when the memory budget is used up.
            let written = stream.write_all(sent);
            let _ = tokio::time::timeout(Duration::from_millis(200), written).await;
            stalled.push(stream);
        }
        let asked = async {
            let read = registry.ask("GET", "/v2/a/one/manifests/v1", b"").await;
            (read.status(), registry.push_manifest("a/one", "v3", &text).await.status())
        };
        let answered = tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
        assert_eq!(answered, (StatusCode::OK, StatusCode::CREATED));
    })
    .await;
}

/// Pushes the configuration of an image without layers, and returns its manifest.
pub(crate) async fn empty_image(registry: &Registry, more: &str) -> String {
    let config = registry.push_blob("a/one", b"{}").await;
    format!(
        r#"{{"schemaVersion":2,{more}"config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[]}}"#,
        media_type::OCI_CONFIG
    )
}

#[tokio::test]
async fn put_ambiguous_manifest_is_rejected() {
    everywhere(async |registry| {
        let index = format!(r#""mediaType":"{}","#, media_type::OCI_INDEX);
        let odd_case = r#""Manifests":[],"#;
        for more in [r#""manifests":[],"#, &index, r#""mediaType":"text/plain","#, odd_case] {
            let text = empty_image(&registry, more).await;
            let answer = registry.push_manifest("a/one", "v1", &text).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{more}");
            assert!(answer.text().await.unwrap().contains("MANIFEST_INVALID"), "{more}");
        }
        for more in ["", r#""mediaType":"","#, r#""manifests":null,"#] {
            let text = empty_image(&registry, more).await;
            let answer = registry.push_manifest("a/one", "v1", &text).await;
            assert_eq!(answer.status(), StatusCode::CREATED, "{more}");
        }
    })
    .await;
}

#[tokio::test]
async fn put_manifest_other_type_is_rejected() {
    everywhere(async |registry| {
        let text = empty_image(&registry, "").await;
        let first = registry.push_manifest("a/one", "v1", &text).await;
        assert_eq!(first.status(), StatusCode::CREATED);
        let other = [("content-type", media_type::DOCKER_MANIFEST)];
        let path = "/v2/a/one/manifests/v2";
        let second = registry.send("PUT", path, text.as_bytes(), &other).await;
        assert_eq!(second.status(), StatusCode::BAD_REQUEST);
        let tag = registry.ask("GET", "/v2/a/one/manifests/v1", b"").await;
        assert_eq!(header(&tag, "content-type"), media_type::OCI_MANIFEST);
        let again = registry.push_manifest("a/one", "v1", &text).await;
        assert_eq!(again.status(), StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn escaped_path_is_decoded() {
    let registry = Registry::serving(MemoryStorage::default()).await;
    let digest = registry.push_blob("a/one", b"abc").await;
    let escaped = format!("/v2/a%2Fone/blobs/{}", digest.to_string().replace(':', "%3a"));
    assert_eq!(registry.ask("GET", &escaped, b"").await.text().await.unwrap(), "abc");
    let head = registry.send("HEAD", &escaped, b"", &[("range", "bytes=1-1")]).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "3"));
}

#[tokio::test]
async fn read_only_resource_rejects_writes() {
    let registry = Registry::serving(MemoryStorage::default()).await;
    let referrers = format!("/v2/a/one/referrers/{}", Digest::of(b"abc"));
    for path in ["/v2/", "/v2/_catalog", "/v2/a/one/tags/list", &referrers] {
        let answer = registry.ask("DELETE", path, b"").await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn basic_auth_scheme_is_case_insensitive() {
    let login = Some(BasicAuth::new("robot", "hunter2"));
    let options = ServerOptions::default().basic_auth(login);
    let registry = Registry::with(MemoryStorage::default(), options).await;
    for (given, status) in [
        ("Basic cm9ib3Q6aHVudGVyMg==", StatusCode::OK),
        ("basic  cm9ib3Q6aHVudGVyMg==", StatusCode::OK),
        ("Bearer cm9ib3Q6aHVudGVyMg==", StatusCode::UNAUTHORIZED),
        ("Basic cm9ib3Q6aHVudGVyMw==", StatusCode::UNAUTHORIZED),
        ("Basic", StatusCode::UNAUTHORIZED),
    ] {
        let answer = registry.send("GET", "/v2/", b"", &[("authorization", given)]).await;
        assert_eq!(answer.status(), status, "{given}");
    }
}

#[tokio::test]
async fn referrers_are_filtered_and_deleted() {
    everywhere(async |registry| {
        let config = registry.push_blob("a/one", b"{}").await;
        let subject = manifest(&config, "");
        assert_eq!(registry.push_manifest("a/one", "v1", &subject).await.status(), StatusCode::CREATED);
        let digest = Digest::of(subject.as_bytes());
        let list = format!("/v2/a/one/referrers/{digest}");
        let names = async |path: &str| {
            let answer = registry.ask("GET", path, b"").await;
            assert_eq!(header(&answer, "content-type"), media_type::OCI_INDEX);
            let filtered = header(&answer, "oci-filters-applied").to_owned();
            let index: serde_json::Value =
                serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            let kinds = index["manifests"].as_array().unwrap().iter();
            let kinds: Vec<String> =
                kinds.map(|one| one["artifactType"].as_str().unwrap().to_owned()).collect();
            (kinds, filtered)
        };
        assert_eq!(names(&list).await, (vec![], String::new()));
        let refers = format!(
            r#","artifactType":"text/signature","subject":{{"mediaType":"{}","digest":"{digest}","size":{}}}"#,
            media_type::OCI_MANIFEST,
            subject.len()
        );
        let signature = manifest(&config, &refers);
        let pushed = registry.push_manifest("a/one", &Digest::of(signature.as_bytes()).to_string(), &signature).await;
        assert_eq!((pushed.status(), header(&pushed, "oci-subject")), (StatusCode::CREATED, &*digest.to_string()));
        assert_eq!(names(&list).await, (vec!["text/signature".to_owned()], String::new()));
        let other = names(&format!("{list}?artifactType=text%2Fother")).await;
        assert_eq!(other, (vec![], "artifactType".to_owned()));
        let gone = format!("/v2/a/one/manifests/{}", Digest::of(signature.as_bytes()));
        assert_eq!(registry.ask("DELETE", &gone, b"").await.status(), StatusCode::ACCEPTED);
        assert_eq!(names(&list).await, (vec![], String::new()));
    })
    .await;
}

#[tokio::test]
async fn put_manifest_without_blobs_is_rejected() {
    everywhere(async |registry| {
        let config = registry.push_blob("other/place", b"{}").await;
        let answer = registry.push_manifest("a/one", "v1", &manifest(&config, "")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let tags = registry.ask("GET", "/v2/a/one/tags/list", b"").await;
        assert_eq!(tags.status(), StatusCode::NOT_FOUND);
    })
    .await;
}
