//! A registry with quirks: the embedded one behind a proxy that handles some requests itself, or
//! alters responses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use compass_registry::client::{Client, ClientOptions, Credentials};
use compass_registry::http::HttpOptions;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{SampleImage, read_image};
use compass_registry::{
    CopyReport, Destination, Error, ImageRef, Repository, RetryPolicy, Secret, Tag, TagOrDigest,
};

/// A request as the proxy received it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
    /// The number of earlier requests with this method and path.
    pub(crate) before: usize,
}

impl Asked {
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    pub(crate) fn authorization(&self) -> &str {
        self.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A registry with quirks. Dropping it stops it.
pub(crate) struct Quirky {
    pub(crate) host: String,
    pub(crate) storage: MemoryStorage,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    _server: Server,
}

impl Quirky {
    /// Starts a registry whose proxy handles some requests itself.
    pub(crate) async fn new(
        answer: impl Fn(&Asked) -> Option<Response> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::changing(answer, |_, response| response).await
    }

    /// Starts a registry whose proxy alters responses.
    pub(crate) async fn changed(
        change: impl Fn(&Asked, Response) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::changing(|_| None, change).await
    }

    pub(crate) async fn plain() -> Self {
        Self::new(|_| None).await
    }

    async fn changing(
        answer: impl Fn(&Asked) -> Option<Response> + Clone + Send + Sync + 'static,
        change: impl Fn(&Asked, Response) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let storage = MemoryStorage::default();
        let server = Server::start(storage.clone(), "127.0.0.1:0", ServerOptions::default());
        let server = server.await.unwrap();
        let (behind, log) = (server.host(), Arc::new(Mutex::new(Vec::new())));
        let (asked, http) = (Arc::clone(&log), HttpOptions::default().build().unwrap());
        let router = Router::new().fallback(move |request: Request| {
            let (answer, change) = (answer.clone(), change.clone());
            let (behind, asked, http) = (behind.clone(), Arc::clone(&asked), http.clone());
            async move {
                let request = note(request, &asked).await;
                match answer(&request) {
                    Some(response) => response,
                    None => change(&request, forward(&http, &behind, &request).await),
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, storage, asked: log, _server: server }
    }

    /// Counts requests by method and by a part of their path.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(own, path)| own == method && path.contains(part)).count()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.host, options()).unwrap()
    }

    pub(crate) fn client_with(&self, credentials: Credentials) -> Client {
        Client::new(&self.host, options().credentials(credentials)).unwrap()
    }
}

async fn note(request: Request, asked: &Mutex<Vec<(String, String)>>) -> Asked {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
    let mut asked = asked.lock().unwrap();
    let before = asked.iter().filter(|one| **one == (method.clone(), path.clone())).count();
    asked.push((method.clone(), path.clone()));
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Asked { method, path, query, headers: parts.headers, body, before }
}

async fn forward(http: &reqwest::Client, behind: &str, asked: &Asked) -> Response {
    let url = match asked.query.as_str() {
        "" => format!("http://{behind}{}", asked.path),
        query => format!("http://{behind}{}?{query}", asked.path),
    };
    let method = asked.method.parse().unwrap();
    let mut headers = asked.headers.clone();
    headers.remove(header::HOST);
    let request = http.request(method, url).headers(headers).body(asked.body.clone());
    let answered = request.send().await.unwrap();
    let (status, mut headers) = (answered.status(), answered.headers().clone());
    let is_head = asked.method == "HEAD";
    if !is_head {
        headers.remove(header::CONTENT_LENGTH);
    }
    let body = answered.bytes().await.unwrap();
    let body = if is_head { Body::empty() } else { Body::from(body) };
    (status, headers, body).into_response()
}

/// Returns options that retry without delays, and do not retry refused connections.
pub(crate) fn options() -> ClientOptions {
    let retry = RetryPolicy::default()
        .initial_backoff(Duration::from_millis(1))
        .connect_retry(Duration::ZERO)
        .idle_timeout(Duration::from_secs(10));
    ClientOptions::default().retry(retry)
}

pub(crate) fn robot() -> Credentials {
    Credentials::Password { username: "robot".to_owned(), password: Secret::new("hunter2") }
}

/// `robot:hunter2` for basic authentication.
pub(crate) const BASIC: &str = "Basic cm9ib3Q6aHVudGVyMg==";

pub(crate) fn name() -> Repository {
    "team/web".parse().unwrap()
}

pub(crate) fn tag() -> Tag {
    "v1".parse().unwrap()
}

pub(crate) fn by_tag() -> TagOrDigest {
    tag().into()
}

/// Returns an error response in the specified form.
pub(crate) fn says(status: u16, code: &str, message: &str) -> Response {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
    status_of(status, body.to_string())
}

pub(crate) fn status_of(status: u16, body: impl Into<Body>) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.into()).into_response()
}

/// Sets or removes a header of a response.
pub(crate) fn with_header(mut response: Response, name: &str, value: &str) -> Response {
    let name: header::HeaderName = name.parse().unwrap();
    match value {
        "" => drop(response.headers_mut().remove(name)),
        value => drop(response.headers_mut().insert(name, value.parse().unwrap())),
    }
    response
}

pub(crate) async fn store(quirky: &Quirky) -> SampleImage {
    let image = SampleImage::new(1, &[5000, 300]);
    image.store(&quirky.storage, &name(), &tag()).await.unwrap();
    image
}

/// Returns the image that the tests copy.
pub(crate) fn image_ref() -> ImageRef {
    ImageRef::new(name(), tag())
}

/// Copies an image from one registry to another, and reads it there.
pub(crate) async fn copy(source: Client, destination: &Quirky) -> Result<CopyReport, Error> {
    copy_with(source, destination.client(), &destination.storage).await
}

pub(crate) async fn copy_with(
    source: Client,
    sink: Client,
    storage: &MemoryStorage,
) -> Result<CopyReport, Error> {
    let (source, sink) = (Arc::new(source), Arc::new(sink));
    let to = Destination::new(name(), tag());
    let copied = compass_registry::copy(source, &image_ref(), sink, &to).await?;
    let stored = Storage::manifest(storage, &name(), &by_tag()).await.unwrap().unwrap();
    assert_eq!(stored.digest(), copied.digest);
    read_image(Arc::new(storage.clone()), &image_ref()).await.unwrap();
    Ok(copied)
}
