//! The last change of files.

use std::ffi::OsString;

use super::Git;
use crate::error::Result;

/// The commit that last changed files, and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) commit: String,
    /// Seconds since 1970.
    pub(crate) seconds: u64,
}

/// The result of [`Git::history`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum History {
    /// The last change; the files have no uncommitted changes.
    Committed(Change),
    /// These files have uncommitted changes.
    Changed(Vec<String>),
    /// The clone is too shallow to contain the last change.
    Shallow,
}

impl Git {
    /// Finds the last change of files and directories of the release repository.
    pub(crate) fn history(&self, paths: &[String]) -> Result<History> {
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
        // Includes ignored files, whose changes git does not record.
        if self.snapshot.is_none() {
            changed.extend(self.paths(&self.stdout(with(&["ls-files", "-z", "--others"]))?));
        }
        if !changed.is_empty() {
            return Ok(History::Changed(changed.into_iter().collect()));
        }
        // Not `git log`, which can be configured to run a program that verifies signatures.
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
