//! The files of a release repository, where they are on disk.
//!
//! In a git work tree these are the files that git does not ignore, and a file that did not change
//! since `HEAD` has the committed bytes: a checkout may convert ends of lines, expand `$Id$` or
//! leave files out, and the same commit must give the same answer and the same package everywhere.

mod lfs;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use compass_manifest::escape::escape;
use compass_registry::Digest;

use crate::failure::Failure;
use crate::git::{EntryKind, Git, WorkFile};
use crate::regular_file;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Regular,
    Link,
    /// A submodule, or a repository inside this one. Its files are not part of this one.
    Submodule,
    /// A pipe, a socket or a device.
    Special,
}

/// The files of a release repository.
#[derive(Debug, Default)]
pub(crate) struct Checkout {
    root: PathBuf,
    git: Option<Git>,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: FileKind,
    /// The blob of a file that did not change since `HEAD`.
    committed: Option<Committed>,
}

#[derive(Debug)]
struct Committed {
    object: String,
    is_comparable: bool,
}

impl Checkout {
    /// Lists a directory, with git if it is in a git work tree ([`Git::discover`]).
    pub(crate) fn open(root: &Path, is_explicit: bool) -> Result<Self, Failure> {
        if let Some(git) = Git::discover(root, is_explicit)? {
            let files = list_work_tree(root, &git)?;
            // A directory that the repository around it ignores is no part of that repository.
            if !files.is_empty() || !git.ignores_root()? {
                return Ok(Self { root: root.to_owned(), git: Some(git), files });
            }
        }
        Ok(Self { root: root.to_owned(), git: None, files: list_directory(root)? })
    }

    /// The git repository, if there is one.
    pub(crate) fn git(&self) -> Option<&Git> {
        self.git.as_ref()
    }

    /// Whether a regular file is as the last commit has it.
    pub(crate) fn is_committed(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|entry| entry.committed.is_some())
    }

    /// The kind of file at a path.
    pub(crate) fn kind(&self, path: &str) -> Option<FileKind> {
        self.files.get(path).map(|entry| entry.kind)
    }

    /// The files and their kinds, ordered by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, FileKind)> {
        self.files.iter().map(|(path, entry)| (path.as_str(), entry.kind))
    }

    /// The contents of regular files, in the order of `paths`, each up to `limit` bytes. The bytes
    /// of the work tree are taken if they have the size that the commit says: every conversion of
    /// git changes the size.
    pub(crate) fn read(&self, paths: &[&str], limit: u64) -> Result<Vec<Vec<u8>>, Failure> {
        let committed = self.committed(paths)?;
        let (comparable, mut wanted): (Vec<_>, Vec<_>) =
            committed.into_iter().partition(|(_, committed)| committed.is_comparable);
        if let Some(git) = &self.git {
            let sizes = git.sizes(comparable.iter().map(|(_, committed)| &*committed.object))?;
            let differs = |path: &str, size| {
                let metadata = self.root.join(path).symlink_metadata();
                metadata.is_ok_and(|metadata| metadata.len() != size)
            };
            let sized = comparable.into_iter().zip(sizes);
            wanted
                .extend(sized.filter(|((path, _), size)| differs(path, *size)).map(|(one, _)| one));
        }
        self.read_with(paths, wanted, limit)
    }

    /// The contents of regular files, in the order of `paths`: for packages, whose bytes depend on
    /// nothing but the commit.
    pub(crate) fn read_exactly(&self, paths: &[&str]) -> Result<Vec<Vec<u8>>, Failure> {
        self.read_with(paths, self.committed(paths)?, u64::MAX)
    }

    /// Files at or below `paths` whose committed form only a filter driver of the configuration could
    /// produce. Files of Git LFS are not among them if their content has the digest of the pointer.
    pub(crate) fn unverified_below(&self, paths: &[String]) -> Result<Vec<String>, Failure> {
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
                Some((path.as_str(), entry.committed.as_ref()?.object.as_str()))
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

    /// The files that did not change since the last commit, without those that pass a filter.
    fn committed<'p>(
        &'p self,
        paths: &[&'p str],
    ) -> Result<Vec<(&'p str, &'p Committed)>, Failure> {
        let Some(git) = &self.git else { return Ok(Vec::new()) };
        let filtered = git.filtered(paths)?;
        let committed = paths.iter().filter(|path| !filtered.contains(**path));
        let committed =
            committed.filter_map(|path| Some((*path, self.files.get(*path)?.committed.as_ref()?)));
        Ok(committed.collect())
    }

    /// Reads `committed` from git, and the others from the work tree.
    fn read_with(
        &self,
        paths: &[&str],
        committed: Vec<(&str, &Committed)>,
        limit: u64,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let blobs = match &self.git {
            Some(git) => git.blobs(committed.iter().map(|(_, one)| &*one.object), limit)?,
            None => Vec::new(),
        };
        let mut blobs: HashMap<&str, Vec<u8>> =
            committed.into_iter().map(|(path, _)| path).zip(blobs).collect();
        let read = |path: &&str| match blobs.remove(*path) {
            Some(bytes) => Ok(bytes),
            None => {
                let path = self.root.join(path);
                regular_file::read(&path, limit).map_err(|error| unreadable(&path, &error))
            }
        };
        paths.iter().map(read).collect()
    }
}

/// The files of a git work tree.
fn list_work_tree(root: &Path, git: &Git) -> Result<BTreeMap<String, Entry>, Failure> {
    let of_entry = |kind| match kind {
        EntryKind::File => FileKind::Regular,
        EntryKind::Link => FileKind::Link,
        EntryKind::Submodule => FileKind::Submodule,
    };
    let mut files = BTreeMap::new();
    for (path, file) in git.work_tree()?.files {
        let entry = match file {
            WorkFile::Clean { entry, is_comparable } => Entry {
                kind: of_entry(entry.kind),
                committed: (entry.kind == EntryKind::File)
                    .then_some(Committed { object: entry.object, is_comparable }),
            },
            WorkFile::Changed => match root.join(&path).symlink_metadata() {
                Ok(metadata) => Entry { kind: FileKind::of(&metadata), committed: None },
                // Removed since git listed it.
                Err(_) => continue,
            },
        };
        files.insert(path, entry);
    }
    Ok(files)
}

/// The files of a directory that no git repository is around.
fn list_directory(root: &Path) -> Result<BTreeMap<String, Entry>, Failure> {
    let mut files = BTreeMap::new();
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| unreadable(&directory, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&directory, &error))?;
            let path = entry.path();
            if entry.file_name() == ".git" {
                continue;
            }
            let shown = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Links are not followed: a check must not depend on files outside of the repository.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.is_dir() {
                pending.push((path, format!("{shown}/")));
            } else {
                files.insert(shown, Entry { kind: FileKind::of(&metadata), committed: None });
            }
        }
    }
    Ok(files)
}

impl FileKind {
    fn of(metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        match () {
            () if kind.is_file() => Self::Regular,
            () if kind.is_symlink() => Self::Link,
            () if kind.is_dir() => Self::Submodule,
            () => Self::Special,
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display().to_string();
    Failure::outside(error).while_doing(format!("cannot read {}", escape(&path)))
}
