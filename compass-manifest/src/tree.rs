//! A release repository's files, in memory.

use std::collections::BTreeMap;

/// A file that may be there without having been read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Read(Vec<u8>),
    /// Only whether it changed is known: equal marks are equal contents.
    Unread(String),
}

/// The files of a release repository by path. Paths use `/` and are relative to its root.
///
/// Whoever embeds this crate decides where the bytes come from: a directory, a git revision, an
/// upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Content>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), Content::Read(bytes.into()));
    }

    /// Adds a file that no rule reads: `mark` is any text that differs where the content does, as
    /// a git object name. Such a file counts for what a change touches, and for what is there.
    pub fn insert_unread(&mut self, path: impl Into<String>, mark: impl Into<String>) {
        self.files.insert(path.into(), Content::Unread(mark.into()));
    }

    /// A file's bytes, where it was read.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        match self.files.get(path)? {
            Content::Read(bytes) => Some(bytes),
            Content::Unread(_) => None,
        }
    }

    /// Whether there is a file, read or not.
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// All files that were read, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().filter_map(|(path, content)| match content {
            Content::Read(bytes) => Some((path.as_str(), bytes.as_slice())),
            Content::Unread(_) => None,
        })
    }

    /// The paths of all files, read or not, ordered.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The paths whose content differs between two trees, ordered; also those that only one has.
    pub fn differing<'t>(&'t self, other: &'t Self) -> Vec<&'t str> {
        let changed = self.files.iter().filter(|(path, content)| {
            other.files.get(*path).is_none_or(|theirs| theirs != *content)
        });
        let gone = other.files.keys().filter(|path| !self.files.contains_key(*path));
        let mut paths: Vec<_> =
            changed.map(|(path, _)| path).chain(gone).map(String::as_str).collect();
        paths.sort_unstable();
        paths
    }
}

impl<P: Into<String>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Tree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let mut tree = Self::new();
        for (path, bytes) in files {
            tree.insert(path, bytes);
        }
        tree
    }
}

/// The part of a path below a directory, where it is in there.
pub(crate) fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// The part of a path below the first of the directories that it is in.
pub(crate) fn below_any<'p>(path: &'p str, directories: &[String]) -> Option<&'p str> {
    directories.iter().find_map(|directory| below(path, directory))
}
