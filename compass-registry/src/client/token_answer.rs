//! The answer of a token service (distribution token specification), as Go's clients read it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::credentials::Secret;
use super::tokens::Header;

/// How long a token lives of which the service does not say it, in seconds.
const DEFAULT_LIFE: f64 = 60.0;

/// Tokens of a shorter life are used for so long all the same, in seconds: otherwise each request
/// would cost one.
const SHORTEST_LIFE: f64 = 10.0;

/// Longer than any run, in seconds.
const LONGEST_LIFE: f64 = 24.0 * 60.0 * 60.0;

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default, alias = "Token")]
    token: Option<String>,
    #[serde(default, alias = "accessToken", alias = "AccessToken")]
    access_token: Option<String>,
    /// Seconds; services write fractions, texts, null and negative numbers.
    #[serde(default)]
    expires_in: Value,
}

/// The header for a token; nothing if there is none in the answer.
pub(super) fn read(body: &[u8]) -> Option<Header> {
    let answer: TokenAnswer = serde_json::from_slice(body).ok()?;
    let given = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = given(answer.token).or_else(|| given(answer.access_token))?;
    let life = life(&answer.expires_in);
    // A tenth earlier, so that no request starts with a token that dies on the way.
    let expires = Instant::now() + Duration::from_secs_f64(life - life / 10.0);
    Some(Header { value: Secret::new(format!("Bearer {token}")), expires: Some(expires) })
}

fn life(expires_in: &Value) -> f64 {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
    seconds.unwrap_or(DEFAULT_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_answer_is_read_as_go_does() {
        for (answer, token) in [
            (r#"{"token":"t"}"#, Some("t")),
            (r#"{"access_token":"t"}"#, Some("t")),
            (r#"{"token":"","access_token":"t"}"#, Some("t")),
            (r#"{"token":null,"access_token":"t"}"#, Some("t")),
            (r#"{"token":"t","access_token":"other"}"#, Some("t")),
            (r#"{"token":"t","expires_in":null}"#, Some("t")),
            (r#"{"token":"t","issued_at":"nonsense","refresh_token":null}"#, Some("t")),
            (r#"{"token":"","access_token":""}"#, None),
            (r#"{"token":7}"#, None),
            ("{}", None),
            ("<html>", None),
            ("", None),
        ] {
            let header = read(answer.as_bytes());
            let value = header.as_ref().map(|header| header.value.reveal());
            assert_eq!(value, token.map(|token| format!("Bearer {token}")).as_deref(), "{answer}");
        }
    }

    #[test]
    fn token_life_is_odd_or_default() {
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
            ("18446744073709551615", LONGEST_LIFE),
            ("1e300", LONGEST_LIFE),
        ] {
            let value: Value = serde_json::from_str(expires_in).unwrap();
            assert!((life(&value) - seconds).abs() < 1e-9, "{expires_in}");
        }
    }
}
