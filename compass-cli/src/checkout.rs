//! The files of a release repository on disk.
//!
//! In a git work tree these are the files that git does not ignore. A file that did not change since
//! `HEAD` is read as committed: a checkout may convert line endings, expand `$Id$` or omit files, and
//! the same commit must have the same findings and the same package on every machine.

mod lfs;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_manifest::EntryKind;
use compass_manifest::escape::escape;
use compass_registry::Digest;

use crate::error::{CliError, Result};
use crate::git::{Git, WorkFile, is_blob, kind_at};
use crate::regular_file;

/// The files of a release repository.
#[derive(Debug, Default)]
pub(crate) struct Checkout {
    root: PathBuf,
    git: Option<Arc<Git>>,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: EntryKind,
    /// The blob of a file that did not change since `HEAD`.
    blob: Option<String>,
}

impl Checkout {
    /// Lists a directory, through git if it is in a git work tree ([`Git::discover`]).
    pub(crate) fn open(root: &Path, is_explicit: bool) -> Result<Self> {
        if let Some(git) = Git::discover(root, is_explicit)? {
            let files = list_work_tree(&git)?;
            // An ignored directory is not part of the git repository around it.
            if !files.is_empty() || !git.ignores_root()? {
                return Ok(Self { root: root.to_owned(), git: Some(Arc::new(git)), files });
            }
        }
        Ok(Self { root: root.to_owned(), git: None, files: list_directory(root)? })
    }

    /// Lists the files of a private clone.
    pub(crate) fn of_clone(root: &Path, git: Arc<Git>) -> Result<Self> {
        let files = list_work_tree(&git)?;
        Ok(Self { root: root.to_owned(), git: Some(git), files })
    }

    /// The git repository, if there is one.
    pub(crate) fn git(&self) -> Option<&Git> {
        self.git.as_deref()
    }

