//! The queue that release pull requests move through, as data.

use std::collections::BTreeSet;
use std::fmt;

use super::guard::Guard;
use super::slash_commands::is_label;
use crate::escape::quote;

/// Who may ask for a step.
///
/// The author of a pull request has [`Role::AUTHOR`] by being that; all other roles come from
/// [`Facts::roles`](super::Facts::roles).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Role(String);

/// One step: where from, where to, who may ask for it, and what must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The label that the pull request has before; `None` for none.
    pub from: Option<String>,
    /// The label that it gets, without `queue/`.
    pub to: String,
    /// Who may ask: one of these roles is enough.
    pub who: Vec<Role>,
    /// What must hold: all of it.
    pub guards: Vec<Guard>,
}

/// A queue: its steps, the kinds of pull requests that move through it, and whom they tell.
///
/// [`Queue::default`] is the written process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    steps: Vec<Step>,
    kinds: Vec<String>,
    cc: Vec<String>,
}

/// Why steps do not make a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A text cannot be a label.
    #[error("{} is not a label", quote(.0))]
    Label(String),
    /// Nothing begins the queue.
    #[error("no step begins at no label")]
    NoBeginning,
    /// Two steps lead from one label to another.
    #[error("two steps lead from {} to {}", shown(from.as_deref()), quote(to))]
    Twice {
        /// Where from.
        from: Option<String>,
        /// Where to.
        to: String,
    },
    /// A step can never be taken.
    #[error("no steps lead to {}, where a step begins", quote(.0))]
    Unreachable(String),
    /// A step leads to where it begins.
    #[error("a step leads from {} to itself", quote(.0))]
    Loop(String),
    /// Nobody may ask for a step.
    #[error("nobody may ask for the step to {}", quote(.0))]
    Nobody(String),
    /// No kind of pull request moves through the queue.
    #[error("no kind of pull request is named")]
    NoKind,
}

impl Role {
    /// The role of a pull request's author.
    pub const AUTHOR: &'static str = "author";

    /// A role by its name, as `platform-release`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The role's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl QueueError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Label(_) => "write letters, digits, `.`, `_` and `-`, and leave out `queue/`",
            Self::NoBeginning => {
                "leave out `from` of the step that puts a pull request in the queue"
            }
            Self::Twice { .. } => "make one step of them, with all roles and guards",
            Self::Unreachable(_) => "add a step that leads there, or correct the label",
            Self::Loop(_) => "name another label in `from` or `to`",
            Self::Nobody(_) => "name a role in `who`, as `author`",
            Self::NoKind => "name a kind, as `release`",
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        use Guard as G;
        let step = |from: Option<&str>, to: &str, who: &[&str], guards: &[Guard]| Step {
            from: from.map(str::to_owned),
            to: to.to_owned(),
            who: who.iter().copied().map(Role::new).collect(),
            guards: guards.to_vec(),
        };
        Self {
            steps: vec![
                step(
                    None,
                    "need-queue",
                    &["author"],
                    &[G::Kind, G::AskedInBody, G::ReleaseNote, G::Cc, G::CheckClean],
                ),
                step(
                    Some("need-queue"),
                    "patches-need-sync-image",
                    &["author", "owner"],
                    &[G::ImagesListed, G::ImagesInSource],
                ),
                step(
                    Some("patches-need-sync-image"),
                    "patches-need-package",
                    &["platform-release"],
                    &[G::ImagesInRelease],
                ),
                step(
                    Some("patches-need-package"),
                    "done-package-uploaded",
                    &["infra"],
                    &[G::BundlePublished],
                ),
            ],
            kinds: vec!["release".to_owned()],
            cc: vec!["supereagle".to_owned(), "pendoragon".to_owned()],
        }
    }
}

