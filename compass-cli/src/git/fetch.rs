//! Fetches a pull request from `origin`, without prompts and within a time limit.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::command::require_exit;
use super::limited_run::{Ended, run_within};
use super::private_clone::{BASE, HEAD, PullRefs};
use super::{Git, first_line};
use crate::error::{CliError, Result};

/// Transports that run no program of the configuration (`ext::`) and need no helper of others.
const PROTOCOLS: &str = "https:http:ssh:git:file";

/// The time in seconds without data after which git ends a transfer over HTTP.
const STALL_SECONDS: &str = "60";

/// The variable with the time limit in seconds, and its default.
const LIMIT_VARIABLE: &str = "COMPASS_FETCH_TIMEOUT";
const DEFAULT_LIMIT: Duration = Duration::from_mins(10);

/// The command for SSH. A question for a password or about an unknown host would wait for a terminal.
const SSH_COMMAND: &str = "ssh -o BatchMode=yes -o ConnectTimeout=60";

impl Git {
    /// Fetches a pull request and its base branch into the repository at `root`.
    pub(super) fn fetch(&self, root: &Path, url: &str, refs: PullRefs<'_>) -> Result<()> {
        let PullRefs { number, base_branch } = refs;
        let branch = format!("refs/heads/{base_branch}");
        if !self.run(["check-ref-format", &branch])?.status.success() {
            let message = "the name of the base branch is not valid";
            return Err(CliError::check_failed(message));
        }
        let limit = time_limit()?;
        let mut command = self.fetch_command(root, url)?;
        command
            .arg(format!("+refs/pull/{number}/head:{HEAD}"))
            .arg(format!("+{branch}:{BASE}"))
            .arg("+refs/tags/*:refs/tags/*");
        let failed = || {
            let message = format!("cannot fetch the pull request #{number} from `origin`");
            CliError::usage(message).into_external()
        };
        let attempt = self.command_hint(&format!("fetch origin refs/pull/{number}/head"));
        match run_within(command, limit)? {
            Ended::Exited(status, _) if status.success() => Ok(()),
            Ended::Exited(status, message) => {
                require_exit(status)?;
                // The URL can contain a password, so the message does not have it.
                let reason = message.replace(url, "origin");
                Err(failed().with_cause(reason.trim()).hint(format!("try it: {attempt}")))
            }
            Ended::TimedOut => {
                let cause = format!("git did not finish within {} seconds", limit.as_secs());
                let more = format!("set {LIMIT_VARIABLE} to more seconds");
                let hint = format!("try it: {attempt}; if it only takes long, {more}");
                Err(failed().with_cause(cause).hint(hint))
            }
        }
    }

    fn fetch_command(&self, root: &Path, url: &str) -> Result<Command> {
        let mut command = self.environment.command();
        command
            .args(["fetch", "--quiet", "--no-auto-gc", "--no-recurse-submodules"])
            .args(["--no-write-fetch-head", "--no-tags", "--", url])
            // A relative URL is relative to the clone.
            .current_dir(&self.top_level)
            .env("GIT_DIR", root.join(".git"))
            .env_remove("GIT_WORK_TREE")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
            .env("GIT_HTTP_LOW_SPEED_TIME", STALL_SECONDS);
        if !is_local(url) && !self.has_ssh_command()? {
            command.env("GIT_SSH_COMMAND", SSH_COMMAND);
        }
        Ok(command)
    }

    /// Whether the user has chosen a program for SSH, whose options are not known.
    fn has_ssh_command(&self) -> Result<bool> {
        let is_set = |name| std::env::var_os(name).is_some_and(|value: OsString| !value.is_empty());
        if is_set("GIT_SSH_COMMAND") || is_set("GIT_SSH") {
            return Ok(true);
        }
        let output = self.run(["config", "--get", "core.sshCommand"])?;
        Ok(!first_line(&output.stdout).is_empty())
    }
}

/// Whether a URL is the path of a directory.
fn is_local(url: &str) -> bool {
    url.starts_with("file://") || url.starts_with(['/', '.'])
}

fn time_limit() -> Result<Duration> {
    let Some(text) = std::env::var(LIMIT_VARIABLE).ok().filter(|text| !text.trim().is_empty())
    else {
        return Ok(DEFAULT_LIMIT);
    };
    match text.trim().parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(CliError::usage(format!("{LIMIT_VARIABLE} is not a number of seconds"))
            .hint("use for example 600")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_local_accepts_only_paths() {
        for (url, local) in [
            ("/srv/origin.git", true),
            ("../origin.git", true),
            ("file:///srv/origin.git", true),
            ("https://forge.example/a/b", false),
            ("git@forge.example:a/b", false),
            ("ssh://forge.example/a/b", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }
}
