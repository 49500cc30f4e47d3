//! Formats the status of a pull request as text.

use std::fmt;

use super::evaluate::{account, list_roles, position};
use super::guard::{GuardReport, Verdict};
use super::status::{NextStep, Outcome, Status, Transition};

/// Formats the state, the requests with their outcomes, and the next steps.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Some(state) => writeln!(f, "is at queue/{state}")?,
            None => writeln!(f, "is not in the queue")?,
        }
        for transition in &self.transitions {
            write_transition(f, transition)?;
        }
        for remark in &self.remarks {
            writeln!(f, "  note: {remark}")?;
        }
        if self.is_done() {
            writeln!(f, "next: nothing, this is the end of the queue")?;
        }
        for next in &self.next {
            write_next(f, next)?;
        }
        for label in &self.add_labels {
            writeln!(f, "label to add: {label}")?;
        }
        for label in &self.remove_labels {
            writeln!(f, "label to remove: {label}")?;
        }
        Ok(())
    }
}

fn write_transition(f: &mut fmt::Formatter<'_>, transition: &Transition) -> fmt::Result {
    let Transition { origin, line, by, to, outcome, guards, .. } = transition;
    let position = position(*origin, *line);
    write!(f, "  /queue {to} by {} ({position}): ", account(by))?;
    match outcome {
        Outcome::Granted => writeln!(f, "granted")?,
        Outcome::GrantedEarlier => writeln!(f, "granted earlier")?,
        Outcome::Unchanged => writeln!(f, "already has this label")?,
        Outcome::Open => writeln!(f, "open")?,
        Outcome::Outdated => {
            writeln!(f, "outdated: the release files changed since\n    help: give it again")?;
        }
        Outcome::Refused { reason, help } if guards.is_empty() => {
            writeln!(f, "refused: {reason}\n    help: {help}")?;
        }
        Outcome::Refused { .. } => writeln!(f, "refused")?,
    }
    guards
        .iter()
        .filter(|guard| guard.verdict != Verdict::Holds)
        .try_for_each(|g| write_guard(f, g))
}

fn write_next(f: &mut fmt::Formatter<'_>, next: &NextStep) -> fmt::Result {
    write!(f, "next: {} by {}", next.command, list_roles(&next.who))?;
    if !next.people.is_empty() {
        let people: Vec<_> = next.people.iter().map(|login| account(login)).collect();
        write!(f, " ({})", people.join(", "))?;
    }
    writeln!(f)?;
    next.guards.iter().try_for_each(|guard| write_guard(f, guard))
}

fn write_guard(f: &mut fmt::Formatter<'_>, guard: &GuardReport) -> fmt::Result {
    let verdict = match guard.verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Unknown => "unknown",
    };
    let explanation = guard.explanation.replace('\n', "\n      ");
    writeln!(f, "    {verdict}: {} ({explanation})", guard.guard)?;
    if guard.help.is_empty() {
        return Ok(());
    }
    writeln!(f, "      help: {}", guard.help.replace('\n', "\n        "))
}
