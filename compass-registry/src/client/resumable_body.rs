//! The bytes of one blob on their way up: a body that can be stopped, put back to where the
//! registry got to, and taken up again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::Body;

use crate::min_speed::SpeedGuard;
use crate::{Error, RetryPolicy, VerifiedBlob};

/// The most bytes that a body yields at once: yielded bytes count as sent.
const PIECE: u64 = 1 << 20;

/// A blob that is sent, in one body after the other.
pub(super) struct Feed(Arc<Mutex<State>>);

struct State {
    blob: VerifiedBlob,
    /// Read, and behind the end of the last body.
    leftover: Bytes,
    /// Which body may read.
    body: u32,
    /// Bytes that this body may still take.
    left: u64,
    failure: Option<Error>,
    moved: Instant,
}

impl Feed {
    pub(super) fn new(blob: VerifiedBlob) -> Self {
        let moved = Instant::now();
        let leftover = Bytes::new();
        Self(Arc::new(Mutex::new(State { blob, leftover, body: 0, left: 0, failure: None, moved })))
    }

    /// The first byte that has not been sent.
    pub(super) fn position(&self) -> u64 {
        self.state().position()
    }

    /// A body of the next bytes. Bodies before it end, and read no more.
    pub(super) fn body(&self, length: u64) -> Body {
        let number = {
            let mut state = self.state();
            state.body += 1;
            state.left = length;
            state.moved = Instant::now();
            state.body
        };
        let shared = Arc::clone(&self.0);
        let chunks = stream::poll_fn(move |context| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.poll(number, context)
        });
        Body::wrap_stream(chunks)
    }

    /// Makes this the next byte to be sent; says whether that is possible.
    pub(super) fn go_to(&self, position: u64) -> bool {
        let mut state = self.state();
        state.body += 1;
        if position == state.position() {
            return true;
        }
        state.leftover = Bytes::new();
        state.blob.rewind(position)
    }

    /// What went wrong with the blob itself; the connection broke only because of that.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// Ends when nothing has moved for too long, or too little.
    pub(super) async fn stalled(
        &self,
        retry: &RetryPolicy,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        let step = (retry.idle_timeout / 8).min(Duration::from_secs(1));
        let mut guard = SpeedGuard::new(retry);
        let start = self.position();
        loop {
            tokio::time::sleep(step).await;
            let state = self.state();
            // After the last byte the registry may take its time.
            if state.left > 0
                && let Err(slow) = guard.count(step, state.position().saturating_sub(start))
            {
                return Box::new(slow);
            }
            // The blob's own source watches itself, and gets the first word.
            let limit = if state.left == 0 { retry.commit_timeout } else { retry.idle_timeout * 2 };
            if state.moved.elapsed() > limit {
                let stalled = "the registry takes no more bytes";
                return Box::new(std::io::Error::new(std::io::ErrorKind::TimedOut, stalled));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn position(&self) -> u64 {
        self.blob.handed_out() - self.leftover.len() as u64
    }

    fn poll(
        &mut self,
        body: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, std::io::Error>>> {
        if body != self.body {
            return Poll::Ready(Some(Err(std::io::Error::other("another body goes on"))));
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = std::mem::take(&mut self.leftover);
        if chunk.is_empty() {
            chunk = match std::task::ready!(self.blob.poll_next_unpin(context)) {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    self.failure = Some(error);
                    let broken = std::io::Error::other("the blob cannot be read");
                    return Poll::Ready(Some(Err(broken)));
                }
                None => return Poll::Ready(None),
            };
        }
        let most = usize::try_from(self.left.min(PIECE)).unwrap_or(usize::MAX);
        if chunk.len() > most {
            self.leftover = chunk.split_off(most);
        }
        self.left -= chunk.len() as u64;
        self.moved = Instant::now();
        Poll::Ready(Some(Ok(chunk)))
    }
}
