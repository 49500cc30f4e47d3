//! The embedded registry, request by request (OCI distribution specification 1.1).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{DiskStorage, MemoryStorage, Storage};
use compass_registry::{Digest, Repository, media_type};
use reqwest::{Client, Method, Response, StatusCode};

struct Registry {
    server: Server,
    http: Client,
}

impl Registry {
    async fn serving(storage: impl Storage) -> Self {
        Self::with(storage, ServerOptions::default()).await
    }

    async fn with(storage: impl Storage, options: ServerOptions) -> Self {
        // No client installs a crypto provider here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Server::start(storage, "127.0.0.1:0", options).await.unwrap();
        Self { server, http: Client::new() }
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.send(method, path, body, &[]).await
    }

    async fn send(&self, method: &str, path: &str, body: &[u8], with: &[(&str, &str)]) -> Response {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("http://{}{path}", self.server.host());
        let request = self.http.request(method, url).body(body.to_vec());
        let request =
            with.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }

    async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.ask("POST", &path, bytes).await.status(), StatusCode::CREATED);
        digest
    }

    async fn push_manifest(&self, repository: &str, tag: &str, text: &str) -> Response {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.send("PUT", &path, text.as_bytes(), &[("content-type", media_type::OCI_MANIFEST)])
            .await
    }
}

/// Runs a test with every storage.
async fn everywhere<F: Future<Output = ()>>(test: impl Fn(Registry) -> F) {
    test(Registry::serving(MemoryStorage::default()).await).await;
    let directory = tempfile::tempdir().unwrap();
    test(Registry::serving(DiskStorage::new(directory.path())).await).await;
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn manifest(config: &Digest, more: &str) -> String {
    let kind = media_type::OCI_CONFIG;
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{kind}","digest":"{config}","size":2}},"layers":[]{more}}}"#,
        media_type::OCI_MANIFEST
    )
}

