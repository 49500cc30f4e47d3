//! A registry that injects scripted faults.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;

use super::fault::{Fault, Script};
use super::kill_switch::{KillSwitch, KillableListener};
use crate::Secret;
use crate::client::Credentials;
use crate::server::{Registry, Server, ServerOptions, listen};
use crate::storage::Storage;
use crate::{ByteStream, Error};

/// A registry with token authentication that injects scripted faults. Dropping it stops it.
#[derive(Debug)]
pub struct FaultyRegistry {
    address: SocketAddr,
    state: Arc<FaultState>,
    task: JoinHandle<()>,
    /// The target of redirects.
    _elsewhere: Server,
}

struct FaultState {
    script: Script,
    registry: Registry,
    elsewhere: String,
    host: String,
    basic: String,
    requests: AtomicUsize,
    blob_bytes: Arc<AtomicU64>,
    tokens: Mutex<(u64, HashSet<String>)>,
}

impl FaultyRegistry {
    /// The only user.
    pub const USER: &'static str = "robot";
    /// The user's password.
    pub const PASSWORD: &'static str = "hunter2";

    /// Returns the credentials of the user.
    pub fn credentials() -> Credentials {
        let (username, password) = (Self::USER.to_owned(), Secret::new(Self::PASSWORD));
        Credentials::Password { username, password }
    }

    /// Serves a storage at a free local port.
    ///
    /// # Errors
    /// [`Error::Io`] if no port is available.
    pub async fn start(storage: impl Storage + Clone, script: Script) -> Result<Self, Error> {
        let options = ServerOptions::default();
        let elsewhere = Server::start(storage.clone(), "127.0.0.1:0", options.clone()).await?;
        let (listener, address) = listen("127.0.0.1:0").await?;
        let registry = Registry::new(storage, &options);
        let pair = format!("{}:{}", Self::USER, Self::PASSWORD);
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        let state = Arc::new(FaultState {
            script,
            registry: registry.clone(),
            elsewhere: elsewhere.host(),
            host: address.to_string(),
            basic: format!("Basic {encoded}"),
            requests: AtomicUsize::new(0),
            blob_bytes: Arc::default(),
            tokens: Mutex::default(),
        });
        let router = registry.router().layer(from_fn_with_state(Arc::clone(&state), inject_fault));
        let service = router.into_make_service_with_connect_info::<KillSwitch>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(KillableListener(listener), service).await {
                tracing::error!(%error, "the registry stopped");
            }
        });
        Ok(Self { address, state, task, _elsewhere: elsewhere })
    }

    /// Returns the host in the names of this registry's images.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns the number of requests, except token requests.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Returns the number of issued tokens.
    pub fn tokens(&self) -> u64 {
        self.state.tokens().0
    }

    /// Returns the number of blob bytes sent, whether or not they arrived.
    pub fn blob_bytes(&self) -> u64 {
        self.state.blob_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for FaultState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultState").field("script", &self.script).finish_non_exhaustive()
    }
}

async fn inject_fault(
    State(state): State<Arc<FaultState>>,
    ConnectInfo(switch): ConnectInfo<KillSwitch>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.uri().path() == "/token" {
        return state.token(&request);
    }
    let number = state.requests.fetch_add(1, Ordering::Relaxed);
    let fault = state.script.at(number);
    if fault == Some(Fault::ExpiredTokens) {
        state.tokens().1.clear();
    }
    if fault == Some(Fault::Unauthorized) || !state.is_authorized(&request) {
        return state.challenge();
    }
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    match fault {
        Some(Fault::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return (status, "<html>not from the registry</html>").into_response();
        }
        Some(Fault::TooMany(pause)) => {
            let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
            if let Some(pause) = pause {
                response.headers_mut().insert(header::RETRY_AFTER, pause.into());
            }
            return response;
        }
        Some(Fault::Redirect) if reading => return state.redirect(&request),
        Some(Fault::LostUploads) => state.registry.remove_uploads(Duration::ZERO).await,
        Some(Fault::IgnoredRange) => drop(request.headers_mut().remove(header::RANGE)),
        _ => {}
    }
    let is_blob =
        request.method() == Method::GET && request.uri().path().contains("/blobs/sha256:");
    let is_head = request.method() == Method::HEAD;
    let mut limit = Limit::of(fault, switch);
    if let Some(limit) = &limit {
        request = request.map(|body| limit.clone().limit_body(body, false));
    }
    let response = next.run(request).await;
    let response = alter_response(fault, is_head, response);
    if let Some(limit) = &mut limit {
        if limit.is_over() || is_head || is_empty(&response) {
            return limit.end().await;
        }
        return response.map(|body| limit.clone().limit_body(body, true));
    }
    if is_blob {
        let count = Arc::clone(&state.blob_bytes);
        return response.map(|body| count_body_bytes(body, count));
    }
    response
}

