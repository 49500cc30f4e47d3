//! Says in words where a pull request stands.

use std::fmt;

use super::evaluate::{account, list_roles, place};
use super::guard::{GuardReport, Verdict};
use super::status::{NextStep, Outcome, Status, Transition};

/// The answer to "why is this pull request here, and what is next".
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Some(state) => writeln!(f, "stands at queue/{state}")?,
            None => writeln!(f, "is not in the queue")?,
        }
        for transition in &self.transitions {
            write_transition(f, transition)?;
        }
        for remark in &self.remarks {
            writeln!(f, "  note: {remark}")?;
        }
        if self.is_done() {
            writeln!(f, "next: nothing, the queue ends here")?;
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
    let place = place(*origin, *line);
    write!(f, "  /queue {to} by {} ({place}): ", account(by))?;
    match outcome {
        Outcome::Granted => writeln!(f, "granted")?,
        Outcome::GrantedEarlier => writeln!(f, "granted earlier")?,
        Outcome::Unchanged => writeln!(f, "is there already")?,
        Outcome::Open => writeln!(f, "open")?,
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
        Verdict::Unknown => "not known",
    };
    let explanation = guard.explanation.replace('\n', "\n      ");
    writeln!(f, "    {verdict}: {} ({explanation})", guard.guard)?;
    if guard.help.is_empty() {
        return Ok(());
    }
    writeln!(f, "      help: {}", guard.help.replace('\n', "\n        "))
}
