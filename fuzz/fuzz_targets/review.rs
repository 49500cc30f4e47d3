//! Comments become statements, and a pull request that anybody may write in has a standing: each
//! statement is on a line of its comment, and the same comments give the same standing.
#![no_main]

use compass_manifest::review::command::parse;
use compass_manifest::review::{Facts, Queue};
use libfuzzer_sys::fuzz_target;

/// Between the comments of an input, the first of which is the body.
const BETWEEN: char = '\u{1e}';

fuzz_target!(|text: &str| {
    let lines = text.split(['\n', '\r']).count();
    for statement in parse(text) {
        assert!((1..=lines).contains(&statement.line), "line {} of {lines}", statement.line);
    }
    let mut comments = text.split(BETWEEN);
    let mut facts = Facts::new("alice", comments.next().unwrap_or_default());
    for (comment, author) in comments.zip(["alice", "bob"].into_iter().cycle()) {
        facts.add_comment(author, comment);
    }
    facts.grant_role("bob", "platform-release");
    let (standing, again) = (Queue::default().evaluate(&facts), Queue::default().evaluate(&facts));
    assert_eq!(standing.to_string(), again.to_string());
});
