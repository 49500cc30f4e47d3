//! What git knows of a release repository.

use std::path::Path;
use std::process::Command;

/// The commit that last changed files, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) commit: String,
    pub(crate) seconds: u64,
}

/// What is known of the last change of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum History {
    /// The files stand as this commit left them.
    Committed(Change),
    /// These files have been changed since, or were never committed.
    Changed(Vec<String>),
    /// The clone is too shallow to know.
    Shallow,
    /// The clone belongs to another user, whose programs git might run.
    Foreign,
    /// There is no git repository, or no git.
    Unknown,
}

/// What is known of the last change of files and directories.
pub(crate) fn history(repository: &Path, paths: &[String]) -> History {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.env("LC_ALL", "C").arg("-C").arg(repository).args(arguments);
        command.arg("--").args(paths).output().ok()
    };
    let git = |arguments: &[&str]| {
        let output = run(arguments)?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // What git ignores is packaged as well, and it does not know when that was changed.
    let Some(status) = run(&["status", "--porcelain", "--ignored"]) else {
        return History::Unknown;
    };
    match status.status.success() {
        false if String::from_utf8_lossy(&status.stderr).contains("dubious ownership") => {
            return History::Foreign;
        }
        false => return History::Unknown,
        true if !status.stdout.is_empty() => return History::Changed(changed(&status.stdout)),
        true => {}
    }
    let Some(line) = git(&["log", "-1", "--format=%H %ct %P"]) else { return History::Unknown };
    let mut words = line.split(' ');
    let (Some(commit), Some(Ok(seconds))) = (words.next(), words.next().map(str::parse)) else {
        return History::Changed(paths.to_vec());
    };
    if words.next().is_none_or(str::is_empty) && is_shallow(repository) {
        return History::Shallow;
    }
    History::Committed(Change { commit: commit.to_owned(), seconds })
}

/// The files that `git status --porcelain` lists: two letters and a space stand before each.
fn changed(listed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(listed);
    text.lines().filter_map(|line| Some(line.get(3..)?.to_owned())).collect()
}

fn is_shallow(repository: &Path) -> bool {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["rev-parse", "--is-shallow-repository"])
        .output();
    output.is_ok_and(|output| output.stdout.starts_with(b"true"))
}
