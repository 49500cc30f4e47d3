//! Error messages in response bodies of registries and proxies (distribution specification, § Error
//! Codes).

use serde::Deserialize;
use serde_json::Value;

/// The maximum number of characters of a summary.
const MAX_CHARS: usize = 300;

#[derive(Deserialize)]
struct Answer {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    detail: Value,
}

/// Summarizes an error body in one line. The line has the codes and messages if the body has the
/// specified form, or else the body itself.
///
/// The line may contain control characters, which the caller must escape.
pub(super) fn summarize(body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Answer>(body).map_or_else(|_| Vec::new(), |it| it.errors);
    let lines: Vec<_> = errors.iter().map(OneError::to_line).collect();
    // An error without the specified fields: show the whole body.
    let line = match lines.iter().any(String::is_empty) || lines.is_empty() {
        true => String::from_utf8_lossy(body).into_owned(),
        false => lines.join("; "),
    };
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Formats a summary for the end of a message; empty if there is none.
pub(super) fn suffix(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl OneError {
    /// Formats one error. Some registries put the reason into `detail` if the message is the
    /// default text of the code.
    fn to_line(&self) -> String {
        let code = match &self.code {
            Value::String(code) => code.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let message = self.message.clone().unwrap_or_default();
        let detail = match &self.detail {
            Value::Null => String::new(),
            Value::String(detail) => detail.clone(),
            Value::Array(list) if list.is_empty() => String::new(),
            Value::Object(map) if map.is_empty() => String::new(),
            other => other.to_string(),
        };
        let detail = if message.contains(&detail) { String::new() } else { format!("({detail})") };
        let parts = [code, message, detail];
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summarize_accepts_any_body() {
        for (body, words) in [
            (r#"{"errors":[{"code":"DENIED","message":"not a member"}]}"#, "DENIED not a member"),
            (
                r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Size":3}}]}"#,
                r#"UNKNOWN unknown error ({"Size":3})"#,
            ),
            (
                r#"{"errors":[{"code":"A","message":"b","detail":"b"},{"code":"C","detail":null}]}"#,
                "A b; C",
            ),
            // Artifactory sends numbers and no code.
            (r#"{"errors":[{"status":403,"message":"Forbidden"}]}"#, "Forbidden"),
            (r#"{"errors":[{"code":401,"message":"no"}]}"#, "401 no"),
            (r#"{"errors":[]}"#, r#"{"errors":[]}"#),
            (r#"{"errors":[{"title":"no room"}]}"#, r#"{"errors":[{"title":"no room"}]}"#),
            (r#"{"errors":["no room"]}"#, r#"{"errors":["no room"]}"#),
            (r#"{"errors":{"code":"DENIED"}}"#, r#"{"errors":{"code":"DENIED"}}"#),
            (r#"{"errors":[{"message":["a"]}]}"#, r#"{"errors":[{"message":["a"]}]}"#),
            (r#"{"message":"project not found"}"#, r#"{"message":"project not found"}"#),
            ("<html>\r\n <body>502 Bad Gateway</body>\n", "<html> <body>502 Bad Gateway</body>"),
            ("404 page not found\n", "404 page not found"),
            ("", ""),
        ] {
            assert_eq!(summarize(body.as_bytes()), words);
        }
        assert_eq!(summarize(&[0xff, b'a']), "\u{fffd}a");
        let long = summarize("ü".repeat(9000).as_bytes());
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
    }
}
