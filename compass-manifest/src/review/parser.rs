//! Parses the commands in a body or a comment.

use crate::image::ImageReference;

use super::command::{Command, CommandKind, ListItem};
use super::item_lists::{self, ListKind};
use super::markdown::{self, Line, LineKind};
use super::release_note::{self, Note};
use super::slash_commands;

/// Parses all commands of a body or a comment, in their order.
///
/// A command must be at the beginning of a line, after Markdown such as bullets, numbers, checked
/// boxes, headings, emphasis and code. Commands in HTML comments, quoted lines, unchecked tasks,
/// and the middle of a sentence are ignored. Parsing takes linear time for any text.
///
/// ```
/// use compass_manifest::review::{CommandKind, parse_commands};
///
/// let commands = parse_commands("> /queue done\r\nLGTM, thanks!\r\n - `/queue need-queue`\r\n");
/// assert_eq!(commands.len(), 1);
/// assert_eq!(commands[0].line, 3);
/// assert_eq!(commands[0].kind, CommandKind::Queue("need-queue".to_owned()));
/// ```
pub fn parse_commands(text: &str) -> Vec<Command> {
    let shown = markdown::strip_comments(text);
    let mut parser = CommandParser::default();
    for line in markdown::lines(&shown) {
        parser.read(&line);
    }
    parser.finish_section();
    parser.commands
}

#[derive(Debug, Default)]
struct CommandParser {
    commands: Vec<Command>,
    section: Section,
}

/// The section to which lines without a command belong.
#[derive(Debug, Default)]
enum Section {
    #[default]
    None,
    Note(Note),
    Images(usize, Vec<ListItem<ImageReference>>),
    Packages(usize, Vec<ListItem<String>>),
}

impl CommandParser {
    fn read(&mut self, line: &Line<'_>) {
        match line.kind {
            LineKind::FenceOpens => self.open_fence(line),
            // The end of a fence ends the note, whether or not the heading is in the fence.
            LineKind::FenceCloses if matches!(self.section, Section::Note(_)) => {
                self.finish_section()
            }
            LineKind::FenceCloses => {}
            LineKind::UncheckedTask | LineKind::Quoted => self.add_to_section(line),
            LineKind::Text => self.read_text(line),
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
        let commands = slash_commands::parse_line(&line.content);
        if !commands.is_empty() {
            self.finish_section();
            let commands = commands.into_iter().map(|kind| Command { line: line.number, kind });
            self.commands.extend(commands);
        } else if let Some(heading) = item_lists::heading(&line.content) {
            self.begin(match heading.kind {
                ListKind::Images => {
                    Section::Images(line.number, item_lists::images(line.number, heading.rest))
                }
                ListKind::Packages => {
                    Section::Packages(line.number, item_lists::packages(line.number, heading.rest))
                }
            });
        } else if let Some(rest) = release_note::heading(&line.content) {
            self.begin(Section::Note(Note::headed(line.number, rest)));
        } else {
            self.add_to_section(line);
        }
    }

    /// Adds a line without a command to the current section, or ends the section.
    fn add_to_section(&mut self, line: &Line<'_>) {
        let continues = match &mut self.section {
            Section::None => true,
            Section::Note(note) => note.add_line(line),
            Section::Images(_, items) => add_items(items, line, item_lists::images),
            Section::Packages(_, items) => add_items(items, line, item_lists::packages),
        };
        if !continues {
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

/// Adds the items of a line to a list.
///
/// Returns `false` if the list ended before the line.
fn add_items<T>(
    items: &mut Vec<ListItem<T>>,
    line: &Line<'_>,
    read: fn(usize, &str) -> Vec<ListItem<T>>,
) -> bool {
    // Lines without letters and digits, such as `---` and empty quotations, may separate items.
    if !line.content.contains(char::is_alphanumeric) {
        return true;
    }
    if line.kind == LineKind::Quoted {
        return false;
    }
    let mut found = read(line.number, &line.content);
    if line.kind == LineKind::UncheckedTask {
        for item in &mut found {
            item.value = Err("the task is not checked".to_owned());
        }
    }
    let is_item = !found.is_empty();
    items.append(&mut found);
    is_item
}
