//! The environment and configuration of git commands.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use super::{Git, quoted};
use crate::error::{CliError, Result};

/// Variables that select another repository than that of the directory.
///
/// These are the variables of `git rev-parse --local-env-vars`, without those with the user's own
/// configuration.
const REPOSITORY_VARIABLES: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_IMPLICIT_WORK_TREE",
];

/// Variables that change the output of a command, its paths, or the attributes and configuration that
/// it reads.
const OUTPUT_VARIABLES: [&str; 10] = [
    "GIT_ATTR_SOURCE",
    "GIT_CONFIG",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "LANGUAGE",
];

/// Configuration that overrides every file:
/// - only a `.git` is a repository, not a directory that looks like a bare one: a pull request can
///   commit such a directory with a `config`;
/// - no hooks and no file system monitor, because the repository can choose these programs;
/// - unquoted paths;
/// - no sparse index: git writes trees to create one, and `git diff` fails with some of them.
///
/// Filter drivers are disabled by name ([`Git::command`]).
const CONFIGURATION: [&str; 5] = [
    "safe.bareRepository=explicit",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=",
    "core.quotePath=false",
    "index.sparse=false",
];

/// The environment variables that are passed to git.
#[derive(Debug)]
pub(super) struct Environment {
    removed: Vec<&'static str>,
    set: Vec<(&'static str, PathBuf)>,
}

impl Environment {
    pub(super) fn new(is_explicit: bool) -> Self {
        let mut removed = OUTPUT_VARIABLES.to_vec();
        if is_explicit {
            removed.extend(REPOSITORY_VARIABLES);
        }
        Self { removed, set: Vec::new() }
    }

    /// Whether the environment selects a repository, as that of a git hook does.
    pub(super) fn names_repository(&self) -> bool {
        self.passes("GIT_DIR")
    }

    /// Whether a variable is set and passed to git.
    pub(super) fn passes(&self, variable: &str) -> bool {
        let is_set = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        is_set && !self.removed.contains(&variable)
    }

    /// Makes the paths of the environment, which are relative to the current directory, absolute;
    /// returns the root of the work tree.
    pub(super) fn resolve(mut self, root: &Path) -> Result<(PathBuf, Self)> {
        let rev_parse = |option: &str| -> Result<PathBuf> {
            let output = output(self.command().args(["rev-parse", option]))?;
            if !output.status.success() {
                return Err(git_error(&output, root).hint("unset `GIT_DIR`, or use `--repo DIR`"));
            }
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let path = PathBuf::from(text.trim_end_matches('\n'));
            path.canonicalize().map_err(|error| CliError::external(&error))
        };
        let (directory, top_level) =
            (rev_parse("--absolute-git-dir")?, rev_parse("--show-toplevel")?);
        self.set = vec![("GIT_DIR", directory), ("GIT_WORK_TREE", top_level.clone())];
        Ok((top_level, self))
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("git");
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value.as_os_str())));
        command
            .env("LC_ALL", "C")
            // Do not fetch the missing objects of a partial clone; allow no transport.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_TERMINAL_PROMPT", "0")
            // Do not write the index; `git diff`, which writes it anyway, uses a copy.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .args(["--no-pager", "--literal-pathspecs"])
            .args(CONFIGURATION.iter().flat_map(|setting| ["-c", setting]));
        command
    }
}

impl Git {
    /// A git command that runs at the root of the work tree.
    pub(super) fn command(&self) -> Command {
        let mut command = self.environment.command();
        for driver in &self.filter_drivers {
            // Git ignores an empty command.
            for setting in ["clean=", "smudge=", "process=", "required=false"] {
                command.arg("-c").arg(format!("filter.{driver}.{setting}"));
            }
        }
        command.current_dir(&self.top_level);
        command
    }

    /// Runs git; returns its output for any exit status.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        output(self.command().args(arguments))
    }

    /// Runs git; returns its standard output.
    ///
    /// # Errors
    /// Also if the exit status is not 0.
    pub(super) fn stdout<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>> {
        let output = self.run(arguments)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(self.git_error(&output)),
        }
    }

    /// Runs git with `input` as its standard input; returns its standard output.
    pub(super) fn stdout_with_input(&self, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>> {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| spawn_error(&error))?;
        let stdin = child.stdin.take();
        // Git writes before it has read all of its input, so that a single thread could deadlock.
        let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let output = child.wait_with_output().map_err(|error| spawn_error(&error))?;
        // If git did not read everything, its output or exit status shows that.
        let _ = writer.join();
        require_exit(output.status)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(self.git_error(&output)),
        }
    }

    /// The arguments that limit a command to the release repository.
    pub(super) fn pathspec(&self) -> Vec<OsString> {
        match self.prefix.is_empty() {
            true => vec!["--".into()],
            false => vec!["--".into(), self.prefix.clone().into()],
        }
    }

    /// Converts a path of the git repository to a path of the release repository.
    pub(super) fn relative(&self, path: &[u8]) -> Option<String> {
        let path = path.strip_prefix(self.prefix.as_bytes())?;
        Some(String::from_utf8_lossy(path).into_owned())
    }

    pub(super) fn git_error(&self, output: &Output) -> CliError {
        git_error(output, &self.top_level)
    }

    /// A git command that a hint suggests, in backticks.
    pub(crate) fn command_hint(&self, command: &str) -> String {
        format!("`{} {command}`", self.command_prefix)
    }
}

/// The error for a git command that failed.
pub(super) fn git_error(output: &Output, directory: &Path) -> CliError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("dubious ownership") {
        let message = format!("the git repository {} belongs to another user", directory.display());
        let trust = format!("git config --global --add safe.directory {}", quoted(directory));
        return CliError::usage(message).hint(format!("if you trust that user: `{trust}`"));
    }
    let reason = stderr.trim();
    let reason = if reason.is_empty() { output.status.to_string() } else { reason.to_owned() };
    CliError::usage(format!("git cannot read {}", directory.display())).with_cause(reason).hint(
        format!(
            "repair its `.git`, or remove it to continue without git; `git -C {} status` shows more",
            quoted(directory)
        ),
    )
}

/// Runs git; returns its output for any exit status.
///
/// # Errors
/// If git does not run, or a signal ends it: then its output may be incomplete.
pub(super) fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().map_err(|error| spawn_error(&error))?;
    require_exit(output.status)?;
    Ok(output)
}

/// Fails if a signal ended git. Ctrl-C at a terminal ends it, too.
pub(super) fn require_exit(status: ExitStatus) -> Result<()> {
    match status.signal() {
        None => Ok(()),
        Some(signal @ (1 | 2 | 15)) => {
            let exit = u8::try_from(128 + signal).unwrap_or(u8::MAX);
            Err(CliError::interrupted(exit))
        }
        Some(_) => Err(CliError::usage(format!("git was ended by {status}"))
            .into_external()
            .hint("run the command again; the system may have been short of memory")),
    }
}

/// The error if git cannot be started.
pub(super) fn spawn_error(error: &std::io::Error) -> CliError {
    CliError::usage(format!("cannot run git: {error}"))
        .hint("the release repository has a `.git`: install git, and add it to `PATH`")
}
