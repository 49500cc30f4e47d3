//! Connections: how many there are at once, and how long each may be silent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use super::ServerOptions;

/// Until a connection is looked for again where the system has no room for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Longer than anyone waits, and short enough to be added to any moment.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Serves until it is told to stop, or until nobody can tell it any more; what has been asked by
/// then is answered. Dropped, it breaks off.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    options: &ServerOptions,
    mut stopped: oneshot::Receiver<()>,
) {
    let room = Arc::new(Semaphore::new(options.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let patience = options.connection_patience.min(LONGEST);
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    loop {
        let (permit, socket) = tokio::select! {
            next = next(&listener, &room) => next,
            _ = &mut stopped => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let mut socket = TimeoutStream::new(socket);
        // Who asks for a blob and does not read it takes a connection away from others.
        socket.set_write_timeout(Some(patience));
        let socket = TokioIo::new(Box::pin(socket));
        let connection = graceful.watch(http.serve_connection(socket, service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, as soon as there is room for it.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream) {
    // The semaphore is never closed; without a permit there would only be more at once.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (permit, socket),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether a client went away before it was served; otherwise the system lacks something, as files
/// that a process may open.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
