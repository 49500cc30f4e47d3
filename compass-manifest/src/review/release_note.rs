//! The release note of a pull request.

use super::markdown::{self, Line, MARKUP};

/// A release note while it is read.
#[derive(Debug)]
pub(super) struct Note {
    line: usize,
    lines: Vec<String>,
    noted: bool,
    in_fence: bool,
}

/// What people write where they have nothing to note. Templates come with some of it.
const NOTHING: &[&str] = &[
    "none",
    "no",
    "n/a",
    "na",
    "nil",
    "null",
    "nothing",
    "empty",
    "tbd",
    "todo",
    "release note",
    "无",
    "暂无",
    "没有",
    "待补充",
    "同上",
];

/// Reads a line that begins a release note; gives what of the note stands on it.
pub(super) fn heading(line: &str) -> Option<&str> {
    let rest = english(line).or_else(|| {
        ["发布说明", "发布日志", "版本说明"].iter().find_map(|word| line.strip_prefix(word))
    })?;
    let rest = rest.trim_start_matches(|character: char| {
        character.is_whitespace() || MARKUP.contains(&character)
    });
    if rest.is_empty() {
        return Some(rest);
    }
    let note = rest.strip_prefix(':')?;
    Some(note.trim_start_matches(|character: char| {
        character.is_whitespace() || MARKUP.contains(&character)
    }))
}

fn english(line: &str) -> Option<&str> {
    let rest = strip_word(line, "release")?;
    let rest =
        rest.trim_start_matches(|character: char| character.is_whitespace() || character == '-');
    strip_word(rest, "notes")
        .or_else(|| strip_word(rest, "note(s)"))
        .or_else(|| strip_word(rest, "note"))
}

fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

impl Note {
    /// A note under a heading.
    pub(super) fn headed(line: usize, rest: &str) -> Self {
        let mut note = Self { line, lines: Vec::new(), noted: false, in_fence: false };
        note.noted = says_something(rest);
        note.lines.push(rest.to_owned());
        note
    }

    /// A note in a fence that says that it is one.
    pub(super) fn fenced(line: usize) -> Self {
        Self { line, lines: Vec::new(), noted: false, in_fence: true }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Enters a fence, in which `#` is no heading.
    pub(super) fn open_fence(&mut self) {
        self.in_fence = true;
    }

    /// Adds a line; `false` where the note ended before it.
    pub(super) fn take(&mut self, line: &Line<'_>) -> bool {
        if !self.in_fence && begins_another_section(line.shown) {
            return false;
        }
        self.noted |= says_something(&line.content);
        self.lines.push(quoted(line.shown).trim_end().to_owned());
        true
    }

    /// The note; `None` where nothing is noted.
    pub(super) fn text(self) -> Option<String> {
        self.noted.then(|| self.lines.join("\n").trim().to_owned())
    }
}

/// Whether a line is more than a placeholder.
fn says_something(content: &str) -> bool {
    let text = content.trim_matches(|character: char| {
        !character.is_alphanumeric() && character != '<' && character != '>'
    });
    let placeholder = text.starts_with('<') && text.ends_with('>');
    text.contains(char::is_alphanumeric)
        && !placeholder
        && !NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))
}

/// A heading, or a line that is bold from end to end.
fn begins_another_section(shown: &str) -> bool {
    let clean = markdown::clean(shown);
    let line = quoted(&clean).trim();
    let hashes = line.len() - line.trim_start_matches('#').len();
    if (1..=6).contains(&hashes) && line[hashes..].starts_with(char::is_whitespace) {
        return true;
    }
    let bold = line.trim_end_matches(':').trim_end();
    bold.strip_prefix("**")
        .and_then(|inner| inner.strip_suffix("**"))
        .is_some_and(|inner| !inner.is_empty() && !inner.contains("**"))
}

fn quoted(line: &str) -> &str {
    line.trim_start_matches(|character: char| character.is_whitespace() || character == '>')
}
