//! Revisions that users name, and their merge base with `HEAD`.

use super::Git;
use crate::error::{CliError, Result};

impl Git {
    /// Finds the merge base of `HEAD` and `revision`, where a change began.
    ///
    /// # Errors
    ///
    /// If there is no such revision, or the clone is too shallow to contain the merge base.
    pub(crate) fn merge_base(&self, revision: &str) -> Result<String> {
        let commit = self.commit(revision)?;
        let output = self.run(["merge-base", "HEAD", &commit])?;
        if output.status.success() {
            return Ok(first_line(&output.stdout));
        }
        if self.head()?.is_none() {
            let message = "cannot compare with a base: there is no commit yet";
            return Err(CliError::usage(message).hint("commit first, or omit `--base`"));
        }
        if output.status.code() != Some(1) {
            return Err(self.git_error(&output));
        }
        let message = format!("`{revision}` and `HEAD` have no common commit in this clone");
        Err(match self.is_shallow {
            true => CliError::usage(format!("{message}, which is shallow")).hint(format!(
                "fetch more history: {} (or `--deepen=100` instead, repeatedly)",
                self.command_hint("fetch --unshallow")
            )),
            false => {
                CliError::usage(message).hint("use the branch that `HEAD` started from as `--base`")
            }
        })
    }

    /// The branch that changes are usually for: the default branch of `origin`, if it is known.
    pub(crate) fn default_base(&self) -> Result<Option<String>> {
        for branch in ["origin/HEAD", "origin/main", "origin/master"] {
            if self.commit_of(branch)?.is_some() {
                return Ok(Some(branch.to_owned()));
            }
        }
        Ok(None)
    }

    /// Lists the tags.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let listed = self.stdout(["for-each-ref", "--format=%(refname:strip=2)", "refs/tags"])?;
        Ok(String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect())
    }

    /// The command that fetches a tag, in backticks; `None` without a remote.
    pub(crate) fn fetch_tag_command(&self, tag: &str) -> Result<Option<String>> {
        let remotes = self.remotes()?;
        Ok(default_remote(&remotes)
            .map(|remote| self.command_hint(&format!("fetch {remote} tag {tag}"))))
    }

    fn remotes(&self) -> Result<Vec<String>> {
        let remotes = self.stdout(["remote"])?;
        Ok(String::from_utf8_lossy(&remotes).lines().map(str::to_owned).collect())
    }

    /// The commit of a revision, if there is one.
    pub(super) fn commit_of(&self, revision: &str) -> Result<Option<String>> {
        let name = format!("{revision}^{{commit}}");
        let output = self.run(["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?;
        Ok(output.status.success().then(|| first_line(&output.stdout)))
    }

    /// The commit of `HEAD`; `None` before the first commit of a branch.
    pub(super) fn head(&self) -> Result<Option<String>> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(Some(snapshot.head.clone()));
        }
        if let Some(head) = self.commit_of("HEAD")? {
            return Ok(Some(head));
        }
        // `HEAD` may name a commit that is missing in a partial clone.
        let output = self.run(["rev-parse", "--verify", "--quiet", "HEAD"])?;
        match output.status.success() {
            true => Err(self.missing_object(&first_line(&output.stdout))),
            false => Ok(None),
        }
    }

    fn commit(&self, revision: &str) -> Result<String> {
        if let Some(hint) = malformed_hint(revision) {
            return Err(
                CliError::usage(format!("`--base` is not a revision: `{revision}`")).hint(hint)
            );
        }
        if let Some(commit) = self.commit_of(revision)? {
            return Ok(commit);
        }
        let error = CliError::usage(format!("there is no revision `{revision}` in this clone"));
        Err(match self.missing_revision_hint(revision)? {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    /// The command that fetches a missing revision, or the revision that was meant.
    fn missing_revision_hint(&self, revision: &str) -> Result<Option<String>> {
        if let Some((start, _)) = revision.split_once(['~', '^', '@', ':'])
            && !start.is_empty()
        {
            return Ok(match self.is_shallow && self.commit_of(start)?.is_some() {
                true => {
                    Some(format!("fetch the history: {}", self.command_hint("fetch --unshallow")))
                }
                false => None,
            });
        }
        let remotes = self.remotes()?;
        let of_remote = remotes.iter().find_map(|remote| {
            Some((remote.as_str(), revision.strip_prefix(remote.as_str())?.strip_prefix('/')?))
        });
        let (remote, branch) = match (of_remote, default_remote(&remotes)) {
            (Some((remote, branch)), _) => (remote, branch),
            (None, Some(remote)) => (remote, revision),
            (None, None) => return Ok(None),
        };
        let tracked = format!("{remote}/{branch}");
        if tracked != revision && self.commit_of(&tracked)?.is_some() {
            return Ok(Some(format!("did you mean `--base {tracked}`?")));
        }
        let valid = self.run(["check-ref-format", "--branch", branch])?.status.success();
        let fetch = self.command_hint(&format!("fetch {remote} {branch}"));
        Ok(valid.then(|| format!("fetch it: {fetch}, then `--base FETCH_HEAD`")))
    }
}

/// The default remote: the only one, or `origin`.
fn default_remote(remotes: &[String]) -> Option<&str> {
    match remotes {
        [only] => Some(only),
        several => several.iter().map(String::as_str).find(|remote| *remote == "origin"),
    }
}

/// The hint for invalid text: CI variables are empty or zeros without a base.
fn malformed_hint(revision: &str) -> Option<&'static str> {
    const EXAMPLE: &str = "use a branch, for example `--base origin/main`";
    if revision.trim().is_empty() || revision.ends_with('/') {
        return Some(
            "the variable for the base is empty: use a branch, for example `--base origin/main`",
        );
    }
    if revision.len() >= 40 && revision.bytes().all(|byte| byte == b'0') {
        return Some(
            "zeros stand for a new branch: use the branch that it started from, for example `--base origin/main`",
        );
    }
    if revision.contains("..") {
        return Some("`--base` is one revision; its merge base with `HEAD` is compared");
    }
    (revision.starts_with('-') || revision.contains(char::is_control)).then_some(EXAMPLE)
}

pub(super) fn first_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).lines().next().unwrap_or_default().to_owned()
}
