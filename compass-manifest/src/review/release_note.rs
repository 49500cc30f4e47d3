//! Parses the release note of a pull request.

use super::markdown::{self, Line, MARKUP};

/// A release note that is being parsed.
#[derive(Debug)]
pub(super) struct Note {
    line: usize,
    lines: Vec<String>,
    has_content: bool,
    in_fence: bool,
}

/// The texts that do not count as a release note, in lower case.
const PLACEHOLDERS: &[&str] = &[
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

/// Returns the text after the heading of a release note; `None` for another line.
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
    /// Starts a note with the text after its heading.
    pub(super) fn headed(line: usize, rest: &str) -> Self {
        let mut note = Self { line, lines: Vec::new(), has_content: false, in_fence: false };
        note.has_content = is_content(rest);
        note.lines.push(rest.to_owned());
        note
    }

    /// Starts a note in a code fence with the info string `release-note`.
    pub(super) fn fenced(line: usize) -> Self {
        Self { line, lines: Vec::new(), has_content: false, in_fence: true }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Begins a code fence in the note, in which `#` is not a heading.
    pub(super) fn open_fence(&mut self) {
        self.in_fence = true;
    }

    /// Adds a line. Returns `false` if the note ended before the line.
    pub(super) fn add_line(&mut self, line: &Line<'_>) -> bool {
        if !self.in_fence && is_section_heading(line.shown) {
            return false;
        }
        self.has_content |= is_content(&line.content);
        self.lines.push(strip_quote(line.shown).trim_end().to_owned());
        true
    }

    /// Returns the text of the note; `None` if the note has no content.
    pub(super) fn text(self) -> Option<String> {
        self.has_content.then(|| self.lines.join("\n").trim().to_owned())
    }
}

/// Returns whether a line has content other than a placeholder or a tag.
fn is_content(content: &str) -> bool {
    let text = content.trim_matches(|character: char| {
        !character.is_alphanumeric() && character != '<' && character != '>'
    });
    let is_tag = text.starts_with('<') && text.ends_with('>');
    text.contains(char::is_alphanumeric)
        && !is_tag
        && !PLACEHOLDERS.iter().any(|it| text.eq_ignore_ascii_case(it))
}

/// Returns whether a line is a heading, or is bold as a whole.
fn is_section_heading(shown: &str) -> bool {
    let clean = markdown::clean(shown);
    let line = strip_quote(&clean).trim();
    let hashes = line.len() - line.trim_start_matches('#').len();
    if (1..=6).contains(&hashes) && line[hashes..].starts_with(char::is_whitespace) {
        return true;
    }
    let bold = line.trim_end_matches(':').trim_end();
    bold.strip_prefix("**")
        .and_then(|inner| inner.strip_suffix("**"))
        .is_some_and(|inner| !inner.is_empty() && !inner.contains("**"))
}

fn strip_quote(line: &str) -> &str {
    line.trim_start_matches(|character: char| character.is_whitespace() || character == '>')
}
