//! Extracts the visible lines of a Markdown text, and strips their markup.

use std::borrow::Cow;

use crate::escape::is_format;

/// A visible line.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// The line in the original text, from 1.
    pub(super) number: usize,
    /// The line without HTML comments.
    pub(super) shown: &'t str,
    /// The line without markup and invisible characters; full-width punctuation, letters and digits
    /// are replaced by ASCII.
    pub(super) content: String,
    /// The kind of the line.
    pub(super) kind: LineKind,
}

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    /// Any other line.
    Text,
    /// An unchecked task: `- [ ] …`.
    UncheckedTask,
    /// The beginning of a code fence; the content is its info string.
    FenceOpens,
    /// The end of a code fence.
    FenceCloses,
    /// A quotation: `> …`.
    Quoted,
}

/// The Markdown characters that may be around words.
pub(super) const MARKUP: &[char] = &['*', '_', '`'];

/// The maximum number of digits of a list number (`CommonMark`, § 5.2).
const MAX_NUMBER_DIGITS: usize = 9;
const BULLETS: &[char] = &['-', '+', '•', '·', '‣', '–', '—'];

/// Removes HTML comments. Lines keep their numbers, and end with `\n`.
pub(super) fn strip_comments(text: &str) -> String {
    let mut visible = VisibleText { text: String::with_capacity(text.len()), starts_line: true };
    let mut rest = text;
    // If one comment has no end, no later comment has one. Do not search again, so that the time
    // stays linear.
    let mut may_end = true;
    while let Some(at) = rest.find("<!--") {
        let (before, comment) = rest.split_at(at);
        visible.push(before);
        // `<!-->` is a complete comment: its begin and end share their dashes.
        let end = if may_end { comment[2..].find("-->") } else { None };
        if let Some(end) = end {
            let (hidden, after) = comment.split_at(2 + end + 3);
            visible.skip(hidden);
            rest = after;
        } else if visible.starts_line {
            // An unclosed HTML block hides the rest of the text.
            return visible.text;
        } else {
            may_end = false;
            visible.push("<!--");
            rest = &comment[4..];
        }
    }
    visible.push(rest);
    visible.text
}

/// The visible text before the current position, while comments are removed.
struct VisibleText {
    text: String,
    starts_line: bool,
}

impl VisibleText {
    fn push(&mut self, text: &str) {
        for character in unix_lines(text) {
            self.starts_line = match character {
                '\n' => true,
                '>' | '-' | '*' | '+' => self.starts_line,
                other => self.starts_line && other.is_whitespace(),
            };
            self.text.push(character);
        }
    }

    fn skip(&mut self, comment: &str) {
        self.text.push(' ');
        for _ in unix_lines(comment).filter(|character| *character == '\n') {
            self.text.push('\n');
            self.starts_line = true;
        }
    }
}

fn unix_lines(text: &str) -> impl Iterator<Item = char> {
    let mut characters = text.chars().peekable();
    std::iter::from_fn(move || {
        let character = characters.next()?;
        if character == '\r' {
            let _ = characters.next_if_eq(&'\n');
            return Some('\n');
        }
        Some(character)
    })
}

/// Iterates over the lines of a text without comments.
pub(super) fn lines(shown: &str) -> impl Iterator<Item = Line<'_>> {
    let mut open = None;
    shown.split('\n').enumerate().map(move |(index, line)| {
        let clean = clean(line);
        let StrippedLine { text, is_unchecked, is_quoted } = strip_markdown(&clean);
        let (kind, content) = match fence(&clean) {
            // A fence in a quotation ends with the quotation, so it does not open a fence.
            _ if is_quoted => (LineKind::Quoted, text),
            Some(fence) => (fence.apply(&mut open), fence.info),
            None if is_unchecked => (LineKind::UncheckedTask, text),
            None => (LineKind::Text, text),
        };
        let content = content.to_owned();
        Line { number: index + 1, shown: line, content, kind }
    })
}

/// Removes invisible characters, and replaces full-width characters by ASCII.
pub(super) fn clean(line: &str) -> Cow<'_, str> {
    if line.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return Cow::Borrowed(line);
    }
    Cow::Owned(line.chars().filter(|character| !is_invisible(*character)).map(narrow).collect())
}

