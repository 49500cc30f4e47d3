//! Parses review commands, and evaluates a pull request with arbitrary comments.
//! Each command must be on a line of its comment, and the evaluation must be deterministic.
#![no_main]

use compass_manifest::review::parse_commands;
use compass_manifest::review::{Facts, Queue};
use libfuzzer_sys::fuzz_target;

/// Separates the comments of an input.
/// The first one is the body of the pull request.
const SEPARATOR: char = '\u{1e}';

fuzz_target!(|text: &str| {
    let lines = text.split(['\n', '\r']).count();
    for statement in parse_commands(text) {
        assert!((1..=lines).contains(&statement.line), "line {} of {lines}", statement.line);
    }
    let mut comments = text.split(SEPARATOR);
    let mut facts = Facts::new("alice", comments.next().unwrap_or_default());
    for (comment, author) in comments.zip(["alice", "bob"].into_iter().cycle()) {
        facts.add_comment(author, comment);
    }
    facts.grant_role("bob", "platform-release");
    let (status, again) = (Queue::default().evaluate(&facts), Queue::default().evaluate(&facts));
    assert_eq!(status.to_string(), again.to_string());
});
