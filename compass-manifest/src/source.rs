//! Defines text files, and positions in them.

use std::ops::Range;
use std::sync::OnceLock;

/// The distance in bytes between the positions that [`SourceFile`] caches.
const STRIDE: usize = 1024;

/// A byte range in the text of a [`SourceFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A position in a text: a line and a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A value with its span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The span in the file.
    pub span: Span,
}

/// A text file with its path in the repository.
#[derive(Debug, Clone)]
pub struct SourceFile {
    path: String,
    text: String,
    /// The position of every [`STRIDE`]th byte.
    ///
    /// With these positions, a lookup takes constant time in lines of any length. They are
    /// computed on demand, because most files have no findings.
    positions: OnceLock<Vec<Position>>,
}

impl Span {
    /// Returns the span as a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl SourceFile {
    /// Creates a file with its path and its text.
    ///
    /// The path is relative to the repository, with `/` as separator. A byte order mark is dropped,
    /// so that columns are the same as in editors.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self { path: path.into(), text, positions: OnceLock::new() }
    }

    /// Returns the path in the repository.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Finds the first occurrence of a part within a span.
    pub(crate) fn find(&self, part: &str, within: Span) -> Option<Span> {
        let start = within.start + self.text.get(within.range())?.find(part)?;
        Some(Span { start, end: start + part.len() })
    }

    /// Returns the line and column of a byte offset.
    ///
    /// An offset after the end of the text is treated as the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let (start, position) = match offset / STRIDE {
            0 => (0, Position::FIRST),
            stride => (stride * STRIDE, self.positions()[stride]),
        };
        position.after(&self.text.as_bytes()[start..offset])
    }

    fn positions(&self) -> &[Position] {
        self.positions.get_or_init(|| {
            let strides = self.text.as_bytes().chunks(STRIDE);
            let mut next = Position::FIRST;
            let mut positions = Vec::with_capacity(self.text.len() / STRIDE + 1);
            for stride in strides {
                positions.push(next);
                next = next.after(stride);
            }
            positions.push(next);
            positions
        })
    }
}

impl Position {
    const FIRST: Self = Self { line: 1, column: 1 };

    /// Returns the position after the bytes that begin at this position.
    ///
    /// UTF-8 continuation bytes do not count as characters.
    fn after(self, bytes: &[u8]) -> Self {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        let lines = lines.count();
        let characters = last.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let column = if lines == 0 { self.column } else { 1 };
        Self { line: self.line + lines, column: column + characters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_columns_count_characters() {
        let file = SourceFile::new("a.yaml", "\u{feff}a: 持续\r\nb: x");
        assert_eq!(file.position(3), Position { line: 1, column: 4 });
        assert_eq!(file.position("a: 持".len()), Position { line: 1, column: 5 });
        assert_eq!(file.position("a: 持续\r\nb".len()), Position { line: 2, column: 2 });
        assert_eq!(file.position(10_000), Position { line: 2, column: 5 });
    }

    #[test]
    fn position_in_long_file_is_exact() {
        let text = "持续 integration\n\n\t".repeat(300) + &"长 line ".repeat(900) + "\nlast";
        let file = SourceFile::new("a.yaml", text.as_str());
        for offset in (0..=text.len()).filter(|offset| text.is_char_boundary(*offset)) {
            let before = &text[..offset];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = before.matches('\n').count() + 1;
            let column = before[line_start..].chars().count() + 1;
            assert_eq!(file.position(offset), Position { line, column });
        }
    }
}