fn is_invisible(character: char) -> bool {
    is_format(character) || (character.is_control() && !character.is_whitespace())
}

fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        '“' | '”' | '„' => '"',
        '‘' | '’' => '\'',
        '、' => ',',
        '。' | '…' => '.',
        other => other,
    }
}

/// A line that begins or ends a code fence.
struct Fence<'l> {
    character: char,
    length: usize,
    info: &'l str,
}

fn fence(line: &str) -> Option<Fence<'_>> {
    let line = line.trim_start_matches(|character: char| {
        character.is_whitespace() || BULLETS.contains(&character)
    });
    let character = line.chars().next().filter(|first| matches!(first, '`' | '~'))?;
    let info = line.trim_start_matches(character);
    let length = line.len() - info.len();
    // Three backticks around a text on one line are inline code.
    (length >= 3 && !info.contains('`')).then_some(Fence { character, length, info: info.trim() })
}

impl Fence<'_> {
    /// Updates the open fence, and returns the kind of the line.
    fn apply(&self, open: &mut Option<(char, usize)>) -> LineKind {
        match *open {
            Some((character, length)) => {
                if character != self.character || self.length < length || !self.info.is_empty() {
                    // The line does not close the open fence: it has another character, is too
                    // short, or has an info string.
                    return LineKind::FenceOpens;
                }
                *open = None;
                LineKind::FenceCloses
            }
            None => {
                *open = Some((self.character, self.length));
                LineKind::FenceOpens
            }
        }
    }
}

/// A line without markup, and the meaning of its markup.
struct StrippedLine<'l> {
    text: &'l str,
    /// Whether the line begins with an unchecked box.
    is_unchecked: bool,
    /// Whether the line begins with a quotation mark (`>`).
    is_quoted: bool,
}

/// Strips the Markdown marks of a line.
///
/// These are quotation marks (`>`), bullets, numbers, heading marks, emphasis and line breaks.
fn strip_markdown(line: &str) -> StrippedLine<'_> {
    let mut rest = line;
    let (mut is_unchecked, mut is_quoted) = (false, false);
    loop {
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('>') {
            rest = inner;
            is_quoted = true;
        } else if let Some(inner) = rest.strip_prefix(MARKUP) {
            rest = inner;
        } else if let Some(inner) = after_box(rest, "[ ]") {
            rest = inner;
            is_unchecked = true;
        } else if let Some(inner) = after_bullet(rest)
            .or_else(|| after_number(rest))
            .or_else(|| after_heading_mark(rest))
            .or_else(|| after_box(rest, "[x]"))
            .or_else(|| after_box(rest, "[X]"))
        {
            rest = inner;
        } else {
            break;
        }
    }
    StrippedLine { text: strip_end(rest), is_unchecked, is_quoted }
}

fn strip_end(mut line: &str) -> &str {
    loop {
        let trimmed = line
            .trim_end_matches(|character: char| {
                character.is_whitespace() || MARKUP.contains(&character)
            })
            .trim_end_matches("<br>")
            .trim_end_matches("<br/>")
            .trim_end_matches("<br />");
        if trimmed.len() == line.len() {
            return line;
        }
        line = trimmed;
    }
}

fn after_bullet(line: &str) -> Option<&str> {
    line.strip_prefix(BULLETS).filter(|rest| ends_word(rest))
}

fn after_box<'l>(line: &'l str, checkbox: &str) -> Option<&'l str> {
    line.strip_prefix(checkbox).filter(|rest| ends_word(rest))
}

fn after_heading_mark(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    ((1..=6).contains(&(line.len() - rest.len())) && ends_word(rest)).then_some(rest)
}

/// Returns the text after a list number: `1. `, `1) `, `(1) ` or `1、`.
fn after_number(line: &str) -> Option<&str> {
    let line = line.strip_prefix('(').unwrap_or(line);
    let digits = line.bytes().take(MAX_NUMBER_DIGITS + 1).take_while(u8::is_ascii_digit).count();
    if !(1..=MAX_NUMBER_DIGITS).contains(&digits) {
        return None;
    }
    let rest = &line[digits..];
    rest.strip_prefix(',').or_else(|| rest.strip_prefix(['.', ')']).filter(|rest| ends_word(rest)))
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(char::is_whitespace)
}
