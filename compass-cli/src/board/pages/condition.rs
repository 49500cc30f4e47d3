//! The condition of a pull request, as a badge.

use compass_manifest::review::{NextStep, Verdict};
use maud::Markup;

use super::super::ReleasePull;
use super::super::texts::Texts;
use super::elements::badge;

/// The condition of a pull request. The first one that applies is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// The work of a team failed.
    Failed,
    /// A request was refused.
    Refused,
    /// The pull request is at the end of the queue.
    Done,
    /// Everything that a next step needs is in place.
    Ready,
    /// The number of conditions that the nearest next step lacks.
    Missing(usize),
}

impl Condition {
    pub(super) fn of(release: &ReleasePull) -> Self {
        let status = &release.status;
        if release.failure.is_some() {
            return Self::Failed;
        }
        if status.has_refusals() {
            return Self::Refused;
        }
        if status.is_done() {
            return Self::Done;
        }
        let missing = |next: &NextStep| {
            next.guards.iter().filter(|guard| guard.verdict != Verdict::Holds).count()
        };
        match status.next.iter().map(missing).min() {
            None | Some(0) => Self::Ready,
            Some(count) => Self::Missing(count),
        }
    }

    /// The class of the colors.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Failed | Self::Refused => "bad",
            Self::Done | Self::Ready => "good",
            Self::Missing(_) => "warn",
        }
    }

    pub(super) fn badge(self, texts: &Texts) -> Markup {
        match self {
            Self::Failed => badge(self.kind(), texts.failed),
            Self::Refused => badge(self.kind(), texts.refused),
            Self::Done => badge(self.kind(), texts.done_short),
            Self::Ready => badge(self.kind(), texts.ready_short),
            Self::Missing(count) => badge(self.kind(), &(texts.missing)(count)),
        }
    }
}
