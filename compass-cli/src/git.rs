//! Runs git for a release repository. No other module runs git.
//!
//! The work tree, its history and its `.git/config` are untrusted: a pull request can change the
//! first two. No program that they name is run, and nothing is fetched ([`command`] lists the
//! precautions). Git's own check of the owner of a clone stays enabled.

mod branch;
mod command;
mod commit_import;
mod fetch;
mod history;
mod index_copy;
mod limited_run;
mod objects;
mod private_clone;
mod revision;
mod snapshot;
mod tree_at;
mod work_tree;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use compass_manifest::EntryKind;
use compass_manifest::escape::quote;

use self::command::Environment;
use self::index_copy::IndexCopy;
use self::revision::first_line;
use self::snapshot::Snapshot;
use crate::error::{CliError, Result};

pub(crate) use self::commit_import::{CommitImport, ImportedCommit, ImportedFile};
pub(crate) use self::history::{Change, History};
pub(crate) use self::objects::{Entry, is_blob, kind_of_mode};
pub(crate) use self::private_clone::{PrivateClone, PullRefs};
pub(crate) use self::tree_at::Base;
pub(crate) use self::work_tree::WorkFile;

/// A git repository, and the path of the release repository in it.
#[derive(Debug)]
pub(crate) struct Git {
    /// The root of the git work tree, without symbolic links.
    top_level: PathBuf,
    /// The path of the release repository below [`Self::top_level`]: empty, or ends with `/`.
    prefix: String,
    environment: Environment,
    /// The filter drivers of the configuration, which are not run.
    filter_drivers: BTreeSet<String>,
    is_shallow: bool,
    /// The index of the work tree: absolute, or relative to [`Self::top_level`].
    index: PathBuf,
    /// The copy for commands that write the index, created for the first of them.
    index_copy: OnceLock<IndexCopy>,
    /// The commit that replaces the work tree, in a clone without one.
    snapshot: Option<Snapshot>,
    /// The text before the subcommand in a command that a message suggests.
    command_prefix: String,
}

impl Git {
    /// Finds the git repository around `root`; `None` if there is none.
    ///
    /// If the user named `root` (`is_explicit`), `GIT_DIR` and similar variables of the environment do
    /// not apply: a hook of another repository may have set them.
    ///
    /// # Errors
    ///
    /// If there is a `.git`, and git does not run or rejects the repository.
    pub(crate) fn discover(root: &Path, is_explicit: bool) -> Result<Option<Self>> {
        let canonical = root.canonicalize().map_err(CliError::io("read", root))?;
        let environment = Environment::new(is_explicit);
        let (top_level, environment) = if environment.names_repository() {
            environment.resolve(&canonical)?
        } else {
            match enclosing(&canonical) {
                Some(top_level) => (top_level.to_owned(), environment),
                None => return Ok(None),
            }
        };
        let prefix = prefix(&canonical, &top_level)?;
        let command_prefix =
            if is_explicit { format!("git -C {}", quoted(root)) } else { "git".to_owned() };
        let mut git = Self {
            top_level,
            prefix,
            environment,
            filter_drivers: BTreeSet::new(),
            is_shallow: false,
            index: PathBuf::new(),
            index_copy: OnceLock::new(),
            snapshot: None,
            command_prefix,
        };
        (git.is_shallow, git.index) = git.verify()?;
        git.filter_drivers = git.filter_drivers()?;
        Ok(Some(git))
    }