#[tokio::test]
async fn blob_belongs_to_its_repositories_only() {
    everywhere(async |registry| {
        let digest = registry.push_blob("a/one", b"{}").await;
        let status = async |name: &str| {
            registry.ask("HEAD", &format!("/v2/{name}/blobs/{digest}"), b"").await.status()
        };
        assert_eq!(
            (status("a/one").await, status("b/two").await),
            (StatusCode::OK, StatusCode::NOT_FOUND)
        );
        let mount = format!("/v2/b/two/blobs/uploads/?mount={digest}&from=a/one");
        assert_eq!(registry.ask("POST", &mount, b"").await.status(), StatusCode::CREATED);
        assert_eq!(status("b/two").await, StatusCode::OK);
        let one = format!("/v2/a/one/blobs/{digest}");
        assert_eq!(registry.ask("DELETE", &one, b"").await.status(), StatusCode::ACCEPTED);
        assert_eq!(registry.ask("DELETE", &one, b"").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            (status("a/one").await, status("b/two").await),
            (StatusCode::NOT_FOUND, StatusCode::OK)
        );
    })
    .await;
}

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
async fn cancelled_or_mismatched_upload_leaves_no_blob() {
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
    let options = ServerOptions {
        upload_idle_timeout: Duration::from_millis(50),
        ..ServerOptions::default()
    };
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

/// Starts a `PATCH` whose body never ends, and returns its connection once these bytes have
/// arrived.
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
    // Long enough for a busy machine to send three bytes.
    let (upload_idle_timeout, body_idle_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let options =
        ServerOptions { upload_idle_timeout, body_idle_timeout, ..ServerOptions::default() };
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
            // The server stops reading when the budget is used up.
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
async fn empty_image(registry: &Registry, more: &str) -> String {
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
async fn put_manifest_with_other_type_is_rejected() {
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
async fn get_blob_racing_delete_is_never_server_error() {
    everywhere(async |registry| {
        let blob = format!("/v2/a/one/blobs/{}", Digest::of(b"raced"));
        let reads = async {
            for _ in 0..300 {
                let status = registry.ask("GET", &blob, b"").await.status();
                assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND), "{status}");
            }
        };
        let writes = async {
            for _ in 0..100 {
                registry.push_blob("a/one", b"raced").await;
                registry.ask("DELETE", &blob, b"").await;
            }
        };
        tokio::join!(reads, writes);
    })
    .await;
}

#[tokio::test]
async fn open_removes_leftovers_of_killed_processes() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::serving(DiskStorage::new(directory.path())).await;
    let text = empty_image(&registry, "").await;
    assert_eq!(registry.push_manifest("a/one", "v1", &text).await.status(), StatusCode::CREATED);
    drop(registry);
    let one = directory.path().join("repositories/a/one");
    let leftovers = [
        directory.path().join(".part-a1"),
        directory.path().join("uploads/.upload-b2"),
        one.join("_tags/.part-c3"),
        one.join("_blobs/.part-d4"),
    ];
    for leftover in &leftovers {
        std::fs::write(leftover, "half").unwrap();
    }
    let storage = DiskStorage::open_exclusive(directory.path()).await.unwrap();
    for leftover in &leftovers {
        assert!(!leftover.exists(), "{}", leftover.display());
    }
    let registry = Registry::serving(storage).await;
    let tag = registry.ask("GET", "/v2/a/one/manifests/v1", b"").await;
    assert_eq!(tag.text().await.unwrap(), text);
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

#[tokio::test]
async fn escaped_paths_work_and_reads_reject_writes() {
    let registry = Registry::serving(MemoryStorage::default()).await;
    let digest = registry.push_blob("a/one", b"abc").await;
    let escaped = format!("/v2/a%2Fone/blobs/{}", digest.to_string().replace(':', "%3a"));
    assert_eq!(registry.ask("GET", &escaped, b"").await.text().await.unwrap(), "abc");
    let head = registry.send("HEAD", &escaped, b"", &[("range", "bytes=1-1")]).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "3"));
    let referrers = format!("/v2/a/one/referrers/{digest}");
    for path in ["/v2/", "/v2/_catalog", "/v2/a/one/tags/list", &referrers] {
        let answer = registry.ask("DELETE", path, b"").await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn basic_auth_scheme_is_case_insensitive() {
    let login = Some(("robot".to_owned(), "hunter2".to_owned()));
    let options = ServerOptions { basic_auth: login, ..ServerOptions::default() };
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

#[tokio::test]
async fn leftovers_are_removed_by_next_server() {
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(directory.path());
    let name: Repository = "a/one".parse().unwrap();
    let mut abandoned = storage.begin_upload(&name).await.unwrap();
    abandoned.append("half".into()).await.unwrap();
    // A killed process does not clean up.
    std::mem::forget(abandoned);
    let mut used = storage.begin_upload(&name).await.unwrap();
    used.append("used".into()).await.unwrap();
    used.commit(&Digest::of(b"used")).await.unwrap();
    let unused = directory.path().join("blobs/sha256").join(Digest::of(b"unused").hex());
    std::fs::write(&unused, "unused").unwrap();

    let alone = DiskStorage::open_exclusive(directory.path()).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
    assert!(!unused.exists());
    assert_eq!(alone.blob_size(&name, &Digest::of(b"used")).await.unwrap(), Some(4));
    let error = DiskStorage::open_exclusive(directory.path()).await.unwrap_err();
    assert!(format!("{error:?}").contains("another process serves"), "{error:?}");
    drop(alone);
    DiskStorage::open_exclusive(directory.path()).await.unwrap();
}

#[tokio::test]
async fn directory_with_other_content_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let blob = directory.path().join("blobs/sha256").join("a".repeat(64));
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(&blob, "x").unwrap();
    let marker = directory.path().join("oci-layout");
    std::fs::write(&marker, "{}").unwrap();
    let is_refused = async || {
        let error = DiskStorage::open_exclusive(directory.path()).await.unwrap_err();
        assert!(error.to_string().contains("choose an empty directory"), "{error}");
        assert!(!directory.path().join(".compass-registry").exists());
    };
    is_refused().await;
    std::fs::remove_file(&marker).unwrap();
    is_refused().await;
    std::fs::create_dir_all(directory.path().join("repositories/readme")).unwrap();
    is_refused().await;
    assert!(blob.exists());

    std::fs::remove_dir_all(directory.path().join("blobs")).unwrap();
    std::fs::remove_dir_all(directory.path().join("repositories")).unwrap();
    std::fs::write(directory.path().join("photo.jpg"), "x").unwrap();
    is_refused().await;
    std::fs::remove_file(directory.path().join("photo.jpg")).unwrap();
    std::fs::create_dir(directory.path().join("lost+found")).unwrap();
    DiskStorage::open_exclusive(directory.path()).await.unwrap();
    DiskStorage::open_exclusive(directory.path()).await.unwrap();
}
