//! How long a server asks a client to wait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Values from here on are Unix timestamps, as sent by Docker Hub, instead of seconds to wait.
const UNIX_TIME: f64 = 1e9;

/// Parses `Retry-After`: seconds or a date (RFC 9110, § 10.2.3).
///
/// Some services send fractions of seconds, or a Unix timestamp.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = match text.parse::<f64>() {
        Ok(seconds) if seconds < UNIX_TIME => return Duration::try_from_secs_f64(seconds).ok(),
        Ok(time) => UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(time).ok()?)?,
        Err(_) => httpdate::parse_http_date(text).ok()?,
    };
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_parses_seconds_and_dates() {
        let asked =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
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