    /// Whether a regular file did not change since the last commit.
    pub(crate) fn is_committed(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|entry| entry.blob.is_some())
    }

    /// The kind of file at a path.
    pub(crate) fn kind(&self, path: &str) -> Option<EntryKind> {
        self.files.get(path).map(|entry| entry.kind)
    }

    /// The files and their kinds, ordered by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, EntryKind)> {
        self.files.iter().map(|(path, entry)| (path.as_str(), kind_at(path, entry.kind)))
    }

    /// Reads regular files in the order of `paths`, each up to `limit` bytes. A file that the checkout
    /// converted is read from the commit, every other one from the work tree.
    pub(crate) fn read(&self, paths: &[&str], limit: u64) -> Result<Vec<Vec<u8>>> {
        let (mut known, mut others) = (HashMap::new(), Vec::new());
        for (path, blob) in self.blobs(paths)? {
            match regular_file::read(&self.root.join(path), limit) {
                Ok(content) if is_blob(blob, &content) => drop(known.insert(path, content)),
                // The checkout converted or omitted the file.
                _ => others.push((path, blob)),
            }
        }
        self.read_with(paths, known, others, limit)
    }

    /// Reads regular files in the order of `paths`, for a package.
    ///
    /// Unchanged files are read from the commit, so that the bytes of a package depend only on it.
    /// Changed and untracked files are read from the work tree.
    pub(crate) fn read_exactly(&self, paths: &[&str]) -> Result<Vec<Vec<u8>>> {
        self.read_with(paths, HashMap::new(), self.blobs(paths)?, u64::MAX)
    }

    /// Returns the files at or below `paths` that only a filter driver could verify.
    ///
    /// Without the driver, their content cannot be compared with the commit. A Git LFS file is not
    /// one of them if its content has the digest of the pointer.
    pub(crate) fn unverified_below(&self, paths: &[String]) -> Result<Vec<String>> {
        let Some(git) = &self.git else { return Ok(Vec::new()) };
        let is_below = |file: &&str| {
            paths.iter().any(|path| {
                file.strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let files: Vec<&str> = self.files.keys().map(String::as_str).filter(is_below).collect();
        let filtered = git.filtered(&files)?;
        let filtered: Vec<(&str, &str)> = filtered
            .iter()
            .filter_map(|path| {
                let (path, entry) = self.files.get_key_value(path.as_str())?;
                Some((path.as_str(), entry.blob.as_deref()?))
            })
            .collect();
        let pointers =
            git.blobs(filtered.iter().map(|(_, object)| *object), lfs::MAX_POINTER_BYTES)?;
        let mut unverified = Vec::new();
        for ((path, _), pointer) in filtered.into_iter().zip(pointers) {
            let is_verified = lfs::content_digest(&pointer).is_some_and(|digest| {
                let content = regular_file::read(&self.root.join(path), u64::MAX);
                content.is_ok_and(|content| Digest::of(&content) == digest)
            });
            if !is_verified {
                unverified.push(path.to_owned());
            }
        }
        Ok(unverified)
    }

    /// The blobs of files that did not change since the last commit. A file with a filter is one of them
    /// only if it is missing on disk.
    fn blobs<'p>(&'p self, paths: &[&'p str]) -> Result<Vec<(&'p str, &'p str)>> {
        let Some(git) = &self.git else { return Ok(Vec::new()) };
        let filtered = git.filtered(paths)?;
        let is_missing = |path: &str| self.root.join(path).symlink_metadata().is_err();
        let is_readable = |path: &&&'p str| !filtered.contains(**path) || is_missing(path);
        let blob = |path: &&'p str| Some((*path, self.files.get(*path)?.blob.as_deref()?));
        Ok(paths.iter().filter(is_readable).filter_map(blob).collect())
    }

    /// Reads `blobs` from git, and files in neither `known` nor `blobs` from the work tree.
    fn read_with<'p>(
        &self,
        paths: &[&'p str],
        mut known: HashMap<&'p str, Vec<u8>>,
        blobs: Vec<(&'p str, &str)>,
        limit: u64,
    ) -> Result<Vec<Vec<u8>>> {
        if let Some(git) = &self.git {
            let contents = git.blobs(blobs.iter().map(|(_, blob)| *blob), limit)?;
            known.extend(blobs.into_iter().map(|(path, _)| path).zip(contents));
        }
        let read = |path: &&str| match known.remove(*path) {
            Some(bytes) => Ok(bytes),
            None => {
                let path = self.root.join(path);
                regular_file::read(&path, limit).map_err(|error| read_error(&path, &error))
            }
        };
        paths.iter().map(read).collect()
    }
}

/// The files of a git work tree.
fn list_work_tree(git: &Git) -> Result<BTreeMap<String, Entry>> {
    let mut files = BTreeMap::new();
    for (path, file) in git.work_tree()?.files {
        let entry = match file {
            WorkFile::Stored(entry) => Entry {
                kind: entry.kind,
                blob: (entry.kind == EntryKind::File).then_some(entry.object),
            },
            WorkFile::Changed(kind) => Entry { kind: kind_of(kind), blob: None },
        };
        files.insert(path, entry);
    }
    Ok(files)
}

/// The files of a directory outside of a git repository.
fn list_directory(root: &Path) -> Result<BTreeMap<String, Entry>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| read_error(&directory, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| read_error(&directory, &error))?;
            let path = entry.path();
            if entry.file_name() == ".git" {
                continue;
            }
            let shown = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Links are not followed: a check must not depend on files outside the repository.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.is_dir() {
                pending.push((path, format!("{shown}/")));
            } else {
                let kind = kind_of(metadata.file_type());
                files.insert(shown, Entry { kind, blob: None });
            }
        }
    }
    Ok(files)
}

fn kind_of(kind: FileType) -> EntryKind {
    match () {
        () if kind.is_file() => EntryKind::File,
        () if kind.is_symlink() => EntryKind::Link,
        // A nested repository, whose files are not part of this one.
        () if kind.is_dir() => EntryKind::Submodule,
        () => EntryKind::Special,
    }
}

fn read_error(path: &Path, error: &std::io::Error) -> CliError {
    let path = path.display().to_string();
    CliError::external(error).context(format!("cannot read {}", escape(&path)))
}
