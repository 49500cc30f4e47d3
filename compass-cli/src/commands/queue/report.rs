//! The work list, as text and as JSON.

use std::fmt::Write as _;

use compass_manifest::review::Verdict;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Action;
use crate::display::counted;
use crate::error::CliError;
use crate::forge::PullRequest;
use crate::pull_request::{DueStep, PullReview, WorkReport};

/// A pull request of the work list.
pub(super) struct Entry {
    pub(super) pull: PullRequest,
    pub(super) state: EntryState,
}

/// The state of a pull request, and the finished work.
pub(super) enum EntryState {
    Known(Box<Known>),
    /// The pull request cannot be read or written.
    Failed(CliError),
}

pub(super) struct Known {
    state: Option<String>,
    /// The targets with their versions.
    targets: Vec<(String, Option<String>)>,
    /// The accounts and roles that can do the next step.
    next: Vec<Next>,
    /// What `--run` did or would do.
    done: Vec<String>,
    failure: Option<CliError>,
}

struct Next {
    command: String,
    who: Vec<String>,
    missing: Vec<String>,
}

impl Entry {
    /// The reason why the work of this pull request failed.
    pub(super) fn error(&self) -> Option<&CliError> {
        match &self.state {
            EntryState::Known(known) => known.failure.as_ref(),
            EntryState::Failed(error) => Some(error),
        }
    }
}

impl EntryState {
    pub(super) fn looked(review: &PullReview, due: Option<DueStep>) -> Self {
        let mut known = Known::of(review);
        known.done = due.into_iter().map(|step| step.plan()).collect();
        Self::Known(Box::new(known))
    }

    pub(super) fn worked(report: WorkReport) -> Self {
        let WorkReport { review, done, failure } = report;
        let number = review.pull.number;
        let failure = failure.map(|error| error.context(format!("cannot finish #{number}")));
        Self::Known(Box::new(Known { done, failure, ..Known::of(&review) }))
    }
}

impl Known {
    fn of(review: &PullReview) -> Self {
        let targets = review.targets.iter();
        let targets = targets.map(|facts| (facts.target.to_string(), facts.version.clone()));
        let next = review.status.next.iter().map(|next| {
            let open = next.guards.iter().filter(|guard| guard.verdict != Verdict::Holds);
            let who = match next.people.is_empty() {
                true => next.who.iter().map(ToString::to_string).collect(),
                false => next.people.iter().map(|login| format!("@{login}")).collect(),
            };
            Next {
                command: next.command.clone(),
                who,
                missing: open.map(|guard| guard.explanation.clone()).collect(),
            }
        });
        Self {
            state: review.status.state.clone(),
            targets: targets.collect(),
            next: next.collect(),
            done: Vec::new(),
            failure: None,
        }
    }
}

pub(super) fn to_text(entries: &[Entry]) -> String {
    let mut text: String = entries.iter().map(entry_text).collect();
    let failed = entries.iter().filter(|entry| entry.error().is_some()).count();
    let _ = write!(text, "{} pull requests", entries.len());
    let _ = match failed {
        0 => writeln!(text),
        count => writeln!(text, ", {count} failed"),
    };
    text
}

fn entry_text(entry: &Entry) -> String {
    let pull = &entry.pull;
    let mut text =
        format!("#{} {} by @{}, {}\n", pull.number, pull.title, pull.author.login, age(pull));
    let EntryState::Known(known) = &entry.state else {
        return text + "  failed\n";
    };
    for (target, version) in &known.targets {
        let _ = writeln!(text, "  {target} {}", version.as_deref().unwrap_or("without a version"));
    }
    let _ = writeln!(text, "  at {}", known.state.as_deref().unwrap_or("no label of the queue"));
    for one in &known.done {
        let _ = writeln!(text, "  {one}");
    }
    for next in &known.next {
        let _ = writeln!(text, "  next: {} by {}", next.command, next.who.join(", "));
        for missing in &next.missing {
            let _ = writeln!(text, "    missing: {}", missing.replace('\n', "\n      "));
        }
    }
    text
}

/// The time since a pull request was opened, in its largest unit.
fn age(pull: &PullRequest) -> String {
    let Some(created) = pull.created else { return "age unknown".to_owned() };
    let minutes = (Timestamp::now().as_second() - created.as_second()).max(0) / 60;
    let (count, unit) = match minutes {
        0..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    counted(count, unit) + " old"
}

pub(super) fn to_json(entries: &[Entry], action: Action) -> Value {
    json!({
        "pulls": entries.iter().map(entry_json).collect::<Vec<_>>(),
        "failed": entries.iter().filter(|entry| entry.error().is_some()).count(),
        "run": action == Action::Run,
        "dryRun": action == Action::Plan,
    })
}

fn entry_json(entry: &Entry) -> Value {
    let PullRequest { number, title, url, author, created, .. } = &entry.pull;
    let known = match &entry.state {
        EntryState::Known(known) => Some(known),
        EntryState::Failed(_) => None,
    };
    let targets = known.iter().flat_map(|known| &known.targets);
    let targets = targets.map(|(target, version)| json!({"target": target, "version": version}));
    let next = known.iter().flat_map(|known| &known.next);
    let next = next
        .map(|next| json!({"command": next.command, "people": next.who, "missing": next.missing}));
    json!({
        "number": number,
        "title": title,
        "url": url,
        "author": author.login,
        "created": created.map(|time| time.to_string()),
        "state": known.and_then(|known| known.state.as_ref()),
        "targets": targets.collect::<Vec<_>>(),
        "next": next.collect::<Vec<_>>(),
        "done": known.map(|known| &known.done),
        "error": entry.error().map(|error| error.to_json()["error"].take()),
    })
}
