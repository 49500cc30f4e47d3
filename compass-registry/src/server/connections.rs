//! Accepts connections, limits their number, and closes idle ones.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, track};
use super::options::MAX_TIMEOUT;
use super::send_speed::SendSpeedStream;
use super::{ServerOptions, TlsIdentity};

/// The delay before accepting again after the system lacked resources for a connection.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// The time limit for the handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of a response that may wait for a client in memory, if there are many connections.
const MAX_BUFFERED: usize = 64 << 10;

/// [`MAX_BUFFERED`], up to [`SOME_CONNECTIONS`].
const MAX_BUFFERED_BY_SOME: usize = 128 << 10;

/// [`MAX_BUFFERED`], up to [`FEW_CONNECTIONS`]. A client that is faster than the server sleeps after
/// each write, and waking it up takes as long as sending 100 KiB, so the writes are large.
const MAX_BUFFERED_BY_FEW: usize = 512 << 10;

/// The number of connections with large writes, which bounds their memory.
const FEW_CONNECTIONS: usize = 16;

/// The number of connections with writes of at least [`MAX_BUFFERED_BY_SOME`].
const SOME_CONNECTIONS: usize = 64;

/// The maximum size of the headers of a request in bytes.
const MAX_HEADERS: usize = 64 << 10;

/// The interval between two searches for an idle connection to close.
const EVICTION_INTERVAL: Duration = Duration::from_millis(250);

/// Serves connections until `stopped` is signalled or its sender is dropped. Then completes the
/// requests in progress. If the future is dropped, the requests are aborted.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    options: &ServerOptions,
    mut stopped: oneshot::Receiver<()>,
) {
    let slots = ConnectionSlots::new(options);
    let idle_timeout = options.connection_idle_timeout.min(MAX_TIMEOUT);
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle_timeout).max_header_size(MAX_HEADERS);
    loop {
        let (permit, socket) = tokio::select! {
            next = accept(&listener, &slots) => next,
            _ = &mut stopped => break,
        };
        let activity = Arc::new(Activity::new());
        let service = router.clone().layer(Extension(Arc::clone(&activity)));
        let socket = track(socket, &activity);
        let socket = SendSpeedStream::new(socket, options.speed_guard());
        let tls = options.tls.as_ref().map(TlsIdentity::acceptor);
        let (watcher, place) = (graceful.watcher(), slots.register(activity));
        http.max_buf_size(max_buffered(slots.count()));
        let connection = Connection { http: http.clone(), service, tls };
        let number = place.number;
        let handle = connections.spawn(async move {
            let _place = (permit, place);
            if let Err(error) = connection.run(socket, watcher).await {
                tracing::debug!(%error, "a connection failed");
            }
        });
        slots.set_handle(number, handle);
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The bytes of a response that may wait in memory for the latest of several clients.
fn max_buffered(connections: usize) -> usize {
    match connections {
        count if count <= FEW_CONNECTIONS => MAX_BUFFERED_BY_FEW,
        count if count <= SOME_CONNECTIONS => MAX_BUFFERED_BY_SOME,
        _ => MAX_BUFFERED,
    }
}

/// How to serve a connection.
struct Connection {
    http: http1::Builder,
    service: Router,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    async fn run(
        self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        watcher: Watcher,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let service = TowerToHyperService::new(self.service);
        match self.tls {
            None => {
                let served = self.http.serve_connection(TokioIo::new(socket), service);
                Ok(watcher.watch(served).await?)
            }
            Some(tls) => {
                let accepted =
                    tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await??;
                let served = self.http.serve_connection(TokioIo::new(accepted), service);
                Ok(watcher.watch(served).await?)
            }
        }
    }
}

/// Connection slots, and the connections that occupy them.
#[derive(Clone)]
struct ConnectionSlots {
    free: Arc<Semaphore>,
    /// How long a client may be idle while all slots are in use.
    idle_timeout: Duration,
    open: Arc<Mutex<OpenConnections>>,
}

#[derive(Default)]
struct OpenConnections {
    count: u64,
    connections: HashMap<u64, OpenConnection>,
}

struct OpenConnection {
    activity: Arc<Activity>,
    /// Aborts the connection; `None` until its task has been spawned.
    handle: Option<AbortHandle>,
}

/// The slot of one connection, freed on drop.
struct SlotGuard {
    number: u64,
    open: Arc<Mutex<OpenConnections>>,
}

impl ConnectionSlots {
    fn new(options: &ServerOptions) -> Self {
        let connections = options.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(connections)),
            idle_timeout: options.idle_timeout_when_full,
            open: Arc::default(),
        }
    }

    /// Waits for a slot, and closes the most idle connection if none becomes free.
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        let mut acquiring = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            tokio::select! {
                biased;
                // The semaphore is never closed. If it were, connections would be accepted without
                // a limit.
                permit = &mut acquiring => return permit.ok(),
                () = tokio::time::sleep(EVICTION_INTERVAL) => self.evict_most_idle(),
            }
        }
    }

    fn evict_most_idle(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = open.connections.values().filter_map(|connection| {
            let idle = connection.activity.idle_time()?;
            Some((idle, connection.handle.as_ref()?))
        });
        let idle = idle.filter(|(idle, _)| *idle >= self.idle_timeout);
        if let Some((_, handle)) = idle.max_by_key(|(idle, _)| *idle) {
            tracing::debug!("closing an idle connection for another client");
            handle.abort();
        }
    }

    fn register(&self, activity: Arc<Activity>) -> SlotGuard {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.count += 1;
        let number = open.count;
        open.connections.insert(number, OpenConnection { activity, handle: None });
        SlotGuard { number, open: Arc::clone(&self.open) }
    }

    /// The number of open connections.
    fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// Stores the handle that aborts a connection, unless the connection has ended.
    fn set_handle(&self, number: u64, handle: AbortHandle) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = open.connections.get_mut(&number) {
            connection.handle = Some(handle);
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.number);
    }
}

/// Waits for a slot and accepts the next connection.
async fn accept(
    listener: &TcpListener,
    slots: &ConnectionSlots,
) -> (Option<OwnedSemaphorePermit>, TcpStream) {
    let permit = slots.acquire().await;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (permit, socket),
            Err(error) if is_peer_error(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether the client disconnected before it was accepted. Otherwise the system lacks a resource,
/// such as file descriptors.
fn is_peer_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_buffered_of_256_connections_is_bounded() {
        let sum: usize = (1..=256).map(max_buffered).sum();
        assert_eq!(max_buffered(FEW_CONNECTIONS), MAX_BUFFERED_BY_FEW);
        assert_eq!(max_buffered(SOME_CONNECTIONS), MAX_BUFFERED_BY_SOME);
        assert!(sum <= 256 * (128 << 10), "{sum}");
    }
}
