//! Where a pull request stands, and why.

use super::conversation::Origin;
use super::guard::GuardReport;
use super::queue::Role;

/// Where a pull request stands, how it came there, and what is next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// The label of the queue that it should have, without `queue/`; `None` before the queue.
    pub state: Option<String>,
    /// The steps that were asked for, in order: the latest, if there are very many.
    pub transitions: Vec<Transition>,
    /// How many earlier requests are not among them.
    pub omitted_requests: usize,
    /// How many of those were refused.
    pub omitted_refusals: usize,
    /// The steps that lead on; none where the queue ends.
    pub next: Vec<NextStep>,
    /// Labels that the forge should add, as `queue/need-queue`.
    pub add_labels: Vec<String>,
    /// Labels that the forge should remove.
    pub remove_labels: Vec<String>,
    /// What else is worth knowing: commands that cannot be read, labels that nobody asked for.
    pub remarks: Vec<String>,
}

/// A step that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Transition {
    /// Where it was asked for.
    pub origin: Origin,
    /// The line in that text, from 1.
    pub line: usize,
    /// Who asked.
    pub by: String,
    /// The label before; `None` for none.
    pub from: Option<String>,
    /// The label that was asked for.
    pub to: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The guards of the step as they are now; empty where there is no such step.
    pub guards: Vec<GuardReport>,
}

/// What became of a step that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
#[non_exhaustive]
pub enum Outcome {
    /// The pull request moved: all guards hold.
    Granted,
    /// The pull request moved earlier, as its label says. Guards were judged then; what has become
    /// of them since does not undo the step.
    GrantedEarlier,
    /// The pull request was there already.
    Unchanged,
    /// Nothing speaks against it, and something is not known.
    Open,
    /// The pull request did not move.
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        help: String,
    },
}

/// A step that leads on from where a pull request stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NextStep {
    /// The label that it leads to.
    pub to: String,
    /// The command that asks for it.
    pub command: String,
    /// The roles that may ask for it.
    pub who: Vec<Role>,
    /// The people who are known to have one of them.
    pub people: Vec<String>,
    /// Its guards as they are now.
    pub guards: Vec<GuardReport>,
}

impl Status {
    /// Whether a step that was asked for was refused.
    pub fn has_refusals(&self) -> bool {
        self.omitted_refusals > 0 || self.transitions.iter().any(Transition::is_refused)
    }

    /// Whether the pull request came to the end of its queue.
    pub fn is_done(&self) -> bool {
        self.state.is_some() && self.next.is_empty()
    }
}

impl Transition {
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { .. })
    }
}
