//! Decodes the bytes of a file as UTF-8 text.
//!
//! Rejects Git LFS pointers, and text with conflict markers of git.

use crate::source::{SourceFile, Span};

/// The maximum size of a release manifest in bytes. Real ones have a few kilobytes.
pub const MAX_BYTES: usize = 4 << 20;

/// The size limit of a Git LFS pointer in bytes, exclusive (git-lfs, `docs/spec.md`).
pub const MAX_POINTER_BYTES: usize = 1024;

const POINTER: &str = "version https://git-lfs.github.com/spec/";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An error in the text of a file, with its span.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyntaxError {
    /// The problem, in one line.
    pub message: String,
    /// How to fix it.
    pub help: Option<&'static str>,
    /// The bytes in the text.
    pub span: Span,
}

/// Returns whether bytes are a Git LFS pointer.
///
/// A pointer replaces the content of a large file until the content is fetched.
///
/// ```
/// use compass_manifest::is_lfs_pointer;
///
/// assert!(is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"));
/// assert!(!is_lfs_pointer(b"version: v1\n"));
/// ```
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.len() < MAX_POINTER_BYTES
        && bytes.starts_with(POINTER.as_bytes())
        && bytes.windows(6).any(|window| window == b"\noid s")
}

/// Returns whether a file contains the three conflict markers of git, in their order.
///
/// ```
/// use compass_manifest::has_conflict_markers;
///
/// assert!(has_conflict_markers(b"#!/bin/sh\n<<<<<<< HEAD\na\n=======\nb\n>>>>>>> topic\n"));
/// assert!(!has_conflict_markers(b"cat <<EOF\n<<<<<<< HEAD\nEOF\n"));
/// ```
pub fn has_conflict_markers(bytes: &[u8]) -> bool {
    const MARKERS: [&[u8]; 3] = [b"<<<<<<< ", b"=======", b">>>>>>> "];
    let mut expected = MARKERS.iter();
    let mut next = expected.next();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(marker) = next else { break };
        if line.starts_with(marker) {
            next = expected.next();
        }
    }
    next.is_none()
}

/// Decodes the bytes of a file; the text keeps a byte order mark.
///
/// # Errors
/// Returns an error if the file is too large, is not UTF-8, is a Git LFS pointer, or has conflict
/// markers. The span of the error does not count the byte order mark.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, SyntaxError> {
    reject_oversized(bytes.len())?;
    if is_utf16(bytes) {
        let message = "the file is UTF-16 text instead of UTF-8";
        return Err(decode_error(message, "save it as UTF-8", Span::default()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let dropped = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let start = error.valid_up_to() - dropped;
        decode_error("the file is not UTF-8 text", "save it as UTF-8", Span { start, end: start })
    })?;
    reject_unmerged(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    Ok(text)
}

/// Decodes a file into a source.
///
/// If decoding fails, the source contains a lossy conversion for messages; it is empty if the file
/// exceeds [`MAX_BYTES`].
pub(crate) fn read(path: &str, bytes: &[u8]) -> (SourceFile, Result<(), SyntaxError>) {
    match decode(bytes) {
        Ok(text) => (SourceFile::new(path, text), Ok(())),
        Err(error) if bytes.len() > MAX_BYTES => (SourceFile::new(path, ""), Err(error)),
        Err(error) => (SourceFile::new(path, String::from_utf8_lossy(bytes)), Err(error)),
    }
}

/// Returns an error if a text has conflict markers or is a Git LFS pointer.
pub(crate) fn reject_unmerged(text: &str) -> Result<(), SyntaxError> {
    if is_lfs_pointer(text.as_bytes()) {
        let message = "the file is a Git LFS pointer instead of its content";
        return Err(decode_error(message, "fetch the content: `git lfs pull`", Span::default()));
    }
    if let Some(span) = conflict_marker(text) {
        let message = "this is a conflict marker of an unresolved merge";
        let help = "resolve the conflict, and remove the markers";
        return Err(decode_error(message, help, span));
    }
    Ok(())
}

pub(crate) fn reject_oversized(bytes: usize) -> Result<(), SyntaxError> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("the file has {bytes} bytes; at most {MAX_BYTES} are allowed");
    let help = "a release manifest has a few kilobytes: check that this is the right file";
    Err(decode_error(&message, help, Span::default()))
}

fn decode_error(message: &str, help: &'static str, span: Span) -> SyntaxError {
    SyntaxError { message: message.to_owned(), help: Some(help), span }
}

/// Returns whether bytes look like UTF-16.
///
/// Looks for the byte order mark of UTF-16, and for a zero in every second byte.
fn is_utf16(bytes: &[u8]) -> bool {
    const SAMPLE: usize = 64;
    let zeros = |first: usize| {
        let mut every_second = bytes.iter().skip(first).step_by(2).take(SAMPLE).peekable();
        every_second.peek().is_some() && every_second.all(|byte| *byte == 0)
    };
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    marked || (bytes.len() >= 4 && zeros(0) != zeros(1))
}

/// Returns the span of the first conflict marker.
fn conflict_marker(text: &str) -> Option<Span> {
    const MARKERS: [&str; 3] = ["<<<<<<< ", "||||||| ", ">>>>>>> "];
    // Search the whole text first: this is cheaper, and most texts contain no marker.
    if !MARKERS.iter().any(|marker| text.contains(marker)) {
        return None;
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if MARKERS.iter().any(|marker| line.starts_with(marker)) {
            return Some(Span { start, end: start + line.trim_end().len() });
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        decode(bytes).map_or_else(|error| error.message, |text| format!("read: {text}"))
    }

    fn utf16(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(encode).collect()
    }

    #[test]
    fn decode_utf16_is_error() {
        for encode in [u16::to_le_bytes, u16::to_be_bytes] {
            for text in ["\u{feff}library/redis:7.2\r\n", "library/redis:7.2\r\n", "\u{feff}持续"]
            {
                assert!(error(&utf16(text, encode)).contains("UTF-16"), "{text}");
            }
        }
        for bytes in [&b""[..], b"\0", b"\0\0\0\0", b"a\0", "a: 持续".as_bytes()] {
            assert!(error(bytes).starts_with("read: "), "{bytes:?}");
        }
    }

    #[test]
    fn decode_conflict_markers_fail() {
        let conflict = "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> topic\n";
        assert_eq!(decode(conflict.as_bytes()).unwrap_err().span, Span { start: 5, end: 17 });
        assert!(error(b"\xef\xbb\xbf>>>>>>> topic").contains("conflict marker"));
        for other in ["a: <<<<<<< HEAD", "<<<<<<<", "======= x", "<<: *a", "    <<<<<<< HEAD"] {
            assert!(error(other.as_bytes()).starts_with("read: "), "{other}");
        }
    }

    #[test]
    fn decode_lfs_pointer_is_error() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        assert!(error(pointer.as_bytes()).contains("Git LFS pointer"));
        assert!(!is_lfs_pointer(format!("{pointer}{}", "x".repeat(MAX_POINTER_BYTES)).as_bytes()));
        assert!(!is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1\n"));
    }
}
