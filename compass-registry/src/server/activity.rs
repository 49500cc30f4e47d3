//! Tracks the activity of connections: the last progress, and whether server or client must act
//! next.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// A stream that records its transfers in an [`Activity`].
pub(super) struct TrackedStream<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> TrackedStream<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.activity.add_received(buffer.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(1..)) = polled {
            self.activity.touch();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(1..)) = polled {
            self.activity.touch();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