    /// The path of the release repository below the root of the git repository: empty, or ends with `/`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Verifies that git finds the same work tree; returns whether the clone is shallow, and the path
    /// of its index.
    fn verify(&self) -> Result<(bool, PathBuf)> {
        let options = ["--is-shallow-repository", "--git-path", "index", "--show-toplevel"];
        let output = self.run(["rev-parse"].iter().chain(&options))?;
        if !output.status.success() {
            return Err(self.git_error(&output));
        }
        let text = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
        let (shallow, rest) =
            text.split_at(text.iter().position(|byte| *byte == b'\n').unwrap_or(0));
        let top_level = self.top_level.as_os_str().as_bytes();
        let index = rest.strip_suffix(top_level).and_then(|rest| rest.strip_suffix(b"\n"));
        let Some(index) = index.and_then(|rest| rest.strip_prefix(b"\n")) else {
            let actual = rest.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let actual = Path::new(OsStr::from_bytes(actual));
            let message = format!(
                "git uses the work tree {} instead of {}",
                actual.display(),
                self.top_level.display()
            );
            let is_parent = self.top_level.starts_with(actual) && actual.join(".git").exists();
            return Err(CliError::usage(message).hint(match is_parent {
                _ if self.environment.passes("GIT_WORK_TREE") => {
                    "unset `GIT_WORK_TREE`, or use `--repo DIR`"
                }
                true => "`.git` is not a repository: repair or remove it",
                false => "remove `core.worktree` from `.git/config`",
            }));
        };
        Ok((shallow == b"true", PathBuf::from(OsStr::from_bytes(index))))
    }

    /// Reads the names of the filter drivers of the configuration.
    fn filter_drivers(&self) -> Result<BTreeSet<String>> {
        let output = self.run(["config", "--null", "--name-only", "--get-regexp", r"^filter\."])?;
        // The exit status is 1 if no key matches.
        if !matches!(output.status.code(), Some(0 | 1)) {
            return Err(self.git_error(&output));
        }
        let keys = String::from_utf8_lossy(&output.stdout).into_owned();
        let driver = |key: &str| Some(key.strip_prefix("filter.")?.rsplit_once('.')?.0.to_owned());
        let drivers: BTreeSet<String> = keys.split('\0').filter_map(driver).collect();
        match drivers.iter().find(|driver| driver.contains(['=', '\u{fffd}'])) {
            None => Ok(drivers),
            Some(driver) => {
                let message = format!("cannot disable the git filter {}", quote(driver));
                Err(CliError::usage(message).hint("remove it from the git configuration"))
            }
        }
    }
}

/// Creates a git repository with one commit of all files, on `main` and `origin/main`, and a tag. Does
/// nothing if git is not installed.
pub(crate) fn commit_all(directory: &Path, tag: &str) -> Result<()> {
    let environment = Environment::new(true);
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--no-gpg-sign", "--message=Release of the demo"],
        &["tag", tag],
        &["update-ref", "refs/remotes/origin/main", "HEAD"],
    ] {
        let mut command = environment.command();
        command.args(["-c", "user.name=demo", "-c", "user.email=demo@localhost"]);
        let output = command.args(arguments).current_dir(directory).output();
        match output {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(command::spawn_error(&error)),
            Ok(output) if !output.status.success() => {
                command::require_exit(output.status)?;
                return Err(command::git_error(&output, directory));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The nearest directory with a `.git`. Git itself would also accept a directory that looks like a
/// bare repository, which a pull request can commit.
///
/// A `.git` that git cannot read is found too, so that git reports the reason. An empty `.git` directory
/// is ignored: some containers have one instead of the repository.
fn enclosing(canonical: &Path) -> Option<&Path> {
    canonical.ancestors().find(|directory| {
        let git = directory.join(".git");
        match git.read_dir() {
            Ok(mut entries) => entries.next().is_some(),
            Err(_) => git.symlink_metadata().is_ok(),
        }
    })
}

fn prefix(root: &Path, top_level: &Path) -> Result<String> {
    let outside = || {
        let message = format!("{} is not in the work tree {}", root.display(), top_level.display());
        CliError::usage(message).hint("use `--repo DIR`")
    };
    let relative = root.strip_prefix(top_level).map_err(|_| outside())?;
    let relative = relative
        .to_str()
        .ok_or_else(|| CliError::usage(format!("the path {} is not UTF-8", root.display())))?;
    Ok(if relative.is_empty() { String::new() } else { format!("{relative}/") })
}

/// Returns the kind of an entry, or that its path is ambiguous: bytes that are not UTF-8 were replaced
/// with U+FFFD.
pub(crate) fn kind_at(path: &str, kind: EntryKind) -> EntryKind {
    match path.contains(char::REPLACEMENT_CHARACTER) {
        true => EntryKind::UndecodablePath,
        false => kind,
    }
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
