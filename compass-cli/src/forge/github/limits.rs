//! The limits of the service: pauses that it asks for, and the interval between writes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compass_registry::http::retry_after;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::rejection::Rejection;

/// How fast a client works.
#[derive(Debug, Clone, Copy)]
pub(in crate::forge) struct Pacing {
    /// The minimum time from the end of a write to the next one. GitHub asks for one second.
    pub(in crate::forge) write_interval: Duration,
    /// The longest pause that a request waits for, all in all.
    pub(in crate::forge) max_pause: Duration,
    /// The length of a second of the pauses, which is shorter in tests.
    pub(in crate::forge) second: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { write_interval: second, max_pause: Duration::from_mins(5), second }
    }
}

impl Pacing {
    /// Converts seconds of the service to time to wait.
    pub(super) fn wait(&self, seconds: u64) -> Duration {
        self.second.saturating_mul(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// A pause that the service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) seconds: u64,
    pub(super) limit: &'static str,
}

/// The pause after a secondary limit for which the service names no time.
const UNNAMED_PAUSE: u64 = 60;

const HOURLY: &str = "hourly limit";
const SECONDARY: &str = "limit of requests in a short time";

impl Pause {
    /// Returns the pause that a rejected request asks for; `None` if it was rejected for another
    /// reason. `attempt` counts from 1.
    ///
    /// GitHub rejects with 403 for missing permissions and for both kinds of limits. Only the headers
    /// and the message tell them apart.
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        rejection: &Rejection,
        attempt: u32,
    ) -> Option<Self> {
        if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        if let Some(pause) = retry_after(headers) {
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            return Some(Self { seconds, limit: SECONDARY });
        }
        if number(headers, "x-ratelimit-remaining") == Some(0) {
            let reset = number(headers, "x-ratelimit-reset").unwrap_or_default();
            return Some(Self { seconds: seconds_until(reset), limit: HOURLY });
        }
        let is_limit = status == StatusCode::TOO_MANY_REQUESTS || rejection.is_secondary_limit();
        is_limit.then(|| Self { seconds: UNNAMED_PAUSE << (attempt - 1).min(6), limit: SECONDARY })
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The seconds until a Unix time, and one more, because the clocks may differ a little.
fn seconds_until(unix: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    unix.saturating_sub(now) + 1
}

/// The time until which no request is sent.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<Instant>>);

impl Gate {
    pub(super) fn close(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = Some(state.map_or(until, |known| known.max(until)));
    }

    /// Waits until requests may be sent.
    pub(super) async fn wait(&self) {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    fn pause(status: u16, pairs: &[(&'static str, String)], message: &str) -> Option<Pause> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let body = serde_json::json!({"message": message}).to_string();
        let status = StatusCode::from_u16(status).unwrap();
        Pause::of(status, &headers.collect(), &Rejection::read(body.as_bytes()), 2)
    }

    #[test]
    fn pause_tells_limits_from_permissions() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let reset = [
            ("x-ratelimit-remaining", "0".to_owned()),
            ("x-ratelimit-reset", (now + 30).to_string()),
        ];
        let seconds = |pause: Option<Pause>| pause.map(|pause| pause.seconds);
        assert!(
            (29..=31).contains(&seconds(pause(403, &reset, "API rate limit exceeded")).unwrap())
        );
        let after = [("retry-after", "7".to_owned())];
        assert_eq!(seconds(pause(429, &after, "")), Some(7));
        assert_eq!(seconds(pause(403, &after, "")), Some(7));
        let secondary = "You have exceeded a secondary rate limit";
        assert_eq!(seconds(pause(403, &[], secondary)), Some(120));
        assert_eq!(seconds(pause(429, &[], "")), Some(120));
        let left = [("x-ratelimit-remaining", "12".to_owned())];
        assert_eq!(pause(403, &left, "Resource not accessible by integration"), None);
        assert_eq!(pause(404, &after, "Not Found"), None);
    }
}
