//! How fast one registry is asked: how many requests wait for an answer at once, and when none may
//! be sent because the registry wants a pause. What a registry refuses makes the limit smaller, and
//! what it answers lets it grow again. Pauses without anything between them are an error in the end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::min_speed::TooSlow;

#[derive(Debug)]
pub(super) struct RateLimiter {
    max: f64,
    /// No registry makes us wait longer than this.
    max_retry_after: Duration,
    /// Nor, in several pauses without a request between them that asks for none, than this.
    max_total_pause: Duration,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: usize,
    paused_until: Option<Instant>,
    /// The pauses that were asked for since the last answer that asked for none.
    total_pause: Duration,
}

impl State {
    /// Whether so many more may wait.
    fn has_slot(&self, more: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "few requests")]
        let in_flight = (self.in_flight + more) as f64;
        in_flight <= self.limit.ceil()
    }
}

/// The right to wait for one answer.
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
    /// If the registry asks for one pause after another.
    pub(super) async fn acquire(&self) -> Result<Permit<'_>, TooSlow> {
        loop {
            // Who gives up during the pause gives the place back, which wakes the next one.
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

    /// Waits while the registry wants no requests.
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

    /// Learns from an answer.
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
        // What asks for more is refused where it is asked for, and not waited for by everybody.
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

/// Longer pauses than this, some thirty years, are the seconds of Unix time at their end, as Docker
/// Hub writes them.
const UNIX_TIME: f64 = 1e9;

/// How long an answer asks us to wait, in seconds or up to a date (RFC 9110, § 10.2.3). Some services
/// write fractions of seconds, or Unix time.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let until = match text.parse::<f64>() {
        Ok(seconds) if seconds < UNIX_TIME => return Duration::try_from_secs_f64(seconds).ok(),
        Ok(time) => UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(time).ok()?)?,
        Err(_) => httpdate::parse_http_date(text).ok()?,
    };
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The number in front of parameters, as in `ratelimit-remaining: 76;w=21600`.
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
    fn refusals_halve_the_limit_and_answers_let_it_grow_back() {
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
    async fn everybody_waits_as_long_as_the_registry_asks() {
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
    async fn no_more_requests_wait_than_the_limit_allows() {
        let limiter = RateLimiter::new(2, Duration::from_mins(1), Duration::from_mins(5));
        let (first, _second) = (limiter.acquire().await.unwrap(), limiter.acquire().await.unwrap());
        let third = tokio::time::timeout(Duration::from_secs(1), limiter.acquire()).await;
        assert!(third.is_err());
        drop(third);
        drop(first);
        tokio::time::timeout(Duration::from_secs(1), limiter.acquire()).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_during_a_pause_wakes_the_next_one() {
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
    async fn pauses_without_end_are_an_error() {
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

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let asked = |text: &str| retry_after(&headers(&[("retry-after", text)]));
        assert_eq!(asked("90"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("1.5"), Some(Duration::from_millis(1500)));
        for text in ["soon", "-1", "NaN", "inf", "1e300", ""] {
            assert_eq!(asked(text), None, "{text}");
        }
        let later = SystemTime::now() + Duration::from_secs(100);
        let unix = later.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        for text in [httpdate::fmt_http_date(later), unix] {
            let seconds = asked(&text).unwrap().as_secs();
            assert!((97..=100).contains(&seconds), "{text}: {seconds}");
        }
        assert_eq!(asked("1000000001"), Some(Duration::ZERO));
    }
}
