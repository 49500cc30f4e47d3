//! Evaluates the requests of a pull request in order.

use std::collections::VecDeque;

use crate::escape::{MAX_QUOTED, escape, shorten};
use crate::suggest;

use super::command::CommandKind;
use super::conversation::{Conversation, Origin, text_index};
use super::facts::Facts;
use super::guard::{GuardReport, Verdict};
use super::guards::{GuardContext, GuardResults};
use super::queue::{Queue, Role, Step, same};
use super::requests::Request;
use super::statement::Statement;
use super::status::{NextStep, Outcome, Status, Transition};

impl Queue {
    /// Evaluates the state of a pull request, the reasons, and the next steps.
    ///
    /// The body and the comments are processed in order. A `/queue` command moves the pull request
    /// if the author of the command has a role of the step and all guards hold. A queue label of
    /// the pull request, or [`Facts::granted`] if the caller keeps a record, shows that the guards
    /// of the earlier steps held once, so that a registry cleanup does not undo those steps. A label
    /// without the corresponding commands has no effect.
    pub fn evaluate(&self, facts: &Facts) -> Status {
        let conversation = Conversation::new(facts);
        let replay = Replay::new(self, facts, &conversation);
        let requests = conversation.requests(facts);
        let (label, granted_earlier) = replay.granted_by_label(&requests);
        let mut remarks = conversation.incomplete();
        remarks.extend(conversation.edited());
        let mut state: Option<&str> = None;
        let mut transitions = VecDeque::new();
        let mut grants = VecDeque::new();
        let (mut omitted_requests, mut omitted_refusals) = (0, 0);
        for (index, request) in requests.iter().enumerate() {
            let was_granted = index < granted_earlier || request.is_granted(facts);
            let (moved, transition) = replay.apply(state, request, was_granted);
            state = moved;
            if transition.is_granted() {
                grants.push_back(request.grant(&transition.to, facts));
                grants.drain(..grants.len().saturating_sub(MAX_TRANSITIONS));
            }
            transitions.push_back(transition);
            if transitions.len() > MAX_TRANSITIONS {
                let omitted = transitions.pop_front();
                omitted_requests += 1;
                omitted_refusals += usize::from(omitted.is_some_and(|one| one.is_refused()));
            }
        }
        if omitted_requests > 0 {
            remarks.push(Statement::OmittedRequests(omitted_requests));
        }
        if let Some(label) = label.filter(|_| granted_earlier == 0) {
            remarks.push(Statement::UnjustifiedLabel(label.to_owned()));
        }
        let next = self.steps_from(state).map(|step| replay.next(step)).collect();
        Status {
            state: state.map(str::to_owned),
            transitions: transitions.into(),
            omitted_requests,
            omitted_refusals,
            next,
            add_labels: replay.labels_to_add(state),
            remove_labels: replay.labels_to_remove(state),
            remarks,
            grants: grants.into(),
        }
    }
}

/// The maximum number of requests in a status. A conversation can have thousands.
const MAX_TRANSITIONS: usize = 50;
/// The maximum number of incomplete commands in a status.
const MAX_INCOMPLETE: usize = 50;

impl Conversation {
    fn incomplete(&self) -> Vec<Statement> {
        let mut remarks = Vec::new();
        let mut count = 0;
        for text in self.texts() {
            for entry in &text.commands {
                if let CommandKind::Incomplete { command, reason } = &entry.kind {
                    count += 1;
                    if count <= MAX_INCOMPLETE {
                        let (origin, line, reason) = (text.origin, entry.line, reason.clone());
                        remarks.push(Statement::IncompleteCommand {
                            origin,
                            line,
                            command,
                            reason,
                        });
                    }
                }
            }
        }
        if count > MAX_INCOMPLETE {
            remarks.push(Statement::MoreIncompleteCommands(count - MAX_INCOMPLETE));
        }
        remarks
    }
}

/// Formats an account with `@`, escaped and shortened.
pub(super) fn account(login: &str) -> String {
    match login.trim_start_matches('@').trim() {
        "" => "an unknown account".to_owned(),
        login => format!("@{}", escape(&shorten(login, MAX_QUOTED))),
    }
}

