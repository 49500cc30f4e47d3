//! Parses the review comments in `tests/review/comments.txt`, and compares their commands.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write;

use compass_manifest::review::{CommandKind, ListItem, parse_commands};

const CASES: &str = include_str!("review/comments.txt");
const FEWEST: usize = 200;

struct Case {
    name: String,
    text: String,
    expected: String,
}

fn cases() -> Vec<Case> {
    let cases = CASES.split("\n==== ").skip(1);
    cases
        .map(|case| {
            let (name, rest) = case.split_once('\n').unwrap();
            let (text, expected) = rest.split_once("----\n").unwrap_or_else(|| panic!("{name}"));
            Case {
                name: name.to_owned(),
                text: unescape(text),
                expected: expected.trim_end().to_owned(),
            }
        })
        .collect()
}

/// Decodes `\r`, `\t`, `\s` and `\u{…}`, which stand for characters that editors change.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (character, length) = match after.as_bytes()[0] {
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b's' => (' ', 1),
            b'\\' => ('\\', 1),
            b'u' => {
                let end = after.find('}').unwrap();
                let code = u32::from_str_radix(&after[2..end], 16).unwrap();
                (char::from_u32(code).unwrap(), end + 1)
            }
            other => panic!("`\\{}` is not an escape", char::from(other)),
        };
        plain.push(character);
        rest = &after[length..];
    }
    plain + rest
}

fn shown(text: &str) -> String {
    let mut out = String::new();
    for command in parse_commands(text) {
        let line = command.line;
        match command.kind {
            CommandKind::Kind(label) => writeln!(out, "{line} kind {label}"),
            CommandKind::Queue(label) => writeln!(out, "{line} queue {label}"),
            CommandKind::Cc(logins) => writeln!(out, "{line} cc {}", logins.join(" ")),
            CommandKind::Images(items) => {
                writeln!(out, "{line} images").map(|()| list(&mut out, &items))
            }
            CommandKind::Packages(items) => {
                writeln!(out, "{line} packages").map(|()| list(&mut out, &items))
            }
            CommandKind::ReleaseNote(None) => writeln!(out, "{line} note"),
            CommandKind::ReleaseNote(Some(note)) => {
                writeln!(out, "{line} note: {}", note.replace('\n', " | "))
            }
            CommandKind::Incomplete { command, .. } => writeln!(out, "{line} incomplete {command}"),
            _ => panic!("a command that the table does not know"),
        }
        .unwrap();
    }
    out.trim_end().to_owned()
}

fn list<T: std::fmt::Display>(out: &mut String, items: &[ListItem<T>]) {
    for item in items {
        match &item.value {
            Ok(value) => writeln!(out, "  {} {value}", item.line),
            Err(why) => {
                assert!(!why.is_empty());
                writeln!(out, "  {} ! {}", item.line, item.text)
            }
        }
        .unwrap();
    }
}

#[test]
fn parse_commands_matches_table() {
    let mut wrong = String::new();
    for case in cases() {
        let found = shown(&case.text);
        if found != case.expected {
            write!(wrong, "\n==== {}\nexpected:\n{}\nfound:\n{found}\n", case.name, case.expected)
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn table_is_large_and_unique() {
    let cases = cases();
    assert!(cases.len() >= FEWEST, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    let texts: BTreeSet<_> = cases.iter().map(|case| &case.text).collect();
    assert_eq!((names.len(), texts.len()), (cases.len(), cases.len()));
}

#[test]
fn parse_commands_ignores_line_end_style() {
    for case in cases() {
        let unix = case.text.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(shown(&unix.replace('\n', "\r\n")), shown(&unix), "{}", case.name);
    }
}
