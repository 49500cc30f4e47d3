//! Holds the files of a release repository in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind of an entry of a release repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A Git LFS pointer to content that was not fetched.
    LfsPointer,
    /// A symbolic link, which is not followed.
    Link,
    /// A submodule, or a nested repository.
    Submodule,
    /// A pipe, a socket or a device.
    Special,
    /// An entry whose path is not UTF-8. In the tree, U+FFFD replaces the invalid bytes.
    UndecodablePath,
}

#[derive(Debug, Clone)]
enum Content {
    Read(Vec<u8>),
    /// An entry without content. Equal identifiers mean equal contents.
    Unread(EntryKind, String),
}

/// The files of a release repository by path.
///
/// Paths use `/` and are relative to the root. The caller provides the contents, from a directory,
/// a git revision or an upload. A clone shares the files until one of the trees changes.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    files: Arc<BTreeMap<String, Content>>,
}

impl Tree {
    /// Creates an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.insert_content(path.into(), Content::Read(bytes.into()));
    }

    /// Adds or replaces a regular file without its content.
    ///
    /// `content_id` is any text that changes with the content, for example a git object name, so
    /// that changes of the file are detected.
    pub fn insert_unread(&mut self, path: impl Into<String>, content_id: impl Into<String>) {
        self.insert_entry(path, EntryKind::File, content_id);
    }

    /// Adds or replaces an entry without its content.
    ///
    /// `content_id` has the same meaning as in [`Tree::insert_unread`].
    pub fn insert_entry(
        &mut self,
        path: impl Into<String>,
        kind: EntryKind,
        content_id: impl Into<String>,
    ) {
        self.insert_content(path.into(), Content::Unread(kind, content_id.into()));
    }

    fn insert_content(&mut self, path: String, content: Content) {
        Arc::make_mut(&mut self.files).insert(path, content);
    }

    /// Returns the kind of the entry at a path.
    pub fn kind(&self, path: &str) -> Option<EntryKind> {
        Some(self.files.get(path)?.kind())
    }

    /// Returns all entries, ordered by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, EntryKind)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.kind()))
    }

    /// Returns the content of a file, if the tree has it.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        match self.files.get(path)? {
            Content::Read(bytes) => Some(bytes),
            Content::Unread(..) => None,
        }
    }

    /// Returns whether the tree has an entry at the path.
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Returns the entry that prevents reading a path.
    ///
    /// The entry is at the path, or at a directory above the path.
    pub(crate) fn obstacle<'p>(&self, path: &'p str) -> Option<(&'p str, EntryKind)> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).find_map(|path| {
            let kind = self.kind(path).filter(|kind| kind.is_obstacle())?;
            Some((path, kind))
        })
    }

    /// Returns all files with content, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().filter_map(|(path, content)| match content {
            Content::Read(bytes) => Some((path.as_str(), bytes.as_slice())),
            Content::Unread(..) => None,
        })
    }

    /// Returns the paths of all entries, ordered.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the paths whose contents differ, ordered.
    ///
    /// They include the paths that only one of the trees has.
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
    /// Returns whether the entry prevents reading its path and the paths below it.
    pub(crate) fn is_obstacle(self) -> bool {
        match self {
            Self::File | Self::LfsPointer => false,
            Self::Link | Self::Submodule | Self::Special | Self::UndecodablePath => true,
        }
    }

    /// Returns the kind for messages, such as `a symbolic link`.
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
            // Ignore the kind, which differs for a fetched Git LFS pointer with the same content.
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

/// Returns the part of a path below a directory; `None` if the path is not in it.
pub(crate) fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// Returns the part of a path below the first of the directories that contains it.
pub(crate) fn below_any<'p>(path: &'p str, directories: &[String]) -> Option<&'p str> {
    directories.iter().find_map(|directory| below(path, directory))
}
