//! Reads what people say to the queue in pull request bodies and comments.

use crate::image::ImageReference;

use super::item_lists::{self, Kind};
use super::markdown::{self, Line, Mark};
use super::release_note::{self, Note};
use super::slash_commands;

/// One thing that a text says to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The line it stands on, from 1. That of the heading, for lists and notes.
    pub line: usize,
    /// What is said.
    pub kind: CommandKind,
}

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandKind {
    /// `/kind LABEL`; the label in lower case and without `kind/`.
    Kind(String),
    /// `/queue LABEL`; the label in lower case and without `queue/`.
    Queue(String),
    /// `/cc @a @b`; logins, or teams as `org/team`, without `@`.
    Cc(Vec<String>),
    /// `image(s) pushed to` and the images that follow.
    Images(Vec<ListItem<ImageReference>>),
    /// `packages uploaded to` and the addresses that follow.
    Packages(Vec<ListItem<String>>),
    /// A release note; `None` where its heading stands and nothing is noted.
    ReleaseNote(Option<String>),
    /// A command that lacks what belongs to it.
    Incomplete {
        /// The command, as `/queue`.
        command: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListItem<T> {
    /// The line it stands on, from 1.
    pub line: usize,
    /// What is written, shortened where it is very long.
    pub text: String,
    /// What it means, or why it means nothing.
    pub value: Result<T, String>,
}

impl<T> ListItem<T> {
    /// Whether the item cannot be read.
    pub fn is_malformed(&self) -> bool {
        self.value.is_err()
    }
}

/// Reads all commands of a pull request's body or of a comment, in their order.
///
/// A command must begin its line, after Markdown's decoration: bullets, numbers, ticked boxes,
/// headings, emphasis, code. HTML comments, quoted lines, lines behind an empty box and the middle of
/// a sentence say nothing. Takes time in proportion to the text, whatever it is.
///
/// ```
/// use compass_manifest::review::command::{CommandKind, parse};
///
/// let commands = parse("> /queue done\r\nLGTM, thanks!\r\n - `/queue need-queue`\r\n");
/// assert_eq!(commands.len(), 1);
/// assert_eq!(commands[0].line, 3);
/// assert_eq!(commands[0].kind, CommandKind::Queue("need-queue".to_owned()));
/// ```
pub fn parse(text: &str) -> Vec<Command> {
    let shown = markdown::without_comments(text);
    let mut reader = Reader::default();
    for line in markdown::lines(&shown) {
        reader.read(&line);
    }
    reader.finish_section();
    reader.commands
}

#[derive(Debug, Default)]
struct Reader {
    commands: Vec<Command>,
    section: Section,
}

/// What lines without a command belong to.
#[derive(Debug, Default)]
enum Section {
    #[default]
    None,
    Note(Note),
    Images(usize, Vec<ListItem<ImageReference>>),
    Packages(usize, Vec<ListItem<String>>),
}

impl Reader {
    fn read(&mut self, line: &Line<'_>) {
        match line.mark {
            Mark::FenceOpens => self.open_fence(line),
            // A note ends with its fence, and with a fence that it stands in.
            Mark::FenceCloses if matches!(self.section, Section::Note(_)) => self.finish_section(),
            Mark::FenceCloses => {}
            Mark::UncheckedTask | Mark::Quoted => self.belongs_to_section(line),
            Mark::Text => self.read_text(line),
        }
    }

    fn open_fence(&mut self, line: &Line<'_>) {
        let info = line.content.split_whitespace().next().unwrap_or_default();
        let is_note = info.eq_ignore_ascii_case("release-note");
        match &mut self.section {
            Section::Note(note) => note.open_fence(),
            _ if is_note => self.begin(Section::Note(Note::fenced(line.number))),
            _ => {}
        }
    }

    fn read_text(&mut self, line: &Line<'_>) {
        let commands = slash_commands::commands(&line.content);
        if !commands.is_empty() {
            self.finish_section();
            let commands = commands.into_iter().map(|kind| Command { line: line.number, kind });
            self.commands.extend(commands);
        } else if let Some(heading) = item_lists::heading(&line.content) {
            self.begin(match heading.kind {
                Kind::Images => {
                    Section::Images(line.number, item_lists::images(line.number, heading.rest))
                }
                Kind::Packages => {
                    Section::Packages(line.number, item_lists::packages(line.number, heading.rest))
                }
            });
        } else if let Some(rest) = release_note::heading(&line.content) {
            self.begin(Section::Note(Note::headed(line.number, rest)));
        } else {
            self.belongs_to_section(line);
        }
    }

    /// Hands a line without a command to the section that it may belong to.
    fn belongs_to_section(&mut self, line: &Line<'_>) {
        let goes_on = match &mut self.section {
            Section::None => true,
            Section::Note(note) => note.take(line),
            Section::Images(_, items) => take(items, line, item_lists::images),
            Section::Packages(_, items) => take(items, line, item_lists::packages),
        };
        if !goes_on {
            self.finish_section();
        }
    }

    fn begin(&mut self, section: Section) {
        self.finish_section();
        self.section = section;
    }

    fn finish_section(&mut self) {
        let (line, kind) = match std::mem::take(&mut self.section) {
            Section::None => return,
            Section::Note(note) => (note.line(), CommandKind::ReleaseNote(note.text())),
            Section::Images(line, items) => (line, CommandKind::Images(items)),
            Section::Packages(line, items) => (line, CommandKind::Packages(items)),
        };
        self.commands.push(Command { line, kind });
    }
}

/// Adds a line's items to a list; `false` where the list ended before that line.
fn take<T>(
    items: &mut Vec<ListItem<T>>,
    line: &Line<'_>,
    read: fn(usize, &str) -> Vec<ListItem<T>>,
) -> bool {
    // Rules, dots and empty quotes may be between items.
    if !line.content.contains(char::is_alphanumeric) {
        return true;
    }
    if line.mark == Mark::Quoted {
        return false;
    }
    let mut found = read(line.number, &line.content);
    if line.mark == Mark::UncheckedTask {
        for item in &mut found {
            item.value = Err("its box is not ticked".to_owned());
        }
    }
    let is_item = !found.is_empty();
    items.append(&mut found);
    is_item
}
