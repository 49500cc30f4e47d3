//! The commits of the forge, from a bare git repository.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Runs git; returns its output without the last line break.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = output(directory, arguments);
    String::from_utf8(output).unwrap().trim_end().to_owned()
}

fn output(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The answer with the files of a commit.
pub(super) fn tree(directory: &Path, commit: &str) -> Value {
    let listed = run(directory, &["ls-tree", "-r", "-t", commit]);
    let entries = listed.lines().map(|line| {
        let (fields, path) = line.split_once('\t').unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        json!({"path": path, "mode": fields[0], "type": fields[1], "sha": fields[2]})
    });
    json!({"sha": commit, "tree": entries.collect::<Vec<_>>(), "truncated": false})
}

pub(super) fn blob(directory: &Path, object: &str) -> Vec<u8> {
    output(directory, &["cat-file", "blob", object])
}

pub(super) fn merge_base(directory: &Path, base: &str, head: &str) -> String {
    run(directory, &["merge-base", base, head])
}

/// The paths that differ between two commits.
pub(super) fn changed(directory: &Path, base: &str, head: &str) -> Vec<(String, String)> {
    let base = merge_base(directory, base, head);
    let listed = run(directory, &["diff", "--name-status", "--no-renames", &base, head]);
    let parse = |line: &str| {
        let (kind, path) = line.split_once('\t').unwrap();
        let status = match kind {
            "A" => "added",
            "D" => "removed",
            _ => "modified",
        };
        (path.to_owned(), status.to_owned())
    };
    listed.lines().map(parse).collect()
}
