//! Parses the response of a token service (distribution token specification), as leniently as Go's
//! clients.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::token_cache::Header;
use crate::Secret;

/// The lifetime in seconds if the response states none.
const DEFAULT_LIFETIME: f64 = 60.0;

/// The minimum lifetime in seconds. With a shorter one, each request would need a token request.
const MIN_LIFETIME: f64 = 10.0;

/// The maximum lifetime in seconds, longer than any run.
const MAX_LIFETIME: f64 = 24.0 * 60.0 * 60.0;

/// Returns the header for the token of a response, or `None` if it contains none.
pub(super) fn parse(body: &[u8]) -> Option<Header> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let answer: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
    let field = |names: &[&str]| {
        let is_named = |key: &str| names.iter().any(|name| key.eq_ignore_ascii_case(name));
        let named = answer.iter().find(|(key, value)| is_named(key) && !value.is_null());
        named.map(|(_, value)| value)
    };
    let token = |names: &[&str]| match field(names) {
        None => Some(""),
        // Whitespace around a token would make the header invalid.
        Some(value) => value.as_str().map(str::trim),
    };
    let (token, other) = (token(&["token"])?, token(&["access_token", "accessToken"])?);
    let token = [token, other].into_iter().find(|token| !token.is_empty())?;
    // Services send seconds as fractions, strings, null and negative numbers.
    let lifetime = lifetime(field(&["expires_in"]).unwrap_or(&Value::Null));
    // Expires a tenth early, so that no token expires in flight.
    let expires = Instant::now() + Duration::from_secs_f64(lifetime - lifetime / 10.0);
    Some(Header { value: Secret::new(format!("Bearer {token}")), expires: Some(expires) })
}

fn lifetime(expires_in: &Value) -> f64 {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
    seconds.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_what_go_accepts() {
        for (answer, token) in [
            (r#"{"token":"t"}"#, Some("t")),
            (r#"{"access_token":"t"}"#, Some("t")),
            (r#"{"token":"","access_token":"t"}"#, Some("t")),
            (r#"{"token":null,"access_token":"t"}"#, Some("t")),
            (r#"{"token":"t","access_token":"other"}"#, Some("t")),
            (r#"{"token":"t","expires_in":null}"#, Some("t")),
            (r#"{"token":"t","issued_at":"nonsense","refresh_token":null}"#, Some("t")),
            (r#"{"Token":"t","EXPIRES_IN":7}"#, Some("t")),
            (r#"{"Access_Token":"t"}"#, Some("t")),
            (r#"{"token":"other","token":"t"}"#, Some("t")),
            ("\u{feff}{\"token\":\" t\\n\"}", Some("t")),
            (r#"{"token":"","access_token":""}"#, None),
            (r#"{"token":7,"access_token":"t"}"#, None),
            (r#"{"token":7}"#, None),
            ("{}", None),
            ("<html>", None),
            ("", None),
        ] {
            let header = parse(answer.as_bytes());
            let value = header.as_ref().map(|header| header.value.reveal());
            assert_eq!(value, token.map(|token| format!("Bearer {token}")).as_deref(), "{answer}");
        }
    }

    #[test]
    fn lifetime_invalid_values_use_default() {
        for (expires_in, seconds) in [
            ("null", 60.0),
            ("0", 60.0),
            ("-1", 60.0),
            ("5", 10.0),
            ("300", 300.0),
            ("300.5", 300.5),
            (r#""300""#, 300.0),
            (r#""soon""#, 60.0),
            ("[]", 60.0),
            ("18446744073709551615", MAX_LIFETIME),
            ("1e300", MAX_LIFETIME),
        ] {
            let value: Value = serde_json::from_str(expires_in).unwrap();
            assert!((lifetime(&value) - seconds).abs() < 1e-9, "{expires_in}");
        }
    }
}
