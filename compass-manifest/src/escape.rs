//! Escapes untrusted text for terminals and logs.
//!
//! File names, manifest values and registry responses can contain control characters, which
//! terminals and CI logs interpret. All printed text is escaped with [`escape`] or
//! [`escape_lines`]; messages quote values with [`quote`].

use std::borrow::Cow;
use std::fmt;

/// The maximum number of characters of a value that a message shows.
pub(crate) const MAX_QUOTED: usize = 60;

/// The maximum number of characters of a name in a message.
///
/// Names are paths and image references.
const MAX_NAME: usize = 512;

/// Escapes the characters that a terminal interprets or does not show.
///
/// These are control characters, line breaks, bidirectional and other format characters, and
/// no-break spaces.
///
/// ```
/// use compass_manifest::escape::escape;
///
/// assert_eq!(escape("a\u{1b}[2J\nb\u{202e}"), r"a\u{1b}[2J\nb\u{202e}");
/// assert_eq!(escape("持续 集成"), "持续 集成");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_if(text, is_unprintable)
}

/// Escapes a text of several lines, as [`escape`] does, but keeps `\n`.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_if(text, |c| c != '\n' && is_unprintable(c))
}

/// Returns a value in backticks, escaped and shortened to 60 characters.
///
/// A shortened value keeps its beginning and its end, because the end often is a version.
///
/// ```
/// use compass_manifest::escape::quote;
///
/// assert_eq!(quote("v1\n"), r"`v1\n`");
/// assert!(quote(&"x".repeat(1_000_000)).chars().count() <= 60 + 2);
/// ```
pub fn quote(value: impl fmt::Display) -> String {
    quote_at_most(MAX_QUOTED, value)
}

/// Returns a path or an image reference in backticks, escaped.
///
/// The limit is 512 characters instead of [`MAX_QUOTED`], so that users can copy the name.
pub(crate) fn quote_name(name: impl fmt::Display) -> String {
    quote_at_most(MAX_NAME, name)
}

fn quote_at_most(most: usize, value: impl fmt::Display) -> String {
    format!("`{}`", escape(&shorten(&value.to_string(), most)))
}

/// Shortens a text to `most` characters.
///
/// About two thirds of the result are the beginning of the text; `…` and the end of the text
/// follow.
pub(crate) fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    // Compare the bytes first, which is cheaper: a text never has more characters than bytes.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    let tail = most / 3;
    let head: String = text.chars().take(most - tail - 1).collect();
    let end = text.char_indices().rev().nth(tail - 1).map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{head}…{}", &text[end..]))
}

/// Returns whether a character is a Unicode format character.
///
/// Format characters are invisible, but change how other characters are shown.
pub(crate) fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Returns whether a character must be escaped before it is printed.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || is_format(character)
        || matches!(character, '\u{a0}' | '\u{2007}' | '\u{2028}' | '\u{2029}' | '\u{202f}')
}

fn escape_if(text: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match escaped(character) {
            true => safe.extend(character.escape_default()),
            false => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_every_unsafe_character_shows_code() {
        for character in ['\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{9f}']
            .into_iter()
            .chain(['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{200e}', '\u{61c}'])
            .chain(['\u{2028}', '\u{2029}', '\u{a0}', '\u{feff}', '\u{e0041}'])
        {
            let text = format!("a{character}b");
            let expected = format!("a{}b", character.escape_default());
            assert_eq!(escape(&text), expected);
            let in_lines = if character == '\n' { text.clone() } else { expected };
            assert_eq!(escape_lines(&text), in_lines);
        }
    }

    #[test]
    fn escape_printable_text_is_unchanged() {
        for text in ["", "a b", "持续　集成", "é", "\\n", "`"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn quote_long_value_keeps_both_ends() {
        let long = format!("harbor.example/release/{}:v1.2.3", "x".repeat(200));
        let quoted = quote(&long);
        assert_eq!(quoted.chars().count(), MAX_QUOTED + 2);
        assert!(quoted.starts_with("`harbor.example/release/x") && quoted.ends_with("xx:v1.2.3`"));
        assert_eq!(quote("持".repeat(MAX_QUOTED)), format!("`{}`", "持".repeat(MAX_QUOTED)));
        assert_eq!(quote("持".repeat(MAX_QUOTED + 1)).chars().count(), MAX_QUOTED + 2);
    }
}
