//! Defines the queue of release pull requests: a state machine of labels.

use std::collections::BTreeSet;
use std::fmt;

use super::guard::Guard;
use super::slash_commands::is_label;
use crate::escape::quote;

/// A role that permits a step.
///
/// The author of a pull request always has [`Role::AUTHOR`]. All other roles come from
/// [`Facts::roles`](super::Facts::roles).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Role(String);

/// A step of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The label before the step, without `queue/`; `None` for the first step.
    pub from: Option<String>,
    /// The label after the step, without `queue/`.
    pub to: String,
    /// The roles that may request the step; one of them is enough.
    pub who: Vec<Role>,
    /// The guards, all of which must hold.
    pub guards: Vec<Guard>,
}

/// A queue of pull requests: steps, kinds of pull requests, and accounts to mention.
///
/// [`Queue::default`] is the queue of the release process, without accounts to mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    steps: Vec<Step>,
    kinds: Vec<String>,
    cc: Vec<String>,
}

/// The error for values that are not a valid queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A text is not a valid label.
    #[error("{} is not a label", quote(.0))]
    Label(String),
    /// The queue has no first step.
    #[error("the queue has no first step")]
    NoFirstStep,
    /// Two steps have the same labels.
    #[error("two steps have the labels {} and {}", shown(from.as_deref()), quote(to))]
    Duplicate {
        /// The label before the steps.
        from: Option<String>,
        /// The label after the steps.
        to: String,
    },
    /// A step cannot be reached from the first step.
    #[error("no step has the label {} as its target", quote(.0))]
    Unreachable(String),
    /// A step has the same label as start and target.
    #[error("a step from {} has the same target", quote(.0))]
    Loop(String),
    /// A step has no roles.
    #[error("no role may request the step to {}", quote(.0))]
    NoRole(String),
    /// The queue has no kinds of pull requests.
    #[error("the queue has no kind of pull request")]
    NoKind,
}

impl Step {
    /// Creates a first step, without roles and guards.
    pub fn new(to: impl Into<String>) -> Self {
        Self { to: to.into(), ..Self::default() }
    }

    /// Sets the label before the step.
    #[must_use]
    pub fn with_from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// Adds roles that may request the step.
    #[must_use]
    pub fn with_roles<'r>(mut self, roles: impl IntoIterator<Item = &'r str>) -> Self {
        self.who.extend(roles.into_iter().map(Role::new));
        self
    }

    /// Adds guards.
    #[must_use]
    pub fn with_guards(mut self, guards: impl IntoIterator<Item = Guard>) -> Self {
        self.guards.extend(guards);
        self
    }
}

impl Role {
    /// The role of a pull request's author.
    pub const AUTHOR: &'static str = "author";
    /// The role of the owners of a target.
    pub const OWNER: &'static str = "owner";

    /// Creates a role from its name, such as `platform-release`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the role's name.
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
    /// Returns how to fix the error.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Label(_) => "use letters, digits, `.`, `_` and `-`, without `queue/`",
            Self::NoFirstStep => "omit `from` in the first step",
            Self::Duplicate { .. } => "merge the steps, with all roles and guards",
            Self::Unreachable(_) => "add a step to this label, or correct the label",
            Self::Loop(_) => "use different labels in `from` and `to`",
            Self::NoRole(_) => "add a role to `who`, for example `author`",
            Self::NoKind => "add a kind, for example `release`",
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        use Guard as G;
        let steps = [
            Step::new("need-queue").with_roles(["author"]).with_guards([
                G::Kind,
                G::AskedInBody,
                G::ReleaseNote,
                G::Cc,
                G::CheckClean,
            ]),
            Step::new("patches-need-sync-image")
                .with_from("need-queue")
                .with_roles(["author", "owner"])
                .with_guards([G::ImagesListed, G::ImagesInSource]),
            Step::new("patches-need-package")
                .with_from("patches-need-sync-image")
                .with_roles(["platform-release"])
                .with_guards([G::ImagesInRelease]),
            Step::new("done-package-uploaded")
                .with_from("patches-need-package")
                .with_roles(["infra"])
                .with_guards([G::BundlePublished]),
        ];
        Self { steps: steps.into(), kinds: vec!["release".to_owned()], cc: Vec::new() }
    }
}

impl Queue {
    /// Creates a queue.
    ///
    /// `steps` are in the order of the process, `kinds` have no `kind/`, and `cc` are the accounts
    /// or teams that a body must mention, with or without `@`.
    ///
    /// # Errors
    /// Returns an error if a label or a step is invalid, or if steps, kinds or roles are missing.
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
            return Err(QueueError::NoFirstStep);
        }
        for (index, step) in self.steps.iter().enumerate() {
            if step.who.is_empty() {
                return Err(QueueError::NoRole(step.to.clone()));
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
                return Err(QueueError::Duplicate { from: step.from.clone(), to: step.to.clone() });
            }
        }
        Ok(())
    }

    /// Returns the steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the kinds of pull requests that move through the queue, without `kind/`.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Returns the accounts and teams that a body must `/cc`, without `@`.
    pub fn cc(&self) -> &[String] {
        &self.cc
    }

    /// Returns all labels of the queue, without `queue/`, in the order of its steps.
    pub fn labels(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let targets = self.steps.iter().map(|step| step.to.as_str());
        targets.filter(|label| seen.insert(label.to_ascii_lowercase())).collect()
    }

    /// Returns the steps from a label, or the first steps if the label is `None`.
    pub(crate) fn steps_from<'q>(&'q self, from: Option<&str>) -> impl Iterator<Item = &'q Step> {
        self.steps.iter().filter(move |step| step.starts_at(from))
    }

    /// Returns the step from one label to another.
    pub(super) fn step(&self, from: Option<&str>, to: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.leads(from, to))
    }

    /// Returns a label as the queue spells it; `None` if it has no such label.
    pub(super) fn label(&self, written: &str) -> Option<&str> {
        self.labels().into_iter().find(|label| same(label, written))
    }

    /// Returns the labels on the shortest path to a label, including the target.
    pub fn path(&self, from: Option<&str>, to: &str) -> Option<Vec<&str>> {
        let mut paths: Vec<Vec<&str>> = vec![Vec::new()];
        let mut at = 0;
        while let Some(path) = paths.get(at).cloned() {
            let here = path.last().copied().or(from);
            for step in self.steps_from(here) {
                if paths.iter().flatten().any(|label| same(label, &step.to)) {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(&step.to);
                if same(&step.to, to) {
                    return Some(longer);
                }
                paths.push(longer);
            }
            at += 1;
        }
        None
    }
}

impl Step {
    fn starts_at(&self, from: Option<&str>) -> bool {
        match (self.from.as_deref(), from) {
            (Some(own), Some(other)) => same(own, other),
            (own, other) => own == other,
        }
    }

    fn leads(&self, from: Option<&str>, to: &str) -> bool {
        self.starts_at(from) && same(&self.to, to)
    }
}

/// Returns whether two labels or logins are equal; forges ignore their case.
pub(super) fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

fn shown(label: Option<&str>) -> String {
    label.map_or_else(|| "no label".to_owned(), quote)
}
