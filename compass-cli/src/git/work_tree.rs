//! The files of the work tree, and which of them changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use compass_manifest::EntryKind;

use super::Git;
use super::command::output;
use super::objects::{Entry, kind_of_mode};
use crate::error::Result;

/// The files that git does not ignore, by path.
#[derive(Debug, Default)]
pub(crate) struct WorkTree {
    pub(crate) files: BTreeMap<String, WorkFile>,
}

/// A file of the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkFile {
    /// A file that did not change since `HEAD`, or whose entry in the index applies.
    ///
    /// Conversions of a checkout (line endings, `ident`, encodings) are not changes. The index
    /// applies if git does not read the file on disk (sparse checkout).
    Stored(Entry),
    /// Changed since `HEAD`, or untracked: the file on disk is read.
    Changed(FileType),
}

/// Options of every comparison, because the user's configuration could change the defaults. The work
/// tree of a submodule is not compared.
const COMPARISON: [&str; 13] = [
    // Compare the contents of files whose time changed.
    "-c",
    "diff.autoRefreshIndex=true",
    // Git would write a split index to the repository.
    "-c",
    "core.splitIndex=false",
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
    pub(crate) fn work_tree(&self) -> Result<WorkTree> {
        if let Some(snapshot) = &self.snapshot {
            let files = self.entries(&snapshot.head)?.into_iter();
            let files = files.map(|(path, entry)| (path, WorkFile::Stored(entry))).collect();
            return Ok(WorkTree { files });
        }
        let (mut stored, changed) = match self.head()? {
            Some(head) => (self.tree(&head)?, Some(self.diff(&head, &self.pathspec())?)),
            None => (BTreeMap::new(), None),
        };
        let mut on_disk = BTreeMap::new();
        // The index is what git compares with the work tree.
        let index = match &changed {
            Some(changed) if changed.is_empty() => BTreeMap::new(),
            _ => self.index()?,
        };
        let changed: Vec<&[u8]> = match &changed {
            Some(changed) => nul_separated(changed).collect(),
            None => index.keys().map(Vec::as_slice).collect(),
        };
        for path in changed {
            stored.remove(path);
            let Some(indexed) = index.get(path) else { continue };
            if indexed.is_assumed_unchanged {
                stored.insert(path.to_vec(), indexed.entry.clone());
            } else if let Some(kind) = self.kind_on_disk(path)
                // A directory that replaced a file is not an entry.
                && (!kind.is_dir() || indexed.entry.kind == EntryKind::Submodule)
            {
                on_disk.insert(path.to_vec(), kind);
            }
        }
        for path in nul_separated(&self.untracked()?) {
            on_disk.extend(self.kind_on_disk(path).map(|kind| (path.to_vec(), kind)));
        }
        let stored = stored.into_iter().map(|(path, entry)| (path, WorkFile::Stored(entry)));
        let on_disk = on_disk.into_iter().map(|(path, kind)| (path, WorkFile::Changed(kind)));
        let files = stored.chain(on_disk);
        let files = files.filter_map(|(path, file)| Some((self.relative(&path)?, file))).collect();
        Ok(WorkTree { files })
    }

    /// The tracked paths that differ between a commit and the work tree.
    pub(super) fn differing(
        &self,
        commit: &str,
        pathspec: &[OsString],
    ) -> Result<BTreeSet<String>> {
        if let Some(snapshot) = &self.snapshot {
            return self.differing_commits([commit, &snapshot.head], pathspec);
        }
        Ok(self.paths(&self.diff(commit, pathspec)?))
    }

    /// The output of `git diff --name-only -z` for a commit and the work tree.
    fn diff(&self, commit: &str, pathspec: &[OsString]) -> Result<Vec<u8>> {
        let mut command = self.command();
        command.args(COMPARISON).arg(commit).args(pathspec);
        // Git updates the index for files whose time changed.
        let output = output(command.env("GIT_INDEX_FILE", self.index_copy()?))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(self.git_error(&output)),
        }
    }

    /// The tracked and untracked paths that differ between a commit and the work tree.
    pub(crate) fn changed_since(&self, commit: &str) -> Result<BTreeSet<String>> {
        let mut changed = self.differing(commit, &self.pathspec())?;
        changed.extend(self.paths(&self.untracked()?));
        Ok(changed)
    }

    /// Lists the files that are neither tracked nor ignored. A nested repository is one entry.
    fn untracked(&self) -> Result<Vec<u8>> {
        if self.snapshot.is_some() {
            return Ok(Vec::new());
        }
        let mut arguments: Vec<_> =
            ["ls-files", "-z", "--others", "--exclude-standard"].map(Into::into).to_vec();
        arguments.extend(self.pathspec());
        self.stdout(arguments)
    }

    /// Whether the directory of the release repository is ignored.
    pub(crate) fn ignores_root(&self) -> Result<bool> {
        if self.prefix.is_empty() {
            return Ok(false);
        }
        let listing =
            ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
        // Git lists only the outermost of nested ignored directories.
        let listed = self.stdout(listing)?;
        let mut entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        Ok(entries.any(|entry| entry.ends_with(b"/") && self.prefix.as_bytes().starts_with(entry)))
    }

    /// Returns those of `paths` that have a filter driver (`gitattributes(5)`).
    ///
    /// Their committed form is unknown because no driver is run. Files with a
    /// `working-tree-encoding` are not included: only their committed form is UTF-8.
    pub(crate) fn filtered(&self, paths: &[&str]) -> Result<BTreeSet<String>> {
        if self.filter_drivers.is_empty() || paths.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut input = Vec::new();
        for path in paths {
            input.extend_from_slice(self.prefix.as_bytes());
            input.extend_from_slice(path.as_bytes());
            input.push(0);
        }
        let attributes = ["check-attr", "-z", "--stdin", "filter", "working-tree-encoding"];
        let output = self.stdout_with_input(&attributes, input)?;
        // Three fields for each attribute: path, attribute, value.
        let fields: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
        let is_filtered = |fields: &&[&[u8]]| {
            let encoding = fields[5];
            str::from_utf8(fields[2]).is_ok_and(|driver| self.filter_drivers.contains(driver))
                && (encoding == b"unspecified" || encoding == b"unset")
        };
        let filtered = fields.chunks_exact(6).filter(is_filtered);
        Ok(filtered.filter_map(|fields| self.relative(fields[0])).collect())
    }

    pub(super) fn paths(&self, output: &[u8]) -> BTreeSet<String> {
        nul_separated(output).filter_map(|name| self.relative(name)).collect()
    }

    /// The kind of file at a path of the git repository. As in git, symbolic links are not followed.
    fn kind_on_disk(&self, path: &[u8]) -> Option<FileType> {
        let path = Path::new(OsStr::from_bytes(path));
        let kind =
            |path: &Path| Some(self.top_level.join(path).symlink_metadata().ok()?.file_type());
        let mut above = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        match above.all(|directory| kind(directory).is_some_and(|kind| kind.is_dir())) {
            true => kind(path),
            false => None,
        }
    }

    /// The index, by path of the git repository.
    fn index(&self) -> Result<BTreeMap<Vec<u8>, IndexEntry>> {
        let mut arguments: Vec<_> = ["ls-files", "-z", "-v", "--stage"].map(Into::into).to_vec();
        arguments.extend(self.pathspec());
        Ok(nul_separated(&self.stdout(arguments)?).filter_map(parse_index_entry).collect())
    }
}

/// An entry of the index. For a path with a conflict, it is one of the sides.
struct IndexEntry {
    entry: Entry,
    /// Whether git does not read the file on disk (`git update-index --skip-worktree` and
    /// `--assume-unchanged`).
    is_assumed_unchanged: bool,
}

/// Parses `TAG MODE OBJECT STAGE<tab>PATH`.
fn parse_index_entry(line: &[u8]) -> Option<(Vec<u8>, IndexEntry)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let fields = String::from_utf8_lossy(&line[..tab]);
    let mut words = fields.split(' ');
    let (tag, mode, object) = (words.next()?, words.next()?, words.next()?);
    let entry = Entry { kind: kind_of_mode(mode)?, object: object.to_owned() };
    let is_assumed_unchanged = tag.eq_ignore_ascii_case("S") || tag == "h";
    Some((line[tab + 1..].to_vec(), IndexEntry { entry, is_assumed_unchanged }))
}

/// Splits an output with `-z`. The path of a nested repository ends with `/`, which is removed.
pub(super) fn nul_separated(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = output.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| part.strip_suffix(b"/").unwrap_or(part))
}
