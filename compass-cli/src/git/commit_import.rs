//! A private clone whose commits are written here, for example after they were read from a forge.
//!
//! An interface of a forge tells the files of a commit, but not all that its name is computed from. So
//! this module writes another commit with the same files, and lets git use it under the original name
//! (`git-replace(1)`). The names of trees and blobs are verified.

use std::collections::BTreeSet;

use super::Git;
use super::objects::is_blob;
use super::private_clone::{BASE, EmptyClone, HEAD, PrivateClone};
use super::revision::first_line;
use crate::error::{CliError, Result};

/// A private clone to which commits are added.
#[derive(Debug)]
pub(crate) struct CommitImport {
    empty: EmptyClone,
    git: Git,
    /// Whether the commits of the user's clone have all their files and ancestors.
    has_complete_objects: bool,
    imported: BTreeSet<String>,
    /// The files of the imported commits.
    blobs: BTreeSet<String>,
}

/// A commit to add.
#[derive(Debug)]
pub(crate) struct ImportedCommit<'c> {
    pub(crate) commit: &'c str,
    pub(crate) tree: &'c str,
    pub(crate) parent: Option<&'c str>,
    /// The time in seconds since 1970.
    pub(crate) seconds: i64,
    pub(crate) files: Vec<ImportedFile>,
}

/// A file of a commit.
#[derive(Debug)]
pub(crate) struct ImportedFile {
    /// The path below the root of the git repository.
    pub(crate) path: String,
    /// The mode as git prints it.
    pub(crate) mode: String,
    pub(crate) object: String,
}

impl Git {
    /// Creates a private clone with the objects and the tags of this one.
    pub(crate) fn import_commits(&self) -> Result<CommitImport> {
        let empty = self.empty_clone(true)?;
        let root = empty.root();
        let git = Self::discover(&root, true)?;
        let git = git.ok_or_else(|| CliError::usage(format!("{} is no clone", root.display())))?;
        let has_complete_objects = !self.is_shallow && !self.is_partial()?;
        let listed =
            self.stdout(["for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"])?;
        let tags = String::from_utf8_lossy(&listed).into_owned();
        let updates = tags.lines().filter_map(|line| line.split_once(' '));
        let updates: String =
            updates.map(|(object, name)| format!("create {name} {object}\n")).collect();
        git.stdout_with_input(&["update-ref", "--stdin"], updates.into_bytes())?;
        let (imported, blobs) = (BTreeSet::new(), BTreeSet::new());
        Ok(CommitImport { empty, git, has_complete_objects, imported, blobs })
    }
}

impl CommitImport {
    /// Whether a commit is known with its files.
    pub(crate) fn has(&self, commit: &str) -> Result<bool> {
        let is_local = || Ok(self.has_complete_objects && self.git.has_commit(commit)?);
        if self.imported.contains(commit) { Ok(true) } else { is_local() }
    }

    /// Adds a commit, whose parent was added before.
    ///
    /// # Errors
    /// If the files are not those of the tree.
    pub(crate) fn add(&mut self, commit: &ImportedCommit<'_>) -> Result<()> {
        let ImportedCommit { commit: name, tree, parent, seconds, files } = commit;
        self.git.stdout(["read-tree", "--empty"])?;
        let mut index = Vec::new();
        for ImportedFile { path, mode, object } in files {
            index.extend_from_slice(format!("{mode} {object}\t{path}\0").as_bytes());
        }
        self.git.stdout_with_input(&["update-index", "-z", "--index-info"], index)?;
        let written = first_line(&self.git.stdout(["write-tree", "--missing-ok"])?);
        if written != *tree {
            return Err(CliError::usage(format!("the files of {name} are not those of its tree")));
        }
        let parent = parent.map(|parent| format!("parent {parent}\n")).unwrap_or_default();
        let account = format!("compass <compass@localhost> {seconds} +0000");
        let text = format!(
            "tree {tree}\n{parent}author {account}\ncommitter {account}\n\nThe files of {name}\n"
        );
        let arguments = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let own = first_line(&self.git.stdout_with_input(&arguments, text.into_bytes())?);
        self.git.stdout(["update-ref", &format!("refs/replace/{name}"), &own])?;
        self.imported.insert((*name).to_owned());
        // Submodules are commits of other repositories.
        let blobs = files.iter().filter(|file| file.mode != "160000");
        self.blobs.extend(blobs.map(|file| file.object.clone()));
        Ok(())
    }

    /// The files of the added commits whose contents are missing.
    pub(crate) fn missing_blobs(&self) -> Result<Vec<String>> {
        let input: String = self.blobs.iter().map(|object| format!("{object}\n")).collect();
        let listed =
            self.git.stdout_with_input(&["cat-file", "--batch-check"], input.into_bytes())?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let missing = listed.lines().filter_map(|line| line.strip_suffix(" missing"));
        Ok(missing.map(str::to_owned).collect())
    }

    /// Adds the content of a file.
    ///
    /// # Errors
    /// If the content is not that of the object.
    pub(crate) fn add_blob(&self, object: &str, content: &[u8]) -> Result<()> {
        if !is_blob(object, content) {
            return Err(CliError::usage(format!("the content of {object} is another one")));
        }
        let arguments = ["hash-object", "-w", "--no-filters", "--stdin"];
        self.git.stdout_with_input(&arguments, content.to_vec()).map(drop)
    }

    /// Opens the clone at a head and a base, which were added or are local.
    pub(crate) fn open(self, head: &str, base: &str) -> Result<PrivateClone> {
        for (name, commit) in [(HEAD, head), (BASE, base)] {
            self.git.stdout(["update-ref", name, commit])?;
        }
        let has_history = self.imported.is_empty();
        self.empty.open(has_history)
    }
}
