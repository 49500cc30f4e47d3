//! Fails writes to a client that reads too slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::min_speed::SpeedGuard;

/// A stream whose writes fail if the client reads too slowly.
///
/// Only the time counts in which the stream accepts no bytes, because the client has not read the
/// previous ones. The send buffer of a socket accepts the next bytes after a third of it has been
/// sent. For 4 MiB, the maximum on most systems, a client that reads less than that third within a
/// window seems to read nothing.
pub(super) struct SendSpeedStream<S> {
    stream: S,
    guard: SpeedGuard,
    written: u64,
    /// When the stream stopped accepting bytes; `None` while it accepts them.
    blocked_since: Option<Instant>,
    /// Ends with the window of the guard while the stream is blocked.
    window_end: Pin<Box<Sleep>>,
}

impl<S> SendSpeedStream<S> {
    pub(super) fn new(stream: S, guard: SpeedGuard) -> Self {
        let window_end = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { stream, guard, written: 0, blocked_since: None, window_end }
    }

    /// Checks the speed after a write was attempted.
    fn check(
        &mut self,
        context: &mut Context<'_>,
        attempted: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = attempted {
            let written = result?;
            self.written += written as u64;
            self.record_blocked_time()?;
            return Poll::Ready(Ok(written));
        }
        loop {
            if self.blocked_since.is_none() {
                let now = Instant::now();
                self.blocked_since = Some(now);
                self.window_end.as_mut().reset(now + self.guard.remaining());
            }
            ready!(self.window_end.as_mut().poll(context));
            self.record_blocked_time()?;
        }
    }

    fn record_blocked_time(&mut self) -> io::Result<()> {
        let Some(since) = self.blocked_since.take() else { return Ok(()) };
        let recorded = self.guard.record(since.elapsed(), self.written);
        recorded.map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SendSpeedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SendSpeedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let attempted = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, attempted)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempted = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check(context, attempted)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Sends 100 KiB to a client that reads 1 KiB after each pause. Returns the error.
    async fn send(pause: Duration, min_speed: u64) -> Option<io::ErrorKind> {
        let (server, mut client) = tokio::io::duplex(4 << 10);
        let guard = SpeedGuard::new(min_speed, Duration::from_secs(20));
        let mut server = SendSpeedStream::new(server, guard);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 10];
            loop {
                tokio::time::sleep(pause).await;
                if client.read(&mut buffer).await.is_ok_and(|count| count == 0) {
                    break;
                }
            }
        });
        let sent = server.write_all(&vec![0; 100 << 10]).await;
        reading.abort();
        sent.err().map(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reader_fails_writes() {
        assert_eq!(send(Duration::from_millis(500), 1024).await, None);
        assert_eq!(send(Duration::from_secs(2), 1024).await, Some(io::ErrorKind::TimedOut));
        assert_eq!(send(Duration::from_secs(2), 100).await, None);
        // A client that reads nothing.
        assert_eq!(send(Duration::from_hours(1), 1).await, Some(io::ErrorKind::TimedOut));
    }
}
