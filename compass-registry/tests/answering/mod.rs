//! A server whose responses a test defines, and clients for it.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use compass_registry::client::{Client, ClientOptions, Credentials};
use compass_registry::storage::MemoryStorage;
use compass_registry::{Descriptor, Error, ImageSink as _, Repository, Secret, open_blob};

/// Starts a server that responds with a function, and returns its host.
pub(crate) async fn serve(
    answer: impl Fn(Request) -> Response + Clone + Send + Sync + 'static,
) -> String {
    serve_router(Router::new().fallback(move |request| std::future::ready(answer(request)))).await
}

/// Starts a server with a router, and returns its host.
pub(crate) async fn serve_router(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    host
}

pub(crate) fn options() -> ClientOptions {
    let username = "robot".to_owned();
    let credentials = Credentials::Password { username, password: Secret::new("hunter2") };
    ClientOptions::default().credentials(credentials)
}

pub(crate) fn client(host: &str) -> Client {
    Client::new(host, options()).unwrap()
}

pub(crate) fn name() -> Repository {
    "release/web".parse().unwrap()
}

/// The blob that most of these tests transfer.
pub(crate) fn layer() -> Descriptor {
    blob(b"layer")
}

/// Pushes the blob of [`layer`].
pub(crate) async fn push_layer(client: &Client) -> Result<(), Error> {
    push_blob(client, b"layer").await
}

pub(crate) async fn push_blob(client: &Client, bytes: &[u8]) -> Result<(), Error> {
    let storage = MemoryStorage::default();
    storage.add_blob(&name(), bytes);
    client.put_blob(&name(), open_blob(Arc::new(storage), &name(), &blob(bytes))).await
}

fn blob(bytes: &[u8]) -> Descriptor {
    Descriptor::of("text/plain", bytes)
}
