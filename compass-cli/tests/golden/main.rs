//! Compares with recorded values: the SHA-256 of bundles of every kind (`digests.txt`), and the
//! exit code, stdout and stderr of every command (`snapshots/`, by `commands.txt`).
//!
//! `COMPASS_BLESS=1 cargo test -p compass-cli --test golden` updates the recorded values.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod images;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compass_registry::Digest;

use world::World;

/// The first column of `digests.txt` is the digest, the rest are arguments of `compass package`.
#[test]
fn package_digests_match_table() {
    let world = World::new();
    let table = std::fs::read_to_string(golden("digests.txt")).unwrap();
    let mut actual = String::new();
    for (number, line) in table.lines().enumerate() {
        let Some((_, arguments)) = line.split_once("  ").filter(|_| !line.starts_with('#')) else {
            actual.push_str(&format!("{line}\n"));
            continue;
        };
        let file = format!("{number}.tar.gz");
        let ran = world.compass(&format!("package {arguments} --from <source> -o {file}"));
        assert!(ran.starts_with("exit 0\n"), "{arguments}: {ran}");
        let digest = Digest::of(&std::fs::read(world.path(&file)).unwrap());
        actual.push_str(&format!("{}  {arguments}\n", digest.hex()));
    }
    assert_golden("digests.txt", &actual);
}

/// A section of `commands.txt` is a snapshot. Lines with `*` run in both formats; lines with `!`
/// are shell commands whose output is not recorded.
#[test]
fn command_outputs_match_snapshots() {
    let world = World::new();
    let mut snapshots: BTreeMap<&str, String> = BTreeMap::new();
    let mut section = "";
    for line in include_str!("commands.txt").lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some(script) = line.strip_prefix("! ") {
            world.shell(script);
        } else {
            let (command, formats) = match line.strip_prefix("* ") {
                Some(command) => (command, &["", " --format json"][..]),
                None => (line, &[""][..]),
            };
            for format in formats {
                let ran = world.compass(&format!("{command}{format}"));
                let held = format!("$ compass {command}{format}\n{ran}\n");
                snapshots.entry(section).or_default().push_str(&held);
            }
        }
    }
    for (name, text) in &snapshots {
        assert_golden(&format!("snapshots/{name}.txt"), text);
    }
    for file in std::fs::read_dir(golden("snapshots")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_known = snapshots.contains_key(name.trim_end_matches(".txt"));
        assert!(is_known, "no section of commands.txt writes snapshots/{name}");
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares a text with a file of this directory, or writes the file with `COMPASS_BLESS=1`.
fn assert_golden(name: &str, actual: &str) {
    let path = golden(name);
    if std::env::var_os("COMPASS_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = expected.lines().zip(actual.lines()).position(|(old, new)| old != new);
    let line = differing.unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end of file)").to_owned();
    assert!(
        expected == actual,
        "{name}:{}: expected\n  {}\nfound\n  {}\nCOMPASS_BLESS=1 accepts the difference",
        line + 1,
        at(&expected),
        at(actual),
    );
}
