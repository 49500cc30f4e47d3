//! Limits the requests to one registry.
//!
//! The number of requests in flight is halved when the registry throttles, and grows by one per
//! round of successful responses. While the registry asks for a pause, no request is sent. If the
//! pauses without a successful response in between exceed a limit, requests fail.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::retry_after;
use crate::min_speed::TooSlow;

#[derive(Debug)]
pub(super) struct RateLimiter {
    max: f64,
    /// The maximum pause. The limiter does not wait if the registry asks for a longer one.
    max_retry_after: Duration,
    /// The maximum sum of pauses without a successful response in between.
    max_total_pause: Duration,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: usize,
    paused_until: Option<Instant>,
    /// The sum of the pauses since the last response that asked for none.
    total_pause: Duration,
}

impl State {
    /// Whether `more` additional requests fit into the limit.
    fn has_slot(&self, more: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "few requests")]
        let in_flight = (self.in_flight + more) as f64;
        in_flight <= self.limit.ceil()
    }
}

/// Permission to have one request in flight. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Permit<'l>(&'l RateLimiter);

impl RateLimiter {
    pub(super) fn new(max: u16, max_retry_after: Duration, max_total_pause: Duration) -> Self {
        let max = f64::from(max.max(1));
        let total_pause = Duration::ZERO;
        let state = State { limit: max, in_flight: 0, paused_until: None, total_pause };
        let (state, released) = (Mutex::new(state), Notify::new());
        Self { max, max_retry_after, max_total_pause, state, released }
    }

    /// Waits until one more request may be sent.
    ///
    /// # Errors
    /// [`TooSlow::Pauses`] if the pauses that the registry asks for exceed the limit.
    pub(super) async fn acquire(&self) -> Result<Permit<'_>, TooSlow> {
        loop {
            // A task that is cancelled during the pause drops its permit, which wakes the next
            // waiter.
            let permit = self.acquire_slot().await;
            self.wait_while_paused().await?;
            if self.state().has_slot(0) {
                return Ok(permit);
            }
        }
    }

    async fn acquire_slot(&self) -> Permit<'_> {
        loop {
            let released = self.released.notified();
            {
                let mut state = self.state();
                if state.has_slot(1) {
                    state.in_flight += 1;
                    return Permit(self);
                }
            }
            released.await;
        }
    }

    /// Waits until the pause that the registry asked for has ended.
    ///
    /// # Errors
    /// As [`RateLimiter::acquire`].
    pub(super) async fn wait_while_paused(&self) -> Result<(), TooSlow> {
        loop {
            let (until, total_pause) = {
                let state = self.state();
                (state.paused_until.filter(|until| *until > Instant::now()), state.total_pause)
            };
            match until {
                Some(_) if total_pause > self.max_total_pause => {
                    return Err(TooSlow::Pauses(total_pause));
                }
                Some(until) => tokio::time::sleep_until(until).await,
                None => return Ok(()),
            }
        }
    }

    /// Updates the limit and the pause from a response.
    pub(super) fn observe(&self, response: &Response) {
        self.observe_headers(response.status(), response.headers());
    }

    fn observe_headers(&self, status: StatusCode, headers: &HeaderMap) {
        let mut state = self.state();
        let asked = retry_after(headers);
        let busy = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && asked.is_some());
        if busy {
            state.limit = (state.limit / 2.0).max(1.0);
        } else if status.is_success() {
            let places = state.limit.ceil();
            state.limit = (state.limit + 1.0 / state.limit).min(self.max);
            if state.limit.ceil() > places {
                self.released.notify_one();
            }
        }
        let used_up = header_number(headers, "ratelimit-remaining") == Some(0);
        let reset =
            header_number(headers, "ratelimit-reset").filter(|_| used_up).map(Duration::from_secs);
        let wanted = asked.filter(|_| busy).into_iter().chain(reset).max();
        // If the registry asks for a longer pause, only the throttled request fails; the others
        // continue.
        let wanted = wanted.filter(|pause| *pause <= self.max_retry_after);
        match wanted.filter(|pause| !pause.is_zero()) {
            Some(pause) => {
                let until = Instant::now() + pause;
                let known = state.paused_until.map_or(Instant::now(), |known| known);
                state.total_pause += until.saturating_duration_since(known).min(pause);
                state.paused_until = Some(known.max(until));
            }
            None if status.is_success() => state.total_pause = Duration::ZERO,
            None => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
        self.0.released.notify_one();
    }
}

