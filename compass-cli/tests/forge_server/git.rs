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
    try_output(directory, arguments).unwrap_or_else(|| panic!("git {}", arguments.join(" ")))
}

/// Runs git; returns `None` if it fails, for example because an object does not exist.
fn try_output(directory: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().unwrap();
    output.status.success().then_some(output.stdout)
}

fn try_run(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = try_output(directory, arguments)?;
    Some(String::from_utf8(output).unwrap().trim_end().to_owned())
}

/// The answer with the files of a commit.
pub(super) fn tree(directory: &Path, commit: &str, is_truncated: bool) -> Option<Value> {
    let listed = try_run(directory, &["ls-tree", "-r", "-t", commit])?;
    let entries = listed.lines().map(|line| {
        let (fields, path) = line.split_once('\t').unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        json!({"path": path, "mode": fields[0], "type": fields[1], "sha": fields[2]})
    });
    let entries: Vec<Value> = entries.collect();
    Some(json!({"sha": commit, "tree": entries, "truncated": is_truncated}))
}

/// The answer with a commit.
pub(super) fn commit(directory: &Path, commit: &str) -> Option<Value> {
    let format = "--format=%H%n%T%n%an%n%ae%n%aI%n%cn%n%ce%n%cI%n%s";
    let shown = try_run(directory, &["show", "--no-patch", format, commit])?;
    let lines: Vec<&str> = shown.lines().collect();
    let account =
        |at: usize| json!({"name": lines[at], "email": lines[at + 1], "date": lines[at + 2]});
    Some(json!({
        "sha": lines[0],
        "tree": {"sha": lines[1]},
        "author": account(2),
        "committer": account(5),
        "message": lines[8],
    }))
}

/// The answer with a branch.
pub(super) fn branch(directory: &Path, name: &str) -> Option<Value> {
    let reference = format!("refs/heads/{name}");
    let commit = try_run(directory, &["rev-parse", "--verify", "--quiet", &reference])?;
    Some(json!({"ref": reference, "object": {"type": "commit", "sha": commit}}))
}

pub(super) fn blob(directory: &Path, object: &str) -> Option<Vec<u8>> {
    try_output(directory, &["cat-file", "blob", object])
}

pub(super) fn merge_base(directory: &Path, base: &str, head: &str) -> Option<String> {
    try_run(directory, &["merge-base", base, head])
}

/// The paths that differ between two commits.
pub(super) fn changed(directory: &Path, base: &str, head: &str) -> Vec<(String, String)> {
    let base = merge_base(directory, base, head).unwrap();
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
