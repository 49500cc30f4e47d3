//! The work of the bot: what it does with pull requests.

use async_trait::async_trait;

use crate::board::{Packages, ReleasePull};
use crate::error::{CliError, Result};
use crate::forge::MissedDelivery;

/// Looks at the pull requests of a repository.
#[async_trait]
pub(super) trait PullRequestWork: Send + Sync {
    /// Lists the open pull requests.
    async fn open_pull_requests(&self) -> Result<Vec<OpenPull>>;

    /// Looks at a pull request, and writes what differs.
    async fn update(&self, number: u64) -> Result<Update>;

    /// Does the work of the teams for a pull request.
    async fn work(&self, number: u64) -> Result<WorkDone>;

    /// Lists the published packages.
    async fn packages(&self) -> Result<Packages>;

    /// Lists the webhooks of these events that did not arrive; empty if the forge does not show them.
    async fn missed_deliveries(&self, events: &[&str]) -> Result<Vec<MissedDelivery>>;
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
    /// Whether the bot should do the work of a team for the next step.
    pub(super) is_work_due: bool,
}

/// The result of the work of the teams.
#[derive(Debug)]
pub(super) struct WorkDone {
    /// The state for the board.
    pub(super) release: ReleasePull,
    /// The number of finished steps.
    pub(super) steps: usize,
    /// The error that ended the work early, which the pull request also has.
    pub(super) failure: Option<CliError>,
}