/// Parses the number before the parameters of a header, as in `ratelimit-remaining: 76;w=21600`.
fn header_number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    let text = headers.get(HeaderName::from_static(name))?.to_str().ok()?;
    text.split(';').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn limiter() -> RateLimiter {
        RateLimiter::new(8, Duration::from_mins(1), Duration::from_mins(5))
    }

    #[test]
    fn limiter_throttled_halves_then_recovers() {
        let limiter = limiter();
        let limit = || limiter.state().limit;
        for expected in [4.0, 2.0, 1.0, 1.0] {
            limiter.observe_headers(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new());
            assert!((limit() - expected).abs() < 0.01, "{}", limit());
        }
        for _ in 0..100 {
            limiter.observe_headers(StatusCode::OK, &HeaderMap::new());
        }
        assert!((limit() - 8.0).abs() < 0.01, "{}", limit());
    }

    #[tokio::test(start_paused = true)]
    async fn acquire_waits_for_requested_pause() {
        for (status, pairs, seconds) in [
            (429, vec![("retry-after", "7")], 7),
            (503, vec![("retry-after", "3")], 3),
            (429, vec![("retry-after", "3600")], 0),
            (200, vec![("retry-after", "7")], 0),
            (200, vec![("ratelimit-remaining", "0;w=60"), ("ratelimit-reset", "5")], 5),
            (200, vec![("ratelimit-remaining", "9"), ("ratelimit-reset", "5")], 0),
        ] {
            let limiter = limiter();
            limiter.observe_headers(StatusCode::from_u16(status).unwrap(), &headers(&pairs));
            let before = Instant::now();
            drop(limiter.acquire().await.unwrap());
            assert_eq!(before.elapsed().as_secs(), seconds, "{status} {pairs:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn acquire_blocks_at_limit() {
        let limiter = RateLimiter::new(2, Duration::from_mins(1), Duration::from_mins(5));
        let (first, _second) = (limiter.acquire().await.unwrap(), limiter.acquire().await.unwrap());
        let third = tokio::time::timeout(Duration::from_secs(1), limiter.acquire()).await;
        assert!(third.is_err());
        drop(third);
        drop(first);
        tokio::time::timeout(Duration::from_secs(1), limiter.acquire()).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn acquire_cancelled_wakes_next_waiter() {
        let limiter = RateLimiter::new(1, Duration::from_mins(1), Duration::from_mins(5));
        let first = limiter.acquire().await.unwrap();
        let (mut second, third) = (Box::pin(limiter.acquire()), limiter.acquire());
        assert!((&mut second).now_or_never().is_none());
        let asked = headers(&[("retry-after", "30")]);
        let give_up = async {
            tokio::task::yield_now().await;
            limiter.observe_headers(StatusCode::TOO_MANY_REQUESTS, &asked);
            drop(first);
            assert!(tokio::time::timeout(Duration::from_secs(1), second).await.is_err());
        };
        let in_flight = tokio::time::timeout(Duration::from_mins(10), third);
        let ((), third) = tokio::join!(give_up, in_flight);
        third.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn acquire_endless_pauses_fail() {
        let used_up = headers(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "50")]);
        for (between, ends) in [(false, true), (true, false)] {
            let limiter = limiter();
            let mut ended = false;
            for _ in 0..20 {
                limiter.observe_headers(StatusCode::OK, &used_up);
                ended |= limiter.acquire().await.is_err();
                if between {
                    limiter.observe_headers(StatusCode::OK, &HeaderMap::new());
                }
            }
            assert_eq!(ended, ends, "{between}");
        }
    }
}
