//! The commands of the documents run in order, as a reader would type them.
//!
//! The registries are those of `compass demo --keep`, the store is a directory, and the forge is the one
//! of the tests. HTML comments in the guide stand for what people do on the forge. Programs that need a
//! daemon or a cluster have substitutes that read the files that they get.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../install/center.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod center;
#[path = "../forge_server/mod.rs"]
#[allow(clippy::all, clippy::pedantic, unused_imports, reason = "linted in its own test program")]
mod forge_server;
mod options;
mod page;
mod pages;
mod session;

use std::path::{Path, PathBuf};

use page::{Item, Mode, commands, read};
use pages::{ELSEWHERE, PAGES, Page};
use session::{Demo, Session};

const ENGLISH: &str = include_str!("../../../docs/guide.md");
const CHINESE: &str = include_str!("../../../docs/guide.zh-CN.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README and the documents, as paths from the root.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "README.zh-CN.md".to_owned()];
    for directory in ["docs", "docs/rules"] {
        let entries = std::fs::read_dir(root().join(directory)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let pages = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
        let names = pages.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        found.extend(names.map(|name| format!("{directory}/{name}")));
    }
    found
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

#[test]
fn documents_with_commands_are_all_listed() {
    let listed: Vec<_> =
        PAGES.iter().map(|page| page.file).chain(ELSEWHERE.iter().map(|one| one.0)).collect();
    for file in documents() {
        if !listed.contains(&&*file) {
            assert_eq!(read(&text(&file)), [], "{file}: add the page to `pages.rs`");
        }
    }
    for file in listed {
        assert!(root().join(file).is_file(), "{file}");
    }
}

#[test]
fn readme_commands_are_equal_in_both_languages() {
    let all = |file: &str| -> Vec<_> {
        let blocks = read(&text(file)).into_iter().map(|item| match item {
            Item::Block(mode, block) => (mode, commands(&block)),
            other => panic!("{other:?}"),
        });
        blocks.collect()
    };
    assert_eq!(all("README.md"), all("README.zh-CN.md"));
}

#[test]
fn guide_commands_are_equal_in_both_languages() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    for (one, other) in english.iter().zip(&chinese) {
        assert_eq!(one, other);
    }
    assert_eq!(english.len(), chinese.len());
}

/// Follows the guide to its end.
fn follow_guide(demo: &Demo) {
    let mut session = Session::start(demo);
    for item in read(ENGLISH) {
        match item {
            Item::Block(Mode::Background, commands) if commands == "compass demo --keep" => {}
            Item::Block(Mode::Background, commands) => {
                session.serve(&commands.replace("compass bot", "exec compass bot"));
            }
            item => session.follow(item),
        }
    }
    // The queue accepted the whole road of the plugin.
    assert_eq!(session.labels(1), ["kind/release", "queue/done-package-uploaded"]);
    assert_eq!(session.receipts(), ["hotfix", "product"]);
    // The paths of the process.
    for path in [
        "plugins/gpu-manager/compass-plugins-gpu-manager-v0.1.2.tar.gz",
        "hotfixes/compass/v2.7.0/compass-hotfixes-web-v2.7.0-20180605-p2.tar.gz",
    ] {
        assert!(session.is_published(path), "{path}");
    }
}

/// Follows a page. Each command that does not run has to be listed, and to exist.
fn follow(page: &Page, demo: &Demo) {
    let mut session = Session::start(demo);
    session.substitute(page.substitutes);
    for commands in page.setup {
        session.run(commands);
    }
    let mut not_run: Vec<&str> = page.not_run.iter().map(|(command, _)| *command).collect();
    for item in read(&text(page.file)) {
        let Item::Block(Mode::Succeeds | Mode::Forge, block) = item else {
            session.follow(item);
            continue;
        };
        let listed = |command: &str| {
            page.not_run.iter().map(|(listed, _)| *listed).find(|one| command.starts_with(one))
        };
        let is_other = |command: &String| listed(command).is_none();
        let all = commands(&block);
        not_run.retain(|one| !all.iter().any(|command| listed(command) == Some(one)));
        let script: Vec<_> = all.into_iter().filter(is_other).collect();
        session.run_or_serve(&script);
    }
    assert_eq!(not_run, [""; 0], "{}: these commands are no longer there", page.file);
}

#[test]
fn documents_followed_literally_succeed() {
    let demo = Demo::start();
    std::thread::scope(|scope| {
        scope.spawn(|| follow_guide(&demo));
        for page in PAGES {
            scope.spawn(|| follow(page, &demo));
        }
    });
}
