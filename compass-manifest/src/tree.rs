//! A release repository's files, in memory.

use std::collections::BTreeMap;

/// The kind of an entry of a release repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// The pointer of Git LFS to a file that was not fetched.
    LfsPointer,
    /// A symbolic link: links are not followed.
    Link,
    /// A submodule, or a repository inside this one.
    Submodule,
    /// A pipe, a socket or a device.
    Special,
    /// An entry whose path is not UTF-8. Its path in the tree has U+FFFD in place of other bytes.
    UndecodablePath,
}

#[derive(Debug, Clone)]
enum Content {
    Read(Vec<u8>),
    /// Equal marks are equal contents.
    Unread(EntryKind, String),
}

/// The files of a release repository by path. Paths use `/` and are relative to its root.
///
/// Whoever embeds this crate decides where the bytes come from: a directory, a git revision, an
/// upload.
#[derive(Debug, Clone, Default)]
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
        self.insert_entry(path, EntryKind::File, mark);
    }

    /// Adds an entry without its content; `mark` as in [`Tree::insert_unread`].
    pub fn insert_entry(
        &mut self,
        path: impl Into<String>,
        kind: EntryKind,
        mark: impl Into<String>,
    ) {
        self.files.insert(path.into(), Content::Unread(kind, mark.into()));
    }

    /// The kind of the entry at a path.
    pub fn kind(&self, path: &str) -> Option<EntryKind> {
        Some(self.files.get(path)?.kind())
    }

    /// All entries, ordered by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, EntryKind)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.kind()))
    }

    /// A file's bytes, where it was read.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        match self.files.get(path)? {
            Content::Read(bytes) => Some(bytes),
            Content::Unread(..) => None,
        }
    }

    /// Whether there is a file, read or not.
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The entry at a path, or at a directory above it, that cannot be read or entered.
    pub(crate) fn obstacle<'p>(&self, path: &'p str) -> Option<(&'p str, EntryKind)> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).find_map(|path| {
            let kind = self.kind(path).filter(|kind| kind.is_obstacle())?;
            Some((path, kind))
        })
    }

    /// All files that were read, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().filter_map(|(path, content)| match content {
            Content::Read(bytes) => Some((path.as_str(), bytes.as_slice())),
            Content::Unread(..) => None,
        })
    }

    /// The paths of all files, read or not, ordered.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The paths whose content differs between two trees, ordered; also those that only one has.
    pub fn changed_paths<'t>(&'t self, other: &'t Self) -> Vec<&'t str> {
        let changed = self.files.iter().filter(|(path, content)| {
            other.files.get(*path).is_none_or(|theirs| !theirs.is_same(content))
        });
        let gone = other.files.keys().filter(|path| !self.files.contains_key(*path));
        let mut paths: Vec<_> =
            changed.map(|(path, _)| path).chain(gone).map(String::as_str).collect();
        paths.sort_unstable();
        paths
    }
}

impl EntryKind {
    /// Whether neither it nor anything behind it is read.
    pub(crate) fn is_obstacle(self) -> bool {
        match self {
            Self::File | Self::LfsPointer => false,
            Self::Link | Self::Submodule | Self::Special | Self::UndecodablePath => true,
        }
    }

    /// The kind in words, as `a symbolic link`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::LfsPointer => "a Git LFS pointer",
            Self::Link => "a symbolic link",
            Self::Submodule => "a submodule",
            Self::Special => "a pipe or device",
            Self::UndecodablePath => "a file whose path is not UTF-8",
        }
    }
}

impl Content {
    fn kind(&self) -> EntryKind {
        match self {
            Self::Read(_) => EntryKind::File,
            Self::Unread(kind, _) => *kind,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Read(one), Self::Read(two)) => one == two,
            // To fetch the content of a pointer changes nothing.
            (Self::Unread(_, one), Self::Unread(_, two)) => one == two,
            _ => false,
        }
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
