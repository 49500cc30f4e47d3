//! Tests the evaluation of the queue of pull requests.
#![allow(clippy::unwrap_used)]

mod guards;
mod policies;
mod steps;

use compass_manifest::review::{
    Evidence, Facts, Guard, GuardReport, Origin, Outcome, Queue, ReleaseImage, Statement, Status,
    Verdict,
};
use proptest::prelude::*;

const BODY: &str = "**Release note**:\nFair scheduling.\n\n/kind release\n/queue need-queue\n/cc @supereagle @pendoragon\n";
const PUSHED: &str =
    "image(s) pushed to\ncargo.example/source/gpu:v1\n/queue patches-need-sync-image";

fn image(name: &str) -> ReleaseImage {
    let reference = |project: &str| format!("{project}/{name}").parse().unwrap();
    let mut image =
        ReleaseImage::new(reference("cargo.example/source"), reference("harbor.example/release"));
    (image.in_source, image.in_release) = (Evidence::Yes, Evidence::Yes);
    image
}

/// Returns a pull request without comments, for which all guards of the first step hold.
fn facts() -> Facts {
    let mut facts = Facts::new("alice", BODY);
    facts.check_errors = Some(0);
    facts.images = Some(vec![image("gpu:v1")]);
    facts.bundle = Evidence::Yes;
    facts.grant_role("olga", "owner");
    facts.grant_role("supereagle", "platform-release");
    facts.grant_role("pendoragon", "infra");
    facts
}

fn whole_road() -> Facts {
    let mut facts = facts();
    facts.add_comment("alice", PUSHED);
    facts.add_comment("supereagle", "/queue patches-need-package");
    facts.add_comment("pendoragon", "/queue done-package-uploaded");
    facts
}

/// Returns the default queue with two accounts to mention.
fn queue() -> Queue {
    let queue = Queue::default();
    let cc = ["supereagle".to_owned(), "pendoragon".to_owned()];
    Queue::new(queue.steps().to_vec(), queue.kinds().to_vec(), cc).unwrap()
}

fn evaluate(facts: &Facts) -> Status {
    queue().evaluate(facts)
}

fn state(facts: &Facts) -> String {
    evaluate(facts).state.unwrap_or_default()
}

fn refusal(status: &Status) -> (String, String) {
    match &status.transitions.last().unwrap().outcome {
        Outcome::Refused { reason, help } => (reason.to_string(), help.clone()),
        other => panic!("{other:?}"),
    }
}

fn guard(status: &Status, guard: Guard) -> GuardReport {
    let mut reports = status.transitions.iter().rev().flat_map(|transition| &transition.guards);
    reports.find(|report| report.guard == guard.name()).unwrap().clone()
}

#[test]
fn evaluate_complete_process_is_done() {
    let status = evaluate(&whole_road());
    assert_eq!(status.state.as_deref(), Some("done-package-uploaded"));
    assert!(status.is_done());
    assert!(status.transitions.iter().all(|step| step.outcome == Outcome::Granted));
    assert_eq!(status.add_labels, ["kind/release", "queue/done-package-uploaded"]);
    assert_eq!(status.transitions[1].origin, Origin::Comment(0));
    assert_eq!(status.transitions[1].line, 3);
    let every = status.transitions.iter().flat_map(|step| &step.guards);
    assert!(every.clone().all(|guard| guard.verdict == Verdict::Holds && guard.help.is_empty()));
    assert_eq!(every.count(), 9);
}
#[test]
fn evaluate_long_conversation_is_shortened() {
    let mut facts = facts();
    facts.check_errors = Some(1);
    facts.body += &"/queue need-queue\n".repeat(20_000);
    facts.add_comment("alice", PUSHED.repeat(5_000));
    let status = evaluate(&facts);
    assert_eq!(status.transitions.len() + status.omitted_requests, 20_001 + 5_000);
    assert_eq!((status.transitions.len(), status.omitted_refusals), (50, 25_001 - 50));
    assert!(status.has_refusals() && status.to_string().len() < 100_000);
    assert!(status.remarks.contains(&Statement::OmittedRequests(24_951)));
}

proptest! {
    #[test]
    fn evaluate_any_comments_does_not_panic(comments in prop::collection::vec(
        ("(alice|olga|supereagle|pendoragon|mallory)", r"(/queue (need-queue|patches-need-sync-image|patches-need-package|done-package-uploaded|x)\n){0,3}"), 0..8),
        labels in prop::collection::vec("queue/(need-queue|patches-need-package|x)", 0..3),
    ) {
        let mut facts = facts();
        for (author, text) in comments {
            facts.add_comment(author, text);
        }
        facts.labels = labels;
        let status = evaluate(&facts);
        prop_assert!(!status.to_string().is_empty());
        // Applying the label changes is idempotent.
        facts.labels.retain(|label| !status.remove_labels.contains(label));
        facts.labels.extend(status.add_labels.clone());
        let again = queue().evaluate(&facts);
        prop_assert_eq!(&again.state, &status.state);
        prop_assert!(again.add_labels.is_empty() && again.remove_labels.is_empty());
    }
}
