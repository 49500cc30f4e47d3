//! Git, asked about a release repository. Every command that needs git goes through this module.
//!
//! The work tree, its history and its `.git/config` are untrusted: a pull request wrote the first two.
//! Nothing that they name is run, and nothing is fetched ([`command`] lists the precautions).
//! Git's own check of who owns a clone stays on.

mod command;
mod history;
mod objects;
mod revision;
mod work_tree;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use self::command::Environment;
use crate::failure::Failure;

pub(crate) use self::history::{Change, History};
pub(crate) use self::objects::{Entry, EntryKind};
pub(crate) use self::work_tree::WorkFile;

/// A git repository, and where the release repository is in it.
#[derive(Debug)]
pub(crate) struct Git {
    /// The root of the git work tree, without symbolic links.
    top_level: PathBuf,
    /// The release repository below [`Self::top_level`]: empty, or ends with `/`.
    prefix: String,
    environment: Environment,
    /// Configuration that switches off the filter drivers that the repository configures.
    disabled_filters: Vec<OsString>,
    is_shallow: bool,
    /// What precedes the subcommand in a command that a message tells the user to run.
    shown: String,
}

impl Git {
    /// Finds the git repository around `root`; `None` if there is none.
    ///
    /// `is_explicit` says that the user named `root`: `GIT_DIR` and its relatives in the
    /// environment, which a hook of another repository may have left there, do not apply then.
    ///
    /// # Errors
    ///
    /// If there is a `.git` and git does not run, or refuses the repository.
    pub(crate) fn discover(root: &Path, is_explicit: bool) -> Result<Option<Self>, Failure> {
        let canonical = root.canonicalize().map_err(|error| {
            Failure::outside(&error).while_doing(format!("cannot read {}", root.display()))
        })?;
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
        let shown = if is_explicit { format!("git -C {}", quoted(root)) } else { "git".to_owned() };
        let mut git = Self {
            top_level,
            prefix,
            environment,
            disabled_filters: Vec::new(),
            is_shallow: false,
            shown,
        };
        git.is_shallow = git.verify()?;
        git.disabled_filters = git.filter_drivers()?;
        Ok(Some(git))
    }

    /// The release repository below the root of the git repository: empty, or ends with `/`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Verifies that git takes the same directory for the work tree; returns whether the clone is
    /// shallow.
    fn verify(&self) -> Result<bool, Failure> {
        let output = self.run(["rev-parse", "--is-shallow-repository", "--show-toplevel"])?;
        if !output.status.success() {
            return Err(self.refused(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (shallow, top_level) = text.split_once('\n').unwrap_or_default();
        let top_level = Path::new(top_level.trim_end_matches('\n'));
        if top_level.canonicalize().ok().as_ref() != Some(&self.top_level) {
            let message = format!(
                "git takes {} for the work tree of {}",
                top_level.display(),
                self.top_level.display()
            );
            return Err(Failure::usage(message).hint("remove `core.worktree` from `.git/config`"));
        }
        Ok(shallow == "true")
    }

    /// Overrides for the filter drivers of the configuration: with an empty command git runs none.
    fn filter_drivers(&self) -> Result<Vec<OsString>, Failure> {
        let output = self.run(["config", "--null", "--name-only", "--get-regexp", r"^filter\."])?;
        // The exit status is 1 if no key matches.
        let keys = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut overrides = Vec::new();
        let keys = keys.split('\0').filter(|key| !key.is_empty());
        let mut drivers: Vec<_> = keys.filter_map(|key| Some(key.rsplit_once('.')?.0)).collect();
        drivers.dedup();
        for driver in drivers {
            if driver.contains(['=', '\u{fffd}']) {
                let message = format!("cannot switch off the git filter `{driver}`");
                return Err(Failure::usage(message).hint("remove it from the git configuration"));
            }
            for (key, value) in
                [("clean", ""), ("smudge", ""), ("process", ""), ("required", "false")]
            {
                overrides.push("-c".into());
                overrides.push(format!("{driver}.{key}={value}").into());
            }
        }
        Ok(overrides)
    }
}

/// Makes a repository of a directory, with one commit of everything, the branch `main`, what
/// `origin/main` would be, and a tag. Nothing happens if git is not installed.
pub(crate) fn commit_all(directory: &Path, tag: &str) -> Result<(), Failure> {
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
            Err(error) => return Err(command::not_run(&error)),
            Ok(output) if !output.status.success() => {
                return Err(command::refused(&output, directory));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The nearest directory that has a `.git`. Git itself would also take a directory that looks like
/// a bare repository, and a pull request can commit one.
fn enclosing(canonical: &Path) -> Option<&Path> {
    canonical.ancestors().find(|directory| {
        let git = directory.join(".git");
        git.is_file() || git.join("HEAD").symlink_metadata().is_ok()
    })
}

fn prefix(root: &Path, top_level: &Path) -> Result<String, Failure> {
    let outside = || {
        let message = format!("{} is not in the work tree {}", root.display(), top_level.display());
        Failure::usage(message).hint("name the release repository with `--repo DIR`")
    };
    let relative = root.strip_prefix(top_level).map_err(|_| outside())?;
    let relative = relative
        .to_str()
        .ok_or_else(|| Failure::usage(format!("the path {} is not UTF-8", root.display())))?;
    Ok(if relative.is_empty() { String::new() } else { format!("{relative}/") })
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
