//! The options of a registry server.

use std::time::Duration;

use base64::Engine as _;

use super::TlsIdentity;
use crate::min_speed::SpeedGuard;

/// An upper limit of timeouts that is safe to add to any point in time.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_hours(365 * 24);

/// The minimum time between two checks of a client's speed.
const MIN_SPEED_WINDOW: Duration = Duration::from_millis(10);

/// Options of a [`Registry`](super::Registry), and of the connections of a [`Server`](super::Server).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The login that every request must carry. If `None`, every client has full access.
    pub basic_auth: Option<BasicAuth>,
    /// Rejects all requests that write.
    pub read_only: bool,
    /// The certificate of a [`Server`](super::Server). If `None`, it does not use TLS.
    pub tls: Option<TlsIdentity>,
    /// The maximum number of blobs that are sent at a time.
    pub max_streams: usize,
    /// How long a request for a blob waits while this many are being sent. Then it fails with
    /// status 503.
    pub stream_wait: Duration,
    /// How long an upload may be idle before it is removed.
    pub upload_idle_timeout: Duration,
    /// How long the body of a request may be idle before the request fails.
    pub body_idle_timeout: Duration,
    /// The memory in bytes for all manifests in transit. Half of it is for received manifests, and
    /// half for sent ones. A request waits until its share is free.
    pub manifest_memory: usize,
    /// The maximum number of connections of a [`Server`](super::Server). Further clients wait until a
    /// connection ends.
    pub max_connections: usize,
    /// How long a connection may be idle while all connections are in use. The one that has been
    /// idle longest is closed for the next client, so that stalled clients cannot block the server.
    pub idle_timeout_when_full: Duration,
    /// How long a client may take to send the head of the next request before its connection is
    /// closed.
    pub connection_idle_timeout: Duration,
    /// The bytes per second that a client must read of a response, or send of a request body, on
    /// average over [`Self::speed_window`] of waiting for it. 0 disables the check.
    ///
    /// The bytes of a response count when the system's send buffer takes them. It does so in steps
    /// of up to a third of its size, so a client that is a little faster may be disconnected, too.
    pub min_speed: u64,
    /// The waiting time for a client after which its speed is compared with [`Self::min_speed`]. For
    /// request bodies, it is at least [`Self::body_idle_timeout`].
    pub speed_window: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            basic_auth: None,
            read_only: false,
            tls: None,
            max_streams: 1024,
            stream_wait: Duration::from_secs(10),
            upload_idle_timeout: Duration::from_hours(1),
            body_idle_timeout: Duration::from_secs(30),
            manifest_memory: 64 << 20,
            max_connections: 1024,
            idle_timeout_when_full: Duration::from_secs(5),
            connection_idle_timeout: Duration::from_mins(2),
            min_speed: 1024,
            speed_window: Duration::from_mins(2),
        }
    }
}

setters!(ServerOptions {
    basic_auth: Option<BasicAuth>,
    read_only: bool,
    tls: Option<TlsIdentity>,
    max_streams: usize,
    stream_wait: Duration,
    upload_idle_timeout: Duration,
    body_idle_timeout: Duration,
    manifest_memory: usize,
    max_connections: usize,
    idle_timeout_when_full: Duration,
    connection_idle_timeout: Duration,
    min_speed: u64,
    speed_window: Duration,
});

impl ServerOptions {
    /// Checks how fast a client reads responses.
    pub(super) fn speed_guard(&self) -> SpeedGuard {
        self.guard_over(self.speed_window)
    }

    /// Checks how fast a client sends a request body. Pauses within the idle timeout are accepted.
    pub(super) fn body_speed_guard(&self) -> SpeedGuard {
        self.guard_over(self.speed_window.max(self.body_idle_timeout))
    }

    fn guard_over(&self, window: Duration) -> SpeedGuard {
        SpeedGuard::new(self.min_speed, window.clamp(MIN_SPEED_WINDOW, MAX_TIMEOUT))
    }
}

/// A user and password, encoded for basic authentication (RFC 7617).
#[derive(Clone)]
pub struct BasicAuth(String);

impl BasicAuth {
    /// Creates a login. The user must not contain a colon.
    pub fn new(user: &str, password: &str) -> Self {
        Self(base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
    }

    /// Whether a request has this login, which is encoded in the same way.
    pub(super) fn is_equal(&self, encoded: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), encoded.as_bytes())
    }
}

impl std::fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BasicAuth(…)")
    }
}

/// Compares bytes in constant time. The duration does not reveal the first difference.
fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
