//! An embedded registry: a [`Storage`] over HTTP (OCI distribution specification 1.1).
//!
//! ```
//! use compass_registry::server::{Server, ServerOptions};
//! use compass_registry::storage::MemoryStorage;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), compass_registry::Error> {
//! let options = ServerOptions::default();
//! let server = Server::start(MemoryStorage::default(), "127.0.0.1:0", options).await?;
//! println!("docker push {}/demo/web:v1", server.host());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Registry::router`] mounts a registry in another HTTP server.

mod activity;
mod ambiguity;
mod blobs;
mod connections;
mod error;
mod manifests;
mod memory_budget;
mod metrics;
mod options;
mod request_body;
mod route;
mod send_speed;
mod stream_limit;
mod tls;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::handler::Handler as _;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Error;
use crate::min_speed::SpeedGuard;
use crate::storage::Storage;
use activity::Activity;
use error::ApiError;
use memory_budget::MemoryBudget;
use metrics::Metrics;
pub use options::{BasicAuth, ServerOptions};
use request_body::RequestBody;
use route::Route;
use stream_limit::StreamLimit;
pub use tls::TlsIdentity;
use uploads::Uploads;

/// The bounds of the interval between two searches for abandoned uploads.
const MIN_EXPIRY_INTERVAL: Duration = Duration::from_millis(10);
const MAX_EXPIRY_INTERVAL: Duration = Duration::from_hours(24);

/// A running registry server. Dropping it stops the server at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A registry on a [`Storage`], without a network address. Clones share its uploads and limits.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use compass_registry::server::{Registry, ServerOptions};
/// use compass_registry::storage::MemoryStorage;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let registry = Registry::new(MemoryStorage::default(), &ServerOptions::default());
/// let app = Router::new().route("/healthz", get(|| async { "ok" })).merge(registry.router());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let stopped = async { axum::serve(listener, app).await };
/// # tokio::time::timeout(std::time::Duration::from_millis(1), stopped).await.unwrap_or(Ok(()))
/// # }
/// ```
#[derive(Clone)]
pub struct Registry {
    storage: Arc<dyn Storage>,
    uploads: Arc<Uploads>,
    upload_idle_timeout: Duration,
    login: Option<BasicAuth>,
    read_only: bool,
    body_idle_timeout: Duration,
    /// A new guard for the speed of a request body.
    speed_guard: SpeedGuard,
    received_memory: MemoryBudget,
    sent_memory: MemoryBudget,
    streams: StreamLimit,
    metrics: Metrics,
}

impl Server {
    /// Serves a storage at an address. Port 0 selects a free port.
    ///
    /// Beside the distribution API, `/healthz` answers 200, and `/metrics` has numbers in the text
    /// format of Prometheus.
    ///
    /// # Errors
    /// [`Error::Io`] if the address cannot be used.
    pub async fn start(
        storage: impl Storage,
        address: &str,
        options: ServerOptions,
    ) -> Result<Self, Error> {
        let (listener, address) = listen(address).await?;
        let registry = Registry::new(storage, &options);
        // The fallback answers requests outside of the API as registries do.
        let router = registry
            .router()
            .route("/healthz", get(async || "ok\n"))
            .route("/metrics", get(metrics_page).with_state(registry.clone()))
            .fallback_service(handle.with_state(registry.clone()));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = connections::serve(listener, router, &options, stopped) => {}
                () = registry.expire_loop() => {}
            }
        });
        Ok(Self { address, stop: Some(stop), task })
    }

    /// Serves other routes than those of a registry, with the options of connections.
    ///
    /// # Errors
    /// [`Error::Io`] if the address cannot be used.
    pub async fn start_router(
        router: Router,
        address: &str,
        options: ServerOptions,
    ) -> Result<Self, Error> {
        let (listener, address) = listen(address).await?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            connections::serve(listener, router, &options, stopped).await;
        });
        Ok(Self { address, stop: Some(stop), task })
    }

    /// Returns the host in the names of this registry's images, as `127.0.0.1:5000`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Waits until the server fails. Without a failure, it does not return.
    ///
    /// # Errors
    /// Always returns the [`Error::Io`] of the failure.
    pub async fn stopped(mut self) -> Result<(), Error> {
        let _ = (&mut self.task).await;
        let reason = std::io::Error::other("the server task ended");
        Err(Error::io(format!("the server at {} stopped", self.address), reason))
    }

    /// Completes the requests in progress, and stops.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error| Error::io(format!("cannot listen at {address}"), error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn handle(State(registry): State<Registry>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let activity = parts.extensions.get::<Arc<Activity>>();
    let set_working = |is_working| activity.iter().for_each(|one| one.set_working(is_working));
    set_working(true);
    let mut response = registry.handle(&parts, body).await.unwrap_or_else(ApiError::into_response);
    set_working(false);
    registry.metrics.count_request(response.status().as_u16());
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    response
}

