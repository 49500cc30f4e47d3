//! A commit instead of a work tree.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use super::Git;
use super::objects::Entry;
use crate::error::Result;

/// The entries of a commit, by path of the git repository.
type Entries = BTreeMap<Vec<u8>, Entry>;

/// The maximum number of commits whose entries are kept.
const MAX_KNOWN: usize = 4;

/// The commit that the files of a clone without a work tree are those of.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) head: String,
    /// The entries of commits that were read.
    known: Mutex<BTreeMap<String, Entries>>,
}

impl Snapshot {
    pub(super) fn new(head: String) -> Self {
        Self { head, known: Mutex::default() }
    }

    /// The entries of a commit, which `read` returns the first time.
    pub(super) fn entries(
        &self,
        commit: &str,
        read: impl FnOnce() -> Result<Entries>,
    ) -> Result<Entries> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entries) = known().get(commit) {
            return Ok(entries.clone());
        }
        let entries = read()?;
        let mut known = known();
        if known.len() < MAX_KNOWN {
            known.insert(commit.to_owned(), entries.clone());
        }
        Ok(entries)
    }
}

impl Git {
    /// The paths that differ between two commits.
    pub(super) fn differing_commits(
        &self,
        commits: [&str; 2],
        pathspec: &[OsString],
    ) -> Result<BTreeSet<String>> {
        if commits[0] == commits[1] {
            return Ok(BTreeSet::new());
        }
        let mut arguments: Vec<OsString> = [
            "diff-tree",
            "-r",
            "--name-only",
            "-z",
            "--no-renames",
            "--no-relative",
            "-O/dev/null",
        ]
        .map(Into::into)
        .to_vec();
        arguments.extend(commits.map(Into::into));
        arguments.extend(pathspec.iter().cloned());
        Ok(self.paths(&self.stdout(arguments)?))
    }
}
