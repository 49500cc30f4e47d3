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
    /// A file has been changed since, or was never committed.
    Changed,
    /// The clone is too shallow to know.
    Shallow,
    /// There is no git repository, or no git.
    Unknown,
}

/// What is known of the last change of files and directories.
pub(crate) fn history(repository: &Path, paths: &[String]) -> History {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(repository)
            // Another user's clone is read here, not run.
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .arg("--")
            .args(paths)
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["status", "--porcelain", "--ignored"]).as_deref() {
        None => return History::Unknown,
        Some("") => {}
        // An ignored file is nothing that git would know about.
        Some(line) if line.starts_with("!!") => return History::Unknown,
        Some(_) => return History::Changed,
    }
    let Some(line) = git(&["log", "-1", "--format=%H %ct %P"]) else { return History::Unknown };
    let mut words = line.split(' ');
    let (Some(commit), Some(Ok(seconds))) = (words.next(), words.next().map(str::parse)) else {
        return History::Changed;
    };
    if words.next().is_none_or(str::is_empty) && is_shallow(repository) {
        return History::Shallow;
    }
    History::Committed(Change { commit: commit.to_owned(), seconds })
}

fn is_shallow(repository: &Path) -> bool {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["-c", "safe.directory=*", "rev-parse", "--is-shallow-repository"])
        .output();
    output.is_ok_and(|output| output.stdout.starts_with(b"true"))
}
