//! A site registry that records requests, counts received bytes and injects faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use compass_registry::server::{Registry, Server, ServerOptions};
use compass_registry::storage::MemoryStorage;

/// What the registry does instead of working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refuses uploads after it got this many bytes.
    Full { after: u64, status: u16 },
    /// Closes all connections without an answer after it got this many bytes.
    Dead { after: u64 },
    /// Answers late.
    Slow(Duration),
    /// Has no manifests.
    Empty,
    /// Refuses to open uploads.
    ReadOnly,
    /// Does not answer requests for blobs with this method.
    Hold(&'static str),
}

#[derive(Debug, Default)]
struct FaultState {
    fault: Mutex<Option<Fault>>,
    received: AtomicU64,
    requests: Mutex<Vec<String>>,
}

pub(crate) struct SiteRegistry {
    pub(crate) host: String,
    state: Arc<FaultState>,
    _server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl SiteRegistry {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let state = Arc::new(FaultState::default());
        let options = ServerOptions::default();
        let router = Registry::new(MemoryStorage::default(), &options).router();
        let router = router.layer(from_fn_with_state(Arc::clone(&state), inject));
        let server = Server::start_router(router, "127.0.0.1:0", options);
        let server = runtime.block_on(server).unwrap();
        Self { host: server.host(), state, _server: server, _runtime: runtime }
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Returns and clears the requests: method, path, and the status of the answer.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }

    /// Returns the bytes in uploads of blobs.
    pub(crate) fn received(&self) -> u64 {
        self.state.received.load(Ordering::Relaxed)
    }
}

async fn inject(State(state): State<Arc<FaultState>>, request: Request, next: Next) -> Response {
    let is_upload = request.uri().path().contains("/blobs/uploads/");
    let is_blob = request.uri().path().contains("/blobs/");
    let is_manifest = request.uri().path().contains("/manifests/");
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let length = if is_upload { body.len() as u64 } else { 0 };
    let received = state.received.fetch_add(length, Ordering::Relaxed) + length;
    let fault = *state.fault.lock().unwrap();
    match fault {
        Some(Fault::Full { after, status }) if length > 0 && received > after => {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = r#"{"errors": [{"code": "UNKNOWN", "message": "the disk is full"}]}"#;
            return (status, answer).into_response();
        }
        // The server closes the connection. Unlike a panic, this prints nothing.
        Some(Fault::Dead { after }) if received > after => std::panic::resume_unwind(Box::new(())),
        Some(Fault::Empty) if is_manifest && is_read => {
            return StatusCode::NOT_FOUND.into_response();
        }
        Some(Fault::ReadOnly) if is_upload && head.method == Method::POST => {
            return StatusCode::FORBIDDEN.into_response();
        }
        Some(Fault::Hold(method)) if is_blob && head.method == method => {
            let held = format!("{} {} held", head.method, head.uri.path());
            state.requests.lock().unwrap().push(held);
            std::future::pending().await
        }
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        _ => {}
    }
    let request = format!("{} {}", head.method, head.uri.path());
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    state.requests.lock().unwrap().push(format!("{request} {}", response.status().as_u16()));
    response
}
