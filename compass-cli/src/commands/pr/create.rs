//! Opens a pull request from the current branch.

use compass_manifest::pull_request_text::PullRequestText;

use super::Args;
use crate::error::{CliError, Result};
use crate::forge::{NewPullRequest, PullRequest, open_forge};
use crate::git::{Git, History};
use crate::output::Output;
use crate::repository::Repository;

/// Opens the pull request.
///
/// # Errors
/// If the change is not committed and pushed, or the forge refuses.
pub(super) async fn run(
    args: &Args,
    text: &PullRequestText,
    repository: &Repository,
    output: &Output,
) -> Result<PullRequest> {
    let Some(git) = repository.checkout.git() else {
        let message = format!("{} is not in a git repository", repository.root.display());
        return Err(CliError::usage(message).hint("omit `--create`"));
    };
    require_committed(git, repository, &args.target)?;
    let head = match &args.head {
        Some(head) => head.clone(),
        None => pushed_branch(git)?,
    };
    let base = base_branch(args.base.as_deref());
    if base.as_ref() == Some(&head) {
        let message = format!("`{head}` is the branch that the pull request would be for");
        return Err(CliError::usage(message).hint("create a branch: `git switch -c NAME`"));
    }
    let new = NewPullRequest {
        title: text.title.clone(),
        body: text.body.clone(),
        head,
        base,
        is_draft: args.draft,
    };
    output.status(&format!("opening a pull request from {}", new.head));
    Ok(open_forge(&args.forge)?.create_pull_request(&new).await?)
}

fn require_committed(git: &Git, repository: &Repository, target: &[String]) -> Result<()> {
    let files: Vec<String> = repository.target_files(target)?.into_iter().collect();
    match git.history(&files)? {
        History::Changed(changed) => {
            let file = changed.first().map_or("a file", String::as_str);
            let message = format!("{file} has uncommitted changes");
            Err(CliError::usage(message).hint("commit and push it first"))
        }
        History::Committed(_) | History::Shallow => Ok(()),
    }
}

/// Returns the current branch.
fn pushed_branch(git: &Git) -> Result<String> {
    let Some(branch) = git.current_branch()? else {
        return Err(CliError::usage("`HEAD` is not on a branch")
            .hint("create one: `git switch -c NAME`, or name it: `--head BRANCH`"));
    };
    if branch.is_pushed {
        return Ok(branch.name);
    }
    let message = format!("`origin` does not have the commits of `{}`", branch.name);
    let push = git.command_hint(&format!("push --set-upstream origin {}", branch.name));
    Err(CliError::usage(message)
        .hint(format!("push it: {push}, or name the branch of a fork: `--head OWNER:BRANCH`")))
}

/// Returns the branch on the forge for a revision; `None` for the default branch.
fn base_branch(revision: Option<&str>) -> Option<String> {
    let branch = revision.map(|revision| revision.strip_prefix("origin/").unwrap_or(revision));
    branch.filter(|branch| *branch != "HEAD").map(str::to_owned)
}
