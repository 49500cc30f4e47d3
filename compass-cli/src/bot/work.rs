//! The work of the bot: what it does with pull requests.

use async_trait::async_trait;

use crate::board::{Packages, ReleasePull};
use crate::error::Result;

/// Looks at the pull requests of a repository.
#[async_trait]
pub(super) trait PullRequestWork: Send + Sync {
    /// Lists the open pull requests.
    async fn open_pull_requests(&self) -> Result<Vec<OpenPull>>;

    /// Looks at a pull request, and writes what differs.
    async fn update(&self, number: u64) -> Result<Update>;

    /// Lists the published packages.
    async fn packages(&self) -> Result<Packages>;
}

/// An open pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenPull {
    pub(super) number: u64,
    /// The branch that it changes.
    pub(super) base: String,
}

/// The result of looking at a pull request.
#[derive(Debug)]
pub(super) struct Update {
    /// The state for the board; `None` if the pull request is not an open release.
    pub(super) release: Option<ReleasePull>,
    /// The number of things that were written.
    pub(super) writes: usize,
}
