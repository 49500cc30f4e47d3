//! The guide in both languages: its commands run in order, as a reader would type them.
//!
//! The registries are those of `compass demo --keep`, the store is a directory, and the forge is the one
//! of the tests. HTML comments in the guide stand for what people do on the forge.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../forge_server/mod.rs"]
#[allow(clippy::all, clippy::pedantic, unused_imports, reason = "linted in its own test program")]
mod forge_server;
mod page;
mod session;

use page::{Item, Mode, read};
use session::Session;

const ENGLISH: &str = include_str!("../../../docs/guide.md");
const CHINESE: &str = include_str!("../../../docs/guide.zh-CN.md");

#[test]
fn guide_commands_are_equal_in_both_languages() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    for (one, other) in english.iter().zip(&chinese) {
        assert_eq!(one, other);
    }
    assert_eq!(english.len(), chinese.len());
}

#[test]
fn guide_followed_literally_succeeds() {
    let mut session = Session::start();
    for item in read(ENGLISH) {
        match item {
            Item::Block(Mode::Background, commands) => assert_eq!(commands, "compass demo --keep"),
            Item::Block(Mode::Refused, commands) => {
                commands.lines().for_each(|line| session.refused(line));
            }
            Item::Block(Mode::Succeeds | Mode::Forge, commands) => session.run(&commands),
            Item::Author { number, login } => session.set_author(number, &login),
            Item::Comment { number, login, text } => session.comment(number, &login, &text),
        }
    }
    // The queue accepted the whole road of the plugin.
    assert_eq!(session.labels(1), ["kind/release", "queue/done-package-uploaded"]);
    assert_eq!(session.receipts(), ["hotfix", "product"]);
}
