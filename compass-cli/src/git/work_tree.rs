//! The work tree as git sees it: which files belong to it, and which of them changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::Git;
use super::objects::{Entry, EntryKind};
use crate::failure::Failure;

/// The files of the work tree that git does not ignore, by path.
#[derive(Debug, Default)]
pub(crate) struct WorkTree {
    pub(crate) files: BTreeMap<String, WorkFile>,
}

/// A file of the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkFile {
    /// As `HEAD` has it, after what git converts on a checkout (ends of lines, `ident`, encodings).
    Clean {
        entry: Entry,
        /// Whether its content in the work tree can be used. It is absent in a sparse checkout,
        /// and not compared if it is marked as unchanged (`git update-index --assume-unchanged`).
        is_comparable: bool,
    },
    /// Differs from `HEAD`, or is not tracked.
    Changed,
}

/// Options of every comparison: what the user's configuration may change is set here. A submodule
/// counts by its commit, and git does not look into it.
const COMPARISON: [&str; 11] = [
    // Files that were only touched are compared, and are no difference.
    "-c",
    "diff.autoRefreshIndex=true",
    "diff",
    "--name-only",
    "-z",
    "--no-renames",
    "--no-relative",
    "--no-color",
    "--ignore-submodules=dirty",
    "--no-ext-diff",
    "-O/dev/null",
];

impl Git {
    /// Lists the work tree.
    pub(crate) fn work_tree(&self) -> Result<WorkTree, Failure> {
        let changed = match self.commit_of("HEAD")? {
            Some(head) => Some(self.differing(&head, &self.pathspec())?),
            None => None,
        };
        let is_changed = |path: &str| changed.as_ref().is_none_or(|changed| changed.contains(path));
        let mut files = BTreeMap::new();
        for indexed in self.index()? {
            let Indexed { path, entry, is_comparable, is_merged } = indexed;
            let file = match is_merged && !is_changed(&path) {
                true => WorkFile::Clean { entry, is_comparable },
                // Deleted files are no part of the work tree.
                false if !self.exists(&path) => continue,
                false => WorkFile::Changed,
            };
            files.insert(path, file);
        }
        files.extend(self.untracked()?.into_iter().map(|path| (path, WorkFile::Changed)));
        Ok(WorkTree { files })
    }

    /// The paths that differ between a commit and the work tree, without untracked files: what
    /// `git diff --name-only` says.
    pub(super) fn differing(
        &self,
        commit: &str,
        pathspec: &[OsString],
    ) -> Result<BTreeSet<String>, Failure> {
        let mut arguments: Vec<OsString> = COMPARISON.iter().map(Into::into).collect();
        arguments.push(commit.into());
        arguments.extend_from_slice(pathspec);
        Ok(self.paths(&self.stdout(arguments)?))
    }

    /// The paths that differ between a commit and the work tree, untracked files included.
    pub(crate) fn changed_since(&self, commit: &str) -> Result<BTreeSet<String>, Failure> {
        let mut changed = self.differing(commit, &self.pathspec())?;
        changed.extend(self.untracked()?);
        Ok(changed)
    }

    /// Files that are neither tracked nor ignored. A repository inside this one is one entry.
    fn untracked(&self) -> Result<BTreeSet<String>, Failure> {
        let mut arguments: Vec<_> =
            ["ls-files", "-z", "--others", "--exclude-standard"].map(Into::into).to_vec();
        arguments.extend(self.pathspec());
        Ok(self.paths(&self.stdout(arguments)?))
    }

    /// Whether the directory of the release repository is ignored.
    pub(crate) fn ignores_root(&self) -> Result<bool, Failure> {
        if self.prefix.is_empty() {
            return Ok(false);
        }
        let listing =
            ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
        // A directory of which everything is ignored is one entry, as one of those around it may be.
        let listed = self.stdout(listing)?;
        let mut entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        Ok(entries.any(|entry| entry.ends_with(b"/") && self.prefix.as_bytes().starts_with(entry)))
    }

    /// The paths, of those given, whose content passes a filter driver of the configuration
    /// (`gitattributes(5)`): no driver is run here, so git does not know their committed form.
    pub(crate) fn filtered(&self, paths: &[&str]) -> Result<BTreeSet<String>, Failure> {
        if self.disabled_filters.is_empty() || paths.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut asked = Vec::new();
        for path in paths {
            asked.extend_from_slice(self.prefix.as_bytes());
            asked.extend_from_slice(path.as_bytes());
            asked.push(0);
        }
        let answer = self.answer(&["check-attr", "-z", "--stdin", "filter"], asked)?;
        // Three fields each: path, attribute, value.
        let fields: Vec<&[u8]> = answer.split(|byte| *byte == 0).collect();
        let filtered = fields
            .chunks_exact(3)
            .filter(|fields| ![&b"unspecified"[..], b"unset", b"set"].contains(&fields[2]));
        Ok(filtered.filter_map(|fields| self.relative(fields[0])).collect())
    }

    pub(super) fn paths(&self, output: &[u8]) -> BTreeSet<String> {
        let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let names = names.filter_map(|name| self.relative(name));
        names.map(|name| name.trim_end_matches('/').to_owned()).collect()
    }

    fn exists(&self, path: &str) -> bool {
        let path = self.top_level.join(&self.prefix).join(path);
        path.symlink_metadata().is_ok()
    }

    fn index(&self) -> Result<Vec<Indexed>, Failure> {
        let mut arguments: Vec<_> = ["ls-files", "-z", "-v", "--stage"].map(Into::into).to_vec();
        arguments.extend(self.pathspec());
        let output = self.stdout(arguments)?;
        let lines = output.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        let mut indexed: Vec<Indexed> = lines.filter_map(|line| self.index_entry(line)).collect();
        // A path with a conflict has an entry for each side.
        indexed.dedup_by(|second, first| second.path == first.path);
        Ok(indexed)
    }

    /// `TAG MODE OBJECT STAGE<tab>PATH`.
    fn index_entry(&self, line: &[u8]) -> Option<Indexed> {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let path = self.relative(&line[tab + 1..])?;
        let about = String::from_utf8_lossy(&line[..tab]).into_owned();
        let mut words = about.split(' ');
        let (tag, mode) = (words.next()?, words.next()?);
        let (object, stage) = (words.next()?.to_owned(), words.next()?);
        Some(Indexed {
            path,
            entry: Entry { kind: EntryKind::of_mode(mode)?, object },
            is_comparable: tag == "H",
            is_merged: stage == "0",
        })
    }
}

/// An entry of the index.
struct Indexed {
    path: String,
    entry: Entry,
    is_comparable: bool,
    is_merged: bool,
}