async fn metrics_page(State(registry): State<Registry>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if let Err(refused) = registry.authorize(&parts) {
        return refused.into_response();
    }
    let text = registry.metrics.text(&registry.storage.metrics());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

impl Registry {
    /// Creates a registry. Options of connections have no effect.
    pub fn new(storage: impl Storage, options: &ServerOptions) -> Self {
        Self {
            storage: Arc::new(storage),
            uploads: Arc::default(),
            upload_idle_timeout: options.upload_idle_timeout,
            login: options.basic_auth.clone(),
            read_only: options.read_only,
            body_idle_timeout: options.body_idle_timeout,
            speed_guard: options.body_speed_guard(),
            received_memory: MemoryBudget::new(options.manifest_memory / 2),
            sent_memory: MemoryBudget::new(options.manifest_memory / 2),
            streams: StreamLimit::new(options),
            metrics: Metrics::default(),
        }
    }

    /// Returns the routes of the distribution API, which are all below `/v2`.
    ///
    /// The routes have the limits of [`ServerOptions`] for bodies, memory and uploads. The server
    /// that mounts them limits its connections, and does not change the paths: the specification
    /// does not allow a prefix before `/v2`.
    pub fn router(&self) -> Router {
        let paths = ["/v2", "/v2/", "/v2/{*path}"];
        let routed = |router: Router<Self>, path| router.route(path, any(handle));
        paths.into_iter().fold(Router::new(), routed).with_state(self.clone())
    }

    /// Removes the uploads that have been idle for [`ServerOptions::upload_idle_timeout`].
    ///
    /// A [`Server`] does so periodically. Other servers that mount the routes call this from time
    /// to time, for example every minute.
    pub async fn expire_uploads(&self) {
        self.remove_uploads(self.upload_idle_timeout).await;
    }

    /// Removes the uploads that have been idle for this long.
    pub(crate) async fn remove_uploads(&self, idle: Duration) {
        self.uploads.expire_idle(idle).await;
    }

    /// Removes abandoned uploads periodically. Never returns.
    async fn expire_loop(&self) {
        let interval = self.upload_idle_timeout / 4;
        let mut tick =
            tokio::time::interval(interval.clamp(MIN_EXPIRY_INTERVAL, MAX_EXPIRY_INTERVAL));
        loop {
            tick.tick().await;
            self.expire_uploads().await;
        }
    }

    async fn handle(&self, request: &Parts, body: Body) -> Result<Response, ApiError> {
        self.authorize(request)?;
        let path = percent_encoding::percent_decode_str(request.uri.path()).decode_utf8_lossy();
        let route = Route::parse(&path)?;
        let body = RequestBody::new(body, request, self);
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        match route {
            Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) if !reads => {
                Err(ApiError::unsupported("this resource is read-only"))
            }
            Route::Base => Ok(StatusCode::OK.into_response()),
            Route::Catalog => self.catalog(request).await,
            Route::Tags(repository) => self.tags(&repository, request).await,
            Route::Manifest(repository, reference) => {
                self.manifest(&repository, &reference, request, body).await
            }
            Route::Blob(repository, digest) => self.blob(&repository, &digest, request).await,
            Route::Referrers(repository, digest) => {
                self.referrers(&repository, &digest, request).await
            }
            Route::Uploads(repository) => self.begin_upload(&repository, request, body).await,
            Route::Upload(repository, id) => self.upload(&repository, &id, request, body).await,
        }
    }

    fn authorize(&self, request: &Parts) -> Result<(), ApiError> {
        if let Some(expected) = &self.login {
            let given = request.headers.get(header::AUTHORIZATION);
            let given = given.and_then(|given| given.to_str().ok()?.split_once(' '));
            let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
            if given.is_none_or(|(_, given)| !expected.is_equal(given.trim())) {
                return Err(ApiError::unauthorized());
            }
        }
        if self.read_only && !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Err(ApiError::unsupported("this registry is read-only"));
        }
        Ok(())
    }
}
