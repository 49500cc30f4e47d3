//! A private clone with the commits of a pull request.
//!
//! The clone has no work tree: its files are read from git objects. Nothing of the pull request is
//! written to disk under a name that it chose, and no program that it names is run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::snapshot::Snapshot;
use super::{Git, first_line};
use crate::error::{CliError, Result};
use crate::temporary::TemporaryDirectory;

/// The names of the fetched commits in the private clone.
pub(super) const HEAD: &str = "refs/compass/head";
pub(super) const BASE: &str = "refs/compass/base";

/// A clone that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct PrivateClone {
    directory: TemporaryDirectory,
    /// The path of the release repository below the root: empty, or ends with `/`.
    prefix: String,
    /// The head of the pull request.
    pub(crate) head: String,
    /// The head of the base branch.
    pub(crate) base: String,
    /// The commit where the change began.
    pub(crate) merge_base: String,
    /// The git repository at the head.
    pub(crate) git: Arc<Git>,
    /// Whether it has the commits between these.
    pub(crate) has_history: bool,
}

/// A private clone without commits.
#[derive(Debug)]
pub(super) struct EmptyClone {
    directory: TemporaryDirectory,
    prefix: String,
}

/// The commits to fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PullRefs<'p> {
    pub(crate) number: u64,
    pub(crate) base_branch: &'p str,
}

impl PrivateClone {
    /// The root of the release repository in the clone.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("repository").join(&self.prefix)
    }

    /// A directory for files that are not part of the pull request.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }
}

impl EmptyClone {
    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("repository")
    }

    /// Opens the clone after its commits were added.
    pub(super) fn open(self, has_history: bool) -> Result<PrivateClone> {
        let (root, prefix) = (self.root(), &self.prefix);
        std::fs::create_dir_all(root.join(prefix)).map_err(|error| {
            CliError::external(&error).context("cannot create a temporary directory")
        })?;
        let git = Git::at_head(&root, &root.join(prefix))?;
        let commit = |name: &str| -> Result<String> {
            let commit = git.commit_of(name)?;
            commit.ok_or_else(|| CliError::usage(format!("`origin` sent no commit for {name}")))
        };
        let (head, base) = (commit(HEAD)?, commit(BASE)?);
        let merge_base = git.merge_base_of(&base, &head)?;
        let Self { directory, prefix } = self;
        let git = Arc::new(git);
        Ok(PrivateClone { directory, prefix, head, base, merge_base, git, has_history })
    }
}

impl Git {
    /// Fetches a pull request and its base branch from `origin` into a private clone.
    ///
    /// # Errors
    /// If there is no `origin`, or it does not have the pull request.
    pub(crate) fn fetch_pull_request(&self, refs: PullRefs<'_>) -> Result<PrivateClone> {
        let found = self.run(["remote", "get-url", "origin"])?;
        if !found.status.success() {
            return Err(CliError::usage("the clone has no remote `origin`")
                .hint("add it: `git remote add origin URL`"));
        }
        let url = found.stdout;
        let has_objects = !self.is_shallow && !self.is_partial()?;
        let empty = self.empty_clone(has_objects)?;
        self.fetch(&empty.root(), &first_line(&url), refs)?;
        empty.open(true)
    }

    /// Creates a private clone. With `borrows_objects`, it has the objects of this repository.
    pub(super) fn empty_clone(&self, borrows_objects: bool) -> Result<EmptyClone> {
        let directory = TemporaryDirectory::new("compass-review-")?;
        let empty = EmptyClone { directory, prefix: self.prefix.clone() };
        let root = empty.root();
        let root_text = root.to_string_lossy().into_owned();
        let arguments = ["init", "--quiet", "--template=", "--initial-branch=compass"];
        self.stdout(arguments.into_iter().chain([root_text.as_str()]))?;
        if borrows_objects {
            self.lend_objects(&root)?;
        }
        Ok(empty)
    }

    /// Lets another repository use the objects of this one.
    fn lend_objects(&self, root: &Path) -> Result<()> {
        let objects =
            self.stdout(["rev-parse", "--path-format=absolute", "--git-path", "objects"])?;
        let alternates = root.join(".git/objects/info/alternates");
        let write = std::fs::create_dir_all(alternates.with_file_name(""))
            .and_then(|()| std::fs::write(&alternates, objects));
        write.map_err(|error| CliError::external(&error).context("cannot write a temporary file"))
    }

    /// Opens a private clone, with the head of the pull request instead of a work tree.
    fn at_head(top_level: &Path, root: &Path) -> Result<Self> {
        let git = Self::discover(root, true)?;
        let mut git =
            git.ok_or_else(|| CliError::usage(format!("{} is no clone", top_level.display())))?;
        git.stdout(["update-ref", "--no-deref", "HEAD", HEAD])?;
        if !git.filter_drivers.is_empty() {
            // Git reads the attributes of files from the index.
            git.stdout(["read-tree", "HEAD"])?;
        }
        git.snapshot = git.commit_of(HEAD)?.map(Snapshot::new);
        Ok(git)
    }

    /// Finds the commit where the change of `head` from `base` began.
    pub(crate) fn merge_base_of(&self, base: &str, head: &str) -> Result<String> {
        let output = self.run(["merge-base", base, head])?;
        match output.status.code() {
            Some(0) => Ok(first_line(&output.stdout)),
            Some(1) => Err(CliError::check_failed(
                "the pull request and its base branch have no common commit",
            )
            .hint("rebase the branch on the base branch")),
            _ => Err(self.git_error(&output)),
        }
    }

    /// Whether the repository has a commit.
    pub(crate) fn has_commit(&self, commit: &str) -> Result<bool> {
        Ok(self.commit_of(commit)?.is_some())
    }

    /// The newest time of the commits of a change, in seconds since 1970. The author can choose it.
    pub(crate) fn newest_commit_time(&self, base: &str, head: &str) -> Result<i64> {
        let listed =
            self.stdout(["rev-list", "--no-commit-header", "--format=%ct", head, "--not", base])?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        Ok(listed.lines().filter_map(|line| line.parse().ok()).max().unwrap_or_default())
    }

    /// Whether objects may be missing because the clone was made with `--filter`.
    pub(super) fn is_partial(&self) -> Result<bool> {
        let keys = ["config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$"];
        Ok(!self.run(keys)?.stdout.is_empty())
    }
}
