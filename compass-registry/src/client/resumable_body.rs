//! The request body of a blob upload that can be rewound and continued in another request.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::Body;

use crate::min_speed::SpeedGuard;
use crate::{Error, RetryPolicy, VerifiedBlob};

/// The maximum size of a chunk in bytes. Yielded bytes count as sent, so chunks are small.
const MAX_CHUNK: u64 = 1 << 20;

/// A blob that is sent in one or several request bodies.
pub(super) struct ResumableBody(Arc<Mutex<State>>);

struct State {
    blob: VerifiedBlob,
    /// Bytes that were read from the blob but have not been yielded by a body.
    carry_over: Bytes,
    /// The number of the body that may read. Older bodies fail.
    generation: u32,
    /// The number of bytes left in the current body.
    remaining: u64,
    failure: Option<Error>,
    last_progress: Instant,
}

impl ResumableBody {
    pub(super) fn new(blob: VerifiedBlob) -> Self {
        let last_progress = Instant::now();
        let carry_over = Bytes::new();
        Self(Arc::new(Mutex::new(State {
            blob,
            carry_over,
            generation: 0,
            remaining: 0,
            failure: None,
            last_progress,
        })))
    }

    /// Returns the offset of the first byte that has not been sent.
    pub(super) fn position(&self) -> u64 {
        self.state().position()
    }

    /// Returns a body of the next `length` bytes, and invalidates all earlier bodies.
    pub(super) fn body(&self, length: u64) -> Body {
        let number = {
            let mut state = self.state();
            state.generation += 1;
            state.remaining = length;
            state.last_progress = Instant::now();
            state.generation
        };
        let shared = Arc::clone(&self.0);
        let chunks = stream::poll_fn(move |context| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.poll(number, context)
        });
        Body::wrap_stream(chunks)
    }

    /// Reads the first chunk of the next body. The source thus answers while the registry opens the
    /// upload.
    pub(super) fn prefetch(&self) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.0);
        poll_fn(move |context| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.poll_prefetch(context)
        })
    }

    /// Continues at this offset; returns `false` if the blob cannot be read again from there.
    pub(super) fn seek(&self, position: u64) -> bool {
        let mut state = self.state();
        state.generation += 1;
        if position == state.position() {
            return true;
        }
        state.carry_over = Bytes::new();
        state.blob.seek(position)
    }

    /// Takes the error of reading the blob, if reading failed.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// Completes with an error if the transfer stalls or is slower than the policy allows.
    pub(super) async fn stall_timeout(
        &self,
        retry: &RetryPolicy,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        let step = (retry.idle_timeout / 8).min(Duration::from_secs(1));
        let mut guard = SpeedGuard::new(retry.min_speed, retry.speed_window);
        let start = self.position();
        loop {
            tokio::time::sleep(step).await;
            let state = self.state();
            // After the last byte, the registry may need time to store the blob.
            if state.remaining > 0
                && let Err(slow) = guard.record(step, state.position().saturating_sub(start))
            {
                return Box::new(slow);
            }
            // The source has a timeout of its own, which must expire first, because its error names
            // the cause.
            let limit =
                if state.remaining == 0 { retry.commit_timeout } else { retry.idle_timeout * 2 };
            if state.last_progress.elapsed() > limit {
                let stall_timeout = "the registry takes no more bytes";
                return Box::new(std::io::Error::new(std::io::ErrorKind::TimedOut, stall_timeout));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn position(&self) -> u64 {
        self.blob.position() - self.carry_over.len() as u64
    }

    fn poll(
        &mut self,
        generation: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, std::io::Error>>> {
        if generation != self.generation {
            return Poll::Ready(Some(Err(std::io::Error::other("a newer body replaced this one"))));
        }
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        ready!(self.poll_prefetch(context));
        if self.failure.is_some() {
            let broken = std::io::Error::other("cannot read the blob");
            return Poll::Ready(Some(Err(broken)));
        }
        let mut chunk = std::mem::take(&mut self.carry_over);
        if chunk.is_empty() {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.remaining.min(MAX_CHUNK)).unwrap_or(usize::MAX);
        if chunk.len() > most {
            self.carry_over = chunk.split_off(most);
        }
        self.remaining -= chunk.len() as u64;
        self.last_progress = Instant::now();
        Poll::Ready(Some(Ok(chunk)))
    }

    /// Reads a chunk, unless one has been read already.
    fn poll_prefetch(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.carry_over.is_empty() && self.failure.is_none() {
            match ready!(self.blob.poll_next_unpin(context)) {
                Some(Ok(chunk)) => self.carry_over = chunk,
                Some(Err(error)) => self.failure = Some(error),
                None => {}
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Descriptor;

    use super::*;

    /// Creates a body of a blob that arrives in these chunks.
    fn body(content: &[u8], chunks: &[&'static [u8]]) -> ResumableBody {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let descriptor = Descriptor::of("text/plain", content);
        ResumableBody::new(VerifiedBlob::new(
            "blob".into(),
            descriptor,
            stream::iter(chunks).boxed(),
        ))
    }

    /// Reads the next chunk of a body with this generation.
    async fn next(body: &ResumableBody, generation: u32) -> Option<Result<Bytes, std::io::Error>> {
        poll_fn(|context| body.state().poll(generation, context)).await
    }

    #[tokio::test]
    async fn prefetch_first_chunk_is_sent_first() {
        let body = body(b"abcd", &[b"ab", b"cd"]);
        body.prefetch().await;
        body.prefetch().await;
        assert_eq!(body.position(), 0);
        let _sent = body.body(4);
        assert_eq!(next(&body, 1).await.unwrap().unwrap(), "ab");
        assert_eq!(next(&body, 1).await.unwrap().unwrap(), "cd");
        assert!(next(&body, 1).await.is_none());
    }

    #[tokio::test]
    async fn prefetch_wrong_content_fails_the_body() {
        let body = body(b"ab", &[b"aX"]);
        body.prefetch().await;
        let _sent = body.body(2);
        assert!(next(&body, 1).await.unwrap().is_err());
        assert!(matches!(body.failure(), Some(Error::DigestMismatch { .. })));
    }
}
