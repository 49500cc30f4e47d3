//! The current branch, and whether its commits are in `origin`.

use super::Git;
use super::revision::first_line;
use crate::error::Result;

/// The branch of `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentBranch {
    pub(crate) name: String,
    /// Whether the branch in `origin` had the same commit when it was last pushed or fetched.
    pub(crate) is_pushed: bool,
}

impl Git {
    /// The current branch; `None` if `HEAD` names a commit.
    pub(crate) fn current_branch(&self) -> Result<Option<CurrentBranch>> {
        let output = self.run(["symbolic-ref", "--quiet", "--short", "HEAD"])?;
        if !output.status.success() {
            return Ok(None);
        }
        let name = first_line(&output.stdout);
        let pushed = self.commit_of(&format!("refs/remotes/origin/{name}"))?;
        let is_pushed = pushed.is_some() && pushed == self.head()?;
        Ok(Some(CurrentBranch { name, is_pushed }))
    }
}
