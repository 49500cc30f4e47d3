//! Parses slash commands: `/kind`, `/queue` and `/cc`.

use super::command::CommandKind;
use super::markdown::MARKUP;
use crate::escape::quote;

/// The maximum length of a label in bytes, which is more than forges permit.
const MAX_LABEL: usize = 100;

/// Parses the commands at the beginning of a line without markup.
pub(super) fn parse_line(line: &str) -> Vec<CommandKind> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((name, arguments)) = command_name(rest) {
        let (command, after) = match name {
            Name::Kind => label("/kind", "kind/", arguments, CommandKind::Kind),
            Name::Queue => label("/queue", "queue/", arguments, CommandKind::Queue),
            Name::Cc => mentions(arguments),
        };
        found.push(command);
        rest = after.trim_start_matches(separates);
    }
    found
}

enum Name {
    Kind,
    Queue,
    Cc,
}

/// Splits the command name at the beginning of a text from its arguments.
fn command_name(text: &str) -> Option<(Name, &str)> {
    let text = text.strip_prefix('/')?;
    let end = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = text.split_at(end);
    let name = match word.to_ascii_lowercase().as_str() {
        "kind" => Name::Kind,
        "queue" => Name::Queue,
        "cc" => Name::Cc,
        _ => return None,
    };
    let rest = rest.trim_start_matches(MARKUP);
    let ends = rest.is_empty()
        || rest.starts_with(|character: char| character.is_whitespace() || character == ':')
        || (matches!(name, Name::Cc) && rest.starts_with('@'));
    ends.then_some((name, rest))
}

fn label<'t>(
    command: &'static str,
    prefix: &str,
    arguments: &'t str,
    kind: fn(String) -> CommandKind,
) -> (CommandKind, &'t str) {
    let incomplete = |reason: String| CommandKind::Incomplete { command, reason };
    let text = arguments.trim_start_matches(|character: char| {
        separates(character) || matches!(character, '"' | '\'')
    });
    if text.is_empty() || text.starts_with('/') {
        return (incomplete("it has no label".to_owned()), text);
    }
    let end = text
        .find(|character: char| {
            !character.is_alphanumeric() && !matches!(character, '.' | '_' | '-' | '/')
        })
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let written = word.trim_end_matches(['.', '_', '/']).to_lowercase();
    let label = written.strip_prefix(prefix).unwrap_or(&written);
    let is_complete = rest.is_empty()
        || rest.starts_with(|character: char| {
            separates(character) || matches!(character, '"' | '\'' | '!' | '?' | '(' | ')' | '~')
        });
    if is_complete && is_label(label) {
        (kind(label.to_owned()), rest.trim_start_matches(['"', '\'']))
    } else {
        let word = text.split_whitespace().next().unwrap_or_default();
        let word: String = word.chars().take(MAX_LABEL).collect();
        (incomplete(format!("{} is not a label", quote(&word))), "")
    }
}

/// Returns whether a text is valid after `queue/` in a label.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL
        && text.starts_with(char::is_alphanumeric)
        && text
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '.' | '_' | '-'))
}

fn mentions(arguments: &str) -> (CommandKind, &str) {
    let mut logins = Vec::new();
    let mut rest = arguments;
    loop {
        let next = rest.trim_start_matches(separates);
        let next = after_and(next).map_or(next, |after| after.trim_start_matches(separates));
        let Some(text) = next.strip_prefix('@') else { break };
        let end = text
            .find(|character: char| {
                !character.is_ascii_alphanumeric() && !matches!(character, '-' | '_' | '.' | '/')
            })
            .unwrap_or(text.len());
        let login = text[..end].trim_end_matches(['.', '/', '_', '-']);
        if login.is_empty() {
            break;
        }
        logins.push(login.to_owned());
        rest = &text[end..];
    }
    if logins.is_empty() {
        let reason = "it mentions no account: write `@login`".to_owned();
        return (CommandKind::Incomplete { command: "/cc", reason }, rest);
    }
    (CommandKind::Cc(logins), rest)
}

/// Returns the text after a conjunction between two mentions.
fn after_and(text: &str) -> Option<&str> {
    ["and ", "& ", "和", "与", "及"].iter().find_map(|word| text.strip_prefix(word))
}

fn separates(character: char) -> bool {
    character.is_whitespace() || matches!(character, ',' | ';' | ':') || MARKUP.contains(&character)
}