impl Queue {
    /// A queue of one's own: steps in the order of the process, kinds without `kind/`, and the
    /// people or teams that a body must `/cc`, with or without `@`.
    ///
    /// # Errors
    /// Where the steps make no queue.
    pub fn new(
        steps: Vec<Step>,
        kinds: Vec<String>,
        cc: impl IntoIterator<Item = String>,
    ) -> Result<Self, QueueError> {
        let labels = steps.iter().flat_map(|step| step.from.iter().chain([&step.to]));
        if let Some(bad) = labels.chain(&kinds).find(|label| !is_label(label)) {
            return Err(QueueError::Label(bad.clone()));
        }
        if kinds.is_empty() {
            return Err(QueueError::NoKind);
        }
        let cc = cc.into_iter().map(|login| login.trim_start_matches('@').to_owned()).collect();
        let queue = Self { steps, kinds, cc };
        queue.check_steps()?;
        Ok(queue)
    }

    fn check_steps(&self) -> Result<(), QueueError> {
        if !self.steps.iter().any(|step| step.from.is_none()) {
            return Err(QueueError::NoBeginning);
        }
        for (index, step) in self.steps.iter().enumerate() {
            if step.who.is_empty() {
                return Err(QueueError::Nobody(step.to.clone()));
            }
            if let Some(from) = &step.from {
                if same(from, &step.to) {
                    return Err(QueueError::Loop(from.clone()));
                }
                if self.path(None, from).is_none() {
                    return Err(QueueError::Unreachable(from.clone()));
                }
            }
            let earlier = &self.steps[..index];
            if earlier.iter().any(|other| other.leads(step.from.as_deref(), &step.to)) {
                return Err(QueueError::Twice { from: step.from.clone(), to: step.to.clone() });
            }
        }
        Ok(())
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The kinds of pull requests that move through the queue, without `kind/`.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// The people and teams that a body must `/cc`, without `@`.
    pub fn cc(&self) -> &[String] {
        &self.cc
    }

    /// All labels of the queue, without `queue/`, in the order of its steps.
    pub fn labels(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let targets = self.steps.iter().map(|step| step.to.as_str());
        targets.filter(|label| seen.insert(label.to_ascii_lowercase())).collect()
    }

    /// The steps that begin at a label, or at none.
    pub fn steps_from<'q>(&'q self, from: Option<&str>) -> impl Iterator<Item = &'q Step> {
        self.steps.iter().filter(move |step| step.begins_at(from))
    }

    /// The step from one label to another.
    pub(super) fn step(&self, from: Option<&str>, to: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.leads(from, to))
    }

    /// The queue's own spelling of a label.
    pub(super) fn label(&self, written: &str) -> Option<&str> {
        self.labels().into_iter().find(|label| same(label, written))
    }

    /// The labels on the shortest way from one label to another, that one included.
    pub(super) fn path(&self, from: Option<&str>, to: &str) -> Option<Vec<&str>> {
        let mut ways: Vec<Vec<&str>> = vec![Vec::new()];
        let mut at = 0;
        while let Some(way) = ways.get(at).cloned() {
            let here = way.last().copied().or(from);
            for step in self.steps_from(here) {
                if ways.iter().flatten().any(|label| same(label, &step.to)) {
                    continue;
                }
                let mut longer = way.clone();
                longer.push(&step.to);
                if same(&step.to, to) {
                    return Some(longer);
                }
                ways.push(longer);
            }
            at += 1;
        }
        None
    }
}

impl Step {
    fn begins_at(&self, from: Option<&str>) -> bool {
        match (self.from.as_deref(), from) {
            (Some(own), Some(other)) => same(own, other),
            (own, other) => own == other,
        }
    }

    fn leads(&self, from: Option<&str>, to: &str) -> bool {
        self.begins_at(from) && same(&self.to, to)
    }
}

/// Forges tell labels and logins apart without regard to case.
pub(super) fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

fn shown(label: Option<&str>) -> String {
    label.map_or_else(|| "no label".to_owned(), quote)
}