/// Formats the position of a command, with comments counted from 1.
pub(super) fn position(origin: Origin, line: usize) -> String {
    match origin {
        Origin::Body => format!("body, line {line}"),
        Origin::Comment(index) => format!("comment {}, line {line}", index + 1),
        Origin::Record => "recorded".to_owned(),
    }
}

/// The inputs of an evaluation.
struct Replay<'a> {
    queue: &'a Queue,
    facts: &'a Facts,
    conversation: &'a Conversation,
    /// The results of the guards of each step.
    guards: Vec<(&'a Step, Vec<GuardResults>)>,
}

impl<'a> Replay<'a> {
    fn new(queue: &'a Queue, facts: &'a Facts, conversation: &'a Conversation) -> Self {
        let evaluate = |step: &'a Step| {
            let context = GuardContext { queue, step, facts, conversation };
            (step, step.guards.iter().map(|guard| context.evaluate(*guard)).collect())
        };
        Self { queue, facts, conversation, guards: queue.steps().iter().map(evaluate).collect() }
    }

    /// Returns the pull request's queue label, and the number of requests it covers.
    ///
    /// If the pull request has several queue labels, the earliest in the queue is used, which
    /// covers the fewest requests.
    fn granted_by_label(&self, requests: &[Request<'_>]) -> (Option<&'a str>, usize) {
        if self.facts.granted.is_some() {
            return (None, 0);
        }
        let labels = self.queue.labels();
        let Some(label) = labels.into_iter().find(|label| self.has_label("queue", label)) else {
            return (None, 0);
        };
        let mut state: Option<&str> = None;
        let mut count = 0;
        for (index, request) in requests.iter().enumerate() {
            let step = self.queue.step(state, request.to);
            if let Some(step) = step.filter(|step| self.facts.has_role(request.by, &step.who)) {
                state = Some(&step.to);
                if same(&step.to, label) {
                    count = index + 1;
                }
            }
        }
        (Some(label), count)
    }

    /// Returns the state after a request, and its outcome.
    fn apply(
        &self,
        state: Option<&'a str>,
        request: &Request<'_>,
        was_granted: bool,
    ) -> (Option<&'a str>, Transition) {
        let mut transition = Transition {
            origin: request.origin,
            line: request.line,
            by: request.by.to_owned(),
            from: state.map(str::to_owned),
            to: request.to.to_owned(),
            outcome: Outcome::Unchanged,
            guards: Vec::new(),
        };
        if state.is_some_and(|state| same(state, request.to)) {
            return (state, transition);
        }
        let step = self.queue.step(state, request.to);
        if request.is_outdated && !was_granted && step.is_none_or(|step| step.from.is_some()) {
            transition.outcome = Outcome::Outdated;
            return (state, transition);
        }
        let Some(step) = step else {
            transition.outcome = self.no_step(state, request.to);
            return (state, transition);
        };
        transition.to.clone_from(&step.to);
        // The record of a grant is sufficient; without a record, the role is checked again.
        if !request.is_granted(self.facts) && !self.facts.has_role(request.by, &step.who) {
            transition.outcome = self.not_allowed(request.by, step);
            return (state, transition);
        }
        transition.guards = self.guards(step, text_index(request.origin));
        transition.outcome =
            if was_granted { Outcome::GrantedEarlier } else { outcome(&transition.guards) };
        (if transition.is_granted() { Some(&step.to) } else { state }, transition)
    }

    fn no_step(&self, state: Option<&str>, to: &str) -> Outcome {
        let Some(label) = self.queue.label(to) else {
            let labels = self.queue.labels();
            let suggestion = suggest(to, labels.iter().copied()).map(str::to_owned);
            let help = match &suggestion {
                Some(label) => format!("did you mean `/queue {label}`?"),
                None => format!("the queue has these labels: {}", labels.join(", ")),
            };
            let labels = labels.into_iter().map(str::to_owned).collect();
            let reason = Statement::UnknownLabel { label: to.to_owned(), suggestion, labels };
            return Outcome::Refused { reason, help };
        };
        let here = state.map(str::to_owned);
        match self.queue.path(state, label) {
            Some(path) => {
                let missing = &path[..path.len() - 1];
                let help = format!("request these labels first: {}", missing.join(", "));
                let missing = missing.iter().map(|label| (*label).to_owned()).collect();
                Outcome::Refused { reason: Statement::SkippedSteps { state: here, missing }, help }
            }
            None => {
                let steps = self.queue.steps_from(state);
                let onward: Vec<String> = steps.map(|step| step.to.clone()).collect();
                let commands: Vec<_> =
                    onward.iter().map(|label| format!("`/queue {label}`")).collect();
                let help = if onward.is_empty() {
                    "the queue ends here".to_owned()
                } else {
                    format!("the next command is {}", commands.join(" or "))
                };
                let reason = Statement::NoWayBack { state: here, label: label.to_owned(), onward };
                Outcome::Refused { reason, help }
            }
        }
    }

    fn not_allowed(&self, by: &str, step: &Step) -> Outcome {
        let roles = list_roles(&step.who);
        let people = self.facts.people(&step.who);
        let help = if people.is_empty() {
            format!("ask an account with the role {roles} to comment `/queue {}`", step.to)
        } else {
            let logins: Vec<_> = people.iter().map(|login| account(login)).collect();
            format!("ask {} to comment `/queue {}`", logins.join(" or "), step.to)
        };
        let roles = step.who.iter().map(|role| role.as_str().to_owned()).collect();
        let reason = Statement::MissingRole { account: by.to_owned(), roles, people };
        Outcome::Refused { reason, help }
    }

    /// Returns the results for a request in the text with this index, or for one that is given next.
    fn guards(&self, step: &Step, text: Option<usize>) -> Vec<GuardReport> {
        let results = self.guards.iter().filter(|(other, _)| *other == step);
        results.flat_map(|(_, results)| results).map(|results| results.report(text)).collect()
    }

    fn next(&self, step: &Step) -> NextStep {
        NextStep {
            to: step.to.clone(),
            command: format!("/queue {}", step.to),
            who: step.who.clone(),
            people: self.facts.people(&step.who),
            guards: self.guards(step, None),
        }
    }

    fn labels_to_add(&self, state: Option<&str>) -> Vec<String> {
        let kinds = self.queue.kinds().iter().filter(|kind| {
            self.conversation
                .body()
                .any(|command| matches!(command, CommandKind::Kind(it) if same(it, kind)))
        });
        let kinds = kinds.map(|kind| ("kind", kind.as_str()));
        let wanted = kinds.chain(state.map(|state| ("queue", state)));
        wanted
            .filter(|(group, label)| !self.has_label(group, label))
            .map(|(group, label)| format!("{group}/{label}"))
            .collect()
    }

    /// Returns the queue labels of the pull request, except the label of the state.
    fn labels_to_remove(&self, state: Option<&str>) -> Vec<String> {
        let labels = self.facts.labels.iter().filter(|label| {
            queue_label(label).is_some_and(|label| {
                self.queue.label(label).is_some() && !state.is_some_and(|state| same(state, label))
            })
        });
        labels.cloned().collect()
    }

    fn has_label(&self, group: &str, name: &str) -> bool {
        let wanted = format!("{group}/{name}");
        self.facts.labels.iter().any(|label| same(label, &wanted))
    }
}

fn queue_label(label: &str) -> Option<&str> {
    let (group, name) = label.split_once('/')?;
    same(group, "queue").then_some(name)
}

fn outcome(guards: &[GuardReport]) -> Outcome {
    let with = |verdict| guards.iter().filter(move |guard| guard.verdict == verdict);
    let failed: Vec<&GuardReport> = with(Verdict::Fails).collect();
    if failed.is_empty() {
        return match with(Verdict::Unknown).next() {
            Some(_) => Outcome::Open,
            None => Outcome::Granted,
        };
    }
    let help: Vec<&str> = failed.iter().map(|guard| guard.help.as_str()).collect();
    let help = help.join("; ");
    let reason = failed.iter().map(|guard| guard.finding.clone()).collect();
    Outcome::Refused { reason: Statement::GuardsFail(reason), help }
}

/// Joins the names of roles with `or`.
pub(super) fn list_roles(roles: &[Role]) -> String {
    roles.iter().map(Role::as_str).collect::<Vec<_>>().join(" or ")
}
