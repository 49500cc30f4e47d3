//! The answer to a rejected request, and its reason.

use serde::Deserialize;

use super::super::error::message_line;
use super::answer::or_default;

/// The answer to a rejected request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rejection {
    #[serde(deserialize_with = "or_default")]
    message: String,
    #[serde(deserialize_with = "or_default")]
    errors: Vec<serde_json::Value>,
}

impl Rejection {
    /// Reads the body of an answer, which may be anything.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            let message = String::from_utf8_lossy(body).into_owned();
            Self { message, errors: Vec::new() }
        })
    }

    /// The message with the messages of its details, in one line.
    pub(super) fn text(&self) -> String {
        let details = self.errors.iter().filter_map(|error| {
            let fields = || Some((error["field"].as_str()?, error["code"].as_str()?));
            let message = error.as_str().or_else(|| error["message"].as_str());
            let message = message.map(str::to_owned);
            message.or_else(|| fields().map(|(field, code)| format!("{field}: {code}")))
        });
        let parts: Vec<String> = std::iter::once(self.message.clone()).chain(details).collect();
        let text = message_line(&parts.join("; "));
        if text.is_empty() { "no reason given".to_owned() } else { text }
    }

    /// Whether the request was rejected because of a limit that the headers do not show.
    pub(super) fn is_secondary_limit(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        message.contains("secondary rate limit") || message.contains("abuse detection")
    }
}
