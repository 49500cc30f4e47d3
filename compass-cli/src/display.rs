//! Formats values for human output.

use std::fmt::Display;

use compass_manifest::escape::escape;

/// Escapes an untrusted name for a line of human output.
pub(crate) fn printable(text: &str) -> String {
    escape(text).into_owned()
}

/// Formats a number of bytes with a binary unit.
pub(crate) fn human_bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Formats a count with its noun, whose plural ends with `s`.
pub(crate) fn counted<N: Copy + Display + From<u8> + PartialEq>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Joins the first `shown` of several lines; a last line counts the others.
pub(crate) fn first_lines(lines: impl Iterator<Item = String>, shown: usize) -> String {
    let mut lines: Vec<String> = lines.collect();
    if lines.len() > shown {
        let more = format!("and {} more", lines.len() - shown);
        lines.truncate(shown);
        lines.push(more);
    }
    lines.join("\n")
}
