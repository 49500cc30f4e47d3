//! What a reader of a comment sees, line by line, without the marks of Markdown.

use std::borrow::Cow;

use crate::escape::is_format;

/// A line of a comment as it is shown.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// From 1, in the text as it was written.
    pub(super) number: usize,
    /// The line without HTML comments.
    pub(super) shown: &'t str,
    /// What is left of it without decoration and characters that nobody sees; full-width
    /// punctuation, letters and digits are written as ASCII.
    pub(super) content: String,
    /// What the line is.
    pub(super) mark: Mark,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Anything that is not one of the others.
    Text,
    /// An item whose box is not ticked: `- [ ] …`.
    UncheckedTask,
    /// Opens a fence; the content is its info string.
    FenceOpens,
    /// Closes a fence.
    FenceCloses,
    /// Repeats the words of another text: `> …`.
    Quoted,
}

/// Characters that Markdown sets around words.
pub(super) const MARKUP: &[char] = &['*', '_', '`'];

const LONGEST_NUMBER: usize = 9;
const BULLETS: &[char] = &['-', '+', '•', '·', '‣', '–', '—'];

/// The text without its HTML comments. Lines keep their numbers, and end with `\n`.
pub(super) fn without_comments(text: &str) -> String {
    let mut shown = Shown { text: String::with_capacity(text.len()), starts_line: true };
    let mut rest = text;
    // Where one comment does not end, no later one does: nothing is searched twice.
    let mut some_end = true;
    while let Some(at) = rest.find("<!--") {
        let (before, comment) = rest.split_at(at);
        shown.show(before);
        // `<!-->` is a whole comment, so the end may share its dashes with the beginning.
        let end = if some_end { comment[2..].find("-->") } else { None };
        if let Some(end) = end {
            let (hidden, after) = comment.split_at(2 + end + 3);
            shown.hide(hidden);
            rest = after;
        } else if shown.starts_line {
            // A forge hides all that follows, as HTML blocks are read.
            return shown.text;
        } else {
            some_end = false;
            shown.show("<!--");
            rest = &comment[4..];
        }
    }
    shown.show(rest);
    shown.text
}

struct Shown {
    text: String,
    starts_line: bool,
}

impl Shown {
    fn show(&mut self, text: &str) {
        for character in unix_lines(text) {
            self.starts_line = match character {
                '\n' => true,
                '>' | '-' | '*' | '+' => self.starts_line,
                other => self.starts_line && other.is_whitespace(),
            };
            self.text.push(character);
        }
    }

    fn hide(&mut self, comment: &str) {
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

/// The lines of a text that [`without_comments`] gave.
pub(super) fn lines(shown: &str) -> impl Iterator<Item = Line<'_>> {
    let mut open = None;
    shown.split('\n').enumerate().map(move |(index, line)| {
        let clean = clean(line);
        let Undecorated { text, is_unticked, is_quoted } = strip_markdown(&clean);
        let (mark, content) = match fence(&clean) {
            // A fence in a quote ends with the quote.
            _ if is_quoted => (Mark::Quoted, text),
            Some(fence) => (fence.follow(&mut open), fence.info),
            None if is_unticked => (Mark::UncheckedTask, text),
            None => (Mark::Text, text),
        };
        let content = content.to_owned();
        Line { number: index + 1, shown: line, content, mark }
    })
}

/// Drops what nobody sees and writes full-width characters as ASCII.
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
    // ```text``` on one line is code within a line.
    (length >= 3 && !info.contains('`')).then_some(Fence { character, length, info: info.trim() })
}

impl Fence<'_> {
    fn follow(&self, open: &mut Option<(char, usize)>) -> Mark {
        match *open {
            Some((character, length)) => {
                if character != self.character || self.length < length || !self.info.is_empty() {
                    // A shorter one inside a longer one, as when a comment is shown whole.
                    return Mark::FenceOpens;
                }
                *open = None;
                Mark::FenceCloses
            }
            None => {
                *open = Some((self.character, self.length));
                Mark::FenceOpens
            }
        }
    }
}

/// A line without the marks of Markdown, and what some of these marks say.
struct Undecorated<'l> {
    text: &'l str,
    /// Whether it begins with an empty box.
    is_unticked: bool,
    /// Whether it begins with a quote mark.
    is_quoted: bool,
}

/// Takes quotes, bullets, numbers, heading marks, emphasis and line breaks off a line.
fn strip_markdown(line: &str) -> Undecorated<'_> {
    let mut rest = line;
    let (mut is_unticked, mut is_quoted) = (false, false);
    loop {
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('>') {
            rest = inner;
            is_quoted = true;
        } else if let Some(inner) = rest.strip_prefix(MARKUP) {
            rest = inner;
        } else if let Some(inner) = after_box(rest, "[ ]") {
            rest = inner;
            is_unticked = true;
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
    Undecorated { text: without_end(rest), is_unticked, is_quoted }
}

fn without_end(mut line: &str) -> &str {
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

fn after_box<'l>(line: &'l str, tick: &str) -> Option<&'l str> {
    line.strip_prefix(tick).filter(|rest| ends_word(rest))
}

fn after_heading_mark(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    ((1..=6).contains(&(line.len() - rest.len())) && ends_word(rest)).then_some(rest)
}

/// `1. `, `1) `, `(1) ` and `1、`.
fn after_number(line: &str) -> Option<&str> {
    let line = line.strip_prefix('(').unwrap_or(line);
    let digits = line.bytes().take(LONGEST_NUMBER + 1).take_while(u8::is_ascii_digit).count();
    if !(1..=LONGEST_NUMBER).contains(&digits) {
        return None;
    }
    let rest = &line[digits..];
    rest.strip_prefix(',').or_else(|| rest.strip_prefix(['.', ')']).filter(|rest| ends_word(rest)))
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(char::is_whitespace)
}
