//! Defines the status of a pull request in the queue.

use super::conversation::Origin;
use super::facts::Grant;
use super::guard::GuardReport;
use super::queue::Role;
use super::statement::Statement;

/// The status of a pull request: its state, the requested steps, and the next steps.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The queue label that the pull request should have, without `queue/`; `None` before the
    /// queue.
    pub state: Option<String>,
    /// The latest requested steps, oldest first.
    pub transitions: Vec<Transition>,
    /// The number of earlier requests that are omitted.
    pub omitted_requests: usize,
    /// The number of omitted requests that were refused.
    pub omitted_refusals: usize,
    /// The next steps; empty at the end of the queue.
    pub next: Vec<NextStep>,
    /// The labels to add, such as `queue/need-queue`.
    pub add_labels: Vec<String>,
    /// The labels to remove.
    pub remove_labels: Vec<String>,
    /// Remarks about incomplete commands, and about labels that the commands do not justify.
    pub remarks: Vec<Statement>,
    /// The latest granted steps, oldest first, for the record of the caller.
    #[serde(skip)]
    pub grants: Vec<Grant>,
}

/// A requested step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Transition {
    /// The text with the request.
    pub origin: Origin,
    /// The line in the text, from 1.
    pub line: usize,
    /// The login of the requester.
    pub by: String,
    /// The label before the step; `None` before the queue.
    pub from: Option<String>,
    /// The requested label.
    pub to: String,
    /// The outcome of the request.
    pub outcome: Outcome,
    /// The current results of the step's guards; empty if the queue has no such step.
    pub guards: Vec<GuardReport>,
}

/// The outcome of a requested step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
#[non_exhaustive]
pub enum Outcome {
    /// The pull request moved, because all guards hold.
    Granted,
    /// The pull request moved earlier, as its label records.
    ///
    /// A guard that fails now does not undo the step.
    GrantedEarlier,
    /// The pull request already had the label.
    Unchanged,
    /// The request does not count any more, because the release files changed after it.
    Outdated,
    /// The pull request did not move, because the result of a guard is unknown.
    ///
    /// No guard fails.
    Open,
    /// The pull request did not move.
    Refused {
        /// The reason.
        reason: Statement,
        /// How to make the request succeed, in English.
        help: String,
    },
}

/// A step that is possible next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct NextStep {
    /// The label after the step.
    pub to: String,
    /// The command that requests the step.
    pub command: String,
    /// The roles that may request the step.
    pub who: Vec<Role>,
    /// The known accounts with one of the roles.
    pub people: Vec<String>,
    /// The current results of the step's guards.
    pub guards: Vec<GuardReport>,
}

impl Status {
    /// Returns whether a requested step was refused.
    pub fn has_refusals(&self) -> bool {
        self.omitted_refusals > 0 || self.transitions.iter().any(Transition::is_refused)
    }

    /// Returns whether the pull request is at the end of the queue.
    pub fn is_done(&self) -> bool {
        self.state.is_some() && self.next.is_empty()
    }
}

impl Transition {
    /// Returns whether the pull request moved.
    pub fn is_granted(&self) -> bool {
        matches!(self.outcome, Outcome::Granted | Outcome::GrantedEarlier)
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { .. })
    }
}
