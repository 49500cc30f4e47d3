//! The embedded registry, request by request (OCI distribution specification 1.1).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod manifests;
mod operation;
mod storages;
mod uploads;

use compass_registry::http::HttpOptions;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{DiskStorage, MemoryStorage, Storage};
use compass_registry::{Digest, media_type};
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
        Self { server, http: HttpOptions::default().build().unwrap() }
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
