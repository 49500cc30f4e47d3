//! Tracks the activity of connections: the last progress, and whether server or client must act
//! next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{InspectReader, InspectWriter};

/// The received bytes that count as progress, except for complete requests.
const MIN_PROGRESS: u64 = 1 << 10;

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Milliseconds from `opened` to the last progress.
    last: AtomicU64,
    /// The bytes received since the last progress.
    received: AtomicU64,
    /// Whether the server is processing a request, so that the client has no reason to send.
    is_working: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            received: AtomicU64::new(0),
            is_working: AtomicBool::new(false),
        }
    }

    /// Returns how long the client has been idle; `None` while the server processes its request.
    pub(super) fn idle_time(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let is_working = self.is_working.load(Ordering::Relaxed);
        (!is_working).then(|| self.opened.elapsed().saturating_sub(last))
    }

    /// Sets whether the server processes a request or waits for the client.
    pub(super) fn set_working(&self, is_working: bool) {
        self.touch();
        self.is_working.store(is_working, Ordering::Relaxed);
    }

    /// Records received bytes. A client that sends single bytes makes no progress.
    fn add_received(&self, bytes: usize) {
        let received = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if received >= MIN_PROGRESS {
            self.touch();
        }
    }

    fn touch(&self) {
        self.received.store(0, Ordering::Relaxed);
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }
}

/// Records the transfers of a stream in its activity.
pub(super) fn track<S: AsyncRead + AsyncWrite>(
    stream: S,
    activity: &Arc<Activity>,
) -> impl AsyncRead + AsyncWrite + use<S> {
    let (receiver, sender) = (Arc::clone(activity), Arc::clone(activity));
    let reader = InspectReader::new(stream, move |bytes: &[u8]| receiver.add_received(bytes.len()));
    InspectWriter::new(reader, move |_: &[u8]| sender.touch())
}
