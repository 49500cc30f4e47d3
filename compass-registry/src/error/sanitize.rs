//! Sanitizes untrusted texts for messages.

use std::borrow::Cow;

/// The maximum number of characters shown.
const MAX_CHARS: usize = 500;

/// Makes an untrusted text safe to show. Escapes control characters, which terminals interpret, and
/// truncates the text.
pub(super) fn sanitize(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        match character {
            _ if count == MAX_CHARS => return shown + "…",
            odd if odd.is_control() || is_invisible(odd) => shown.extend(odd.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

/// Whether a character changes the direction or the line breaks of the text around it.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Returns the password in a text that starts with `user:password@host`.
pub(crate) fn find_password(text: &str) -> Option<&str> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (login, place) = rest.rsplit_once('@')?;
    let (_, password) = login.split_once(':')?;
    // `app:v1@sha256:…` is an image with a tag and digest, not a user with a password.
    let is_digest = place.starts_with("sha256:") || place.starts_with("sha512:");
    (!is_digest && !password.is_empty()).then_some(password)
}

pub(super) fn redact_password(text: &str) -> Cow<'_, str> {
    match find_password(text) {
        Some(password) => text.replacen(&format!(":{password}@"), ":…@", 1).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, RawManifest};

    #[test]
    fn password_is_found_and_redacted() {
        for (text, password) in [
            ("me:secret@host:5000/project", Some("secret")),
            ("https://me:se:cr@et@host/project", Some("se:cr@et")),
            ("--from=me:secret@host", Some("secret")),
            ("app:v1@sha256:00", None),
            ("host:5000/project/app:v1@sha256:00", None),
            ("me:se/cr+et=@host/project", Some("se/cr+et=")),
            ("me@host", None),
        ] {
            assert_eq!(find_password(text), password, "{text}");
        }
        let (text, reason) = ("me:secret@host/project".to_owned(), "it is not".to_owned());
        let error = Error::Parse { what: "registry", text, reason };
        assert_eq!(error.to_string(), "`me:…@host/project` is not a valid registry: it is not");
    }

    #[test]
    fn message_is_truncated_and_escaped() {
        let evil = format!("a\u{1b}]0;gone\u{7}\u{202e}\u{85}{}", "b".repeat(4 << 20));
        let manifest = RawManifest::new(evil.clone(), "{}").parse().unwrap_err();
        let index = Error::NoSuchPlatform {
            what: "a:v1".to_owned(),
            wanted: "linux/amd64".to_owned(),
            available: evil.clone(),
        };
        let reference = evil.parse::<crate::Reference>().unwrap_err();
        for error in [manifest, index, reference] {
            let shown = error.to_string();
            assert!(shown.len() < 1000 && !shown.contains('\u{1b}'), "{shown}");
            assert!(shown.contains("a\\u{1b}]0;gone\\u{7}\\u{202e}\\u{85}"), "{shown}");
        }
    }
}