fn is_empty(response: &Response) -> bool {
    let length = response.headers().get(header::CONTENT_LENGTH);
    length.is_none_or(|length| length == "0")
}

fn count_body_bytes(body: Body, count: Arc<AtomicU64>) -> Body {
    Body::from_stream(body.into_data_stream().inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }))
}

impl FaultState {
    fn tokens(&self) -> std::sync::MutexGuard<'_, (u64, HashSet<String>)> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn token(&self, request: &Request) -> Response {
        let given = request.headers().get(header::AUTHORIZATION);
        if given.is_none_or(|given| given != self.basic.as_str()) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let mut tokens = self.tokens();
        tokens.0 += 1;
        let token = format!("token-{}", tokens.0);
        tokens.1.insert(format!("Bearer {token}"));
        format!(r#"{{"token":"{token}","expires_in":300}}"#).into_response()
    }

    fn is_authorized(&self, request: &Request) -> bool {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|given| given.to_str().ok());
        given.is_some_and(|given| self.tokens().1.contains(given))
    }

    fn challenge(&self) -> Response {
        let challenge = format!(r#"Bearer realm="http://{}/token",service="test""#, self.host);
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    }

    fn redirect(&self, request: &Request) -> Response {
        let location = format!("http://{}{}", self.elsewhere, request.uri());
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
    }
}

fn alter_response(fault: Option<Fault>, is_head: bool, mut response: Response) -> Response {
    match fault {
        Some(Fault::WrongLength(by)) if !is_head => {
            let headers = response.headers_mut();
            let length = headers
                .get(header::CONTENT_LENGTH)
                .and_then(|l| l.to_str().ok()?.parse::<i64>().ok());
            if let Some(length) = length {
                let wrong = (length + i64::from(by)).max(0);
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(wrong));
            }
            // The body must have an unknown length; otherwise the server would correct the header.
            response.map(|body| Body::from_stream(body.into_data_stream()))
        }
        Some(Fault::WrongByte(at)) if !is_head => response.map(|body| with_wrong_byte(body, at)),
        _ => response,
    }
}

fn with_wrong_byte(body: Body, at: u64) -> Body {
    let mut passed = 0;
    Body::from_stream(body.into_data_stream().map(move |chunk| {
        chunk.map(|chunk| {
            let start = passed;
            passed += chunk.len() as u64;
            if !(start..passed).contains(&at) {
                return chunk;
            }
            let mut bytes = chunk.to_vec();
            if let Some(byte) = usize::try_from(at - start).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 0x20;
            }
            Bytes::from(bytes)
        })
    }))
}

/// The number of bytes that may pass, and the fault that follows.
#[derive(Clone)]
struct Limit {
    left: Arc<AtomicU64>,
    switch: KillSwitch,
    then: Fault,
}

impl Limit {
    fn of(fault: Option<Fault>, switch: KillSwitch) -> Option<Self> {
        let then = fault?;
        let (Fault::Cut(left) | Fault::Reset(left) | Fault::Stall(left)) = then else {
            return None;
        };
        Some(Self { left: Arc::new(AtomicU64::new(left)), switch, then })
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// Breaks the connection unless the fault is a stall, and never responds.
    async fn end(&self) -> Response {
        match self.then {
            Fault::Stall(_) => {}
            then => self.switch.kill(matches!(then, Fault::Reset(_))),
        }
        std::future::pending().await
    }

    /// Limits a body. The fault occurs at the limit or, in a response, at its end if that comes
    /// first.
    fn limit_body(self, body: Body, is_answer: bool) -> Body {
        let bytes: ByteStream = body
            .into_data_stream()
            .map(|chunk| chunk.map_err(|error| Error::io("the body", std::io::Error::other(error))))
            .boxed();
        Body::from_stream(stream::unfold((self, bytes), move |(limit, mut bytes)| async move {
            if limit.is_over() {
                limit.end().await;
            }
            let chunk = match bytes.next().await {
                Some(Ok(chunk)) => chunk,
                None if is_answer => {
                    limit.end().await;
                    return None;
                }
                other => return other.map(|chunk| (chunk, (limit, bytes))),
            };
            let left = limit.left.load(Ordering::SeqCst);
            let kept = chunk.slice(..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            limit.left.fetch_sub(kept.len() as u64, Ordering::SeqCst);
            Some((Ok(kept), (limit, bytes)))
        }))
    }
}
