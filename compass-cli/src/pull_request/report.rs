//! The status of the head commit, and the people that can do the next step.

use compass_manifest::review::{NextStep, Role, Status};

use super::record::Record;
use crate::forge::{CommitStatus, PullRequest, StatusState};

/// The context of the commit status.
pub(crate) const CONTEXT: &str = "compass/release-queue";

/// The maximum number of characters of a description.
const MAX_DESCRIPTION: usize = 140;

/// The status of the head commit.
///
/// It succeeds at the end of the queue, and fails if a request was refused or the work failed.
pub(super) fn commit_status(pull: &PullRequest, status: &Status, record: &Record) -> CommitStatus {
    let place = match &status.state {
        Some(state) => state.clone(),
        None => "not in the queue".to_owned(),
    };
    let (state, text) = if record.failure.is_some() {
        (StatusState::Failure, format!("{place}: the last run failed, see the comment"))
    } else if status.is_done() {
        (StatusState::Success, format!("{place}: everything is done"))
    } else if status.has_refusals() {
        (StatusState::Failure, format!("{place}: a request was refused, see the comment"))
    } else {
        let waits = status.next.first().map(waits_for).unwrap_or_default();
        (StatusState::Pending, format!("{place}{waits}"))
    };
    CommitStatus {
        context: CONTEXT.to_owned(),
        state,
        description: text.chars().take(MAX_DESCRIPTION).collect(),
        url: Some(pull.url.clone()).filter(|url| !url.is_empty()),
    }
}

fn waits_for(next: &NextStep) -> String {
    let roles: Vec<&str> = next.who.iter().map(Role::as_str).collect();
    format!(": waits for {}", roles.join(" or "))
}
