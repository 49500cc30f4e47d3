//! The last change of files.

use std::ffi::OsString;

use super::Git;
use crate::error::CliError;

/// The commit that last changed files, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) commit: String,
    /// Since 1970, in seconds.
    pub(crate) seconds: u64,
}

/// What git knows of the last change of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum History {
    /// The files are as this commit left them.
    Committed(Change),
    /// These files have changed since, or were never committed.
    Changed(Vec<String>),
    /// The clone is too shallow to know.
    Shallow,
}

impl Git {
    /// The last change of files and directories of the release repository.
    pub(crate) fn history(&self, paths: &[String]) -> Result<History, CliError> {
        let pathspec: Vec<OsString> = std::iter::once("--".to_owned())
            .chain(paths.iter().map(|path| format!("{}{path}", self.prefix)))
            .map(Into::into)
            .collect();
        let with = |arguments: &[&str]| {
            let arguments = arguments.iter().map(Into::into).chain(pathspec.iter().cloned());
            arguments.collect::<Vec<OsString>>()
        };
        let Some(head) = self.commit_of("HEAD")? else {
            return Ok(History::Changed(paths.to_vec()));
        };
        let mut changed = self.differing(&head, &pathspec)?;
        // Ignored files as well: git does not know when they changed.
        changed.extend(self.paths(&self.stdout(with(&["ls-files", "-z", "--others"]))?));
        if !changed.is_empty() {
            return Ok(History::Changed(changed.into_iter().collect()));
        }
        // `git log` would run the program that verifies signatures, if the configuration asks for it.
        let listed =
            self.stdout(with(&["rev-list", "-1", "--encoding=UTF-8", "--format=%ct %P", &head]))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let mut lines = listed.lines();
        let commit = lines.next().and_then(|line| line.strip_prefix("commit "));
        let (seconds, parents) =
            lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
        let (Some(commit), Ok(seconds)) = (commit, seconds.parse()) else {
            return Ok(History::Changed(paths.to_vec()));
        };
        Ok(match parents.is_empty() && self.is_shallow {
            true => History::Shallow,
            false => History::Committed(Change { commit: commit.to_owned(), seconds }),
        })
    }
}
