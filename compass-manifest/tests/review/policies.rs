//! Tests queues that a policy defines.

use compass_manifest::review::{Guard, Outcome, Queue, QueueError, Step};

use crate::{PUSHED, facts, refusal};

fn step(from: Option<&str>, to: &str, who: &str, guards: &[Guard]) -> Step {
    let step = Step::new(to).with_roles([who]).with_guards(guards.iter().copied());
    match from {
        Some(from) => step.with_from(from),
        None => step,
    }
}

#[test]
fn queue_of_policy_is_evaluated() {
    // The queue has three labels, a list of packages, and a step back.
    let steps = vec![
        step(None, "need-queue", "author", &[Guard::Kind]),
        step(Some("need-queue"), "working-image-pushed", "author", &[Guard::ImagesListed]),
        step(Some("working-image-pushed"), "need-queue", "platform-release", &[]),
        step(Some("working-image-pushed"), "done", "platform-release", &[Guard::PackagesListed]),
    ];
    let queue = Queue::new(steps, vec!["release".to_owned()], ["@supereagle".to_owned()]).unwrap();
    assert_eq!(queue.labels(), ["need-queue", "working-image-pushed", "done"]);
    assert_eq!(queue.cc(), ["supereagle"]);

    let mut facts = facts();
    let pushed = PUSHED.replace("patches-need-sync-image", "working-image-pushed");
    facts.add_comment("alice", pushed.clone());
    facts.add_comment("supereagle", "/queue need-queue");
    facts.add_comment("alice", pushed);
    facts.add_comment("supereagle", "/queue done");
    let refused = queue.evaluate(&facts);
    assert_eq!(refused.state.as_deref(), Some("working-image-pushed"));
    assert!(refusal(&refused).0.contains("no account with a role of the step listed packages"));
    assert_eq!(refused.next.len(), 2);

    facts.add_comment("supereagle", "packages uploaded to\ninfra-release/a.tar.gz\n/queue done");
    assert!(refusal(&queue.evaluate(&facts)).0.contains("line 2 of the list is invalid"));
    facts.add_comment("supereagle", "packages uploaded to\noss://infra-release/a.tar.gz");
    facts.labels = vec!["queue/working-image-pushed".to_owned()];
    facts.images = None;
    let done = queue.evaluate(&facts);
    assert_eq!(done.state.as_deref(), Some("done"));
    assert_eq!(done.transitions[3].outcome, Outcome::GrantedEarlier);
}

#[test]
fn queue_invalid_steps_are_errors() {
    let kinds = || vec!["release".to_owned()];
    let start = || step(None, "a", "author", &[]);
    let mut without_role = start();
    without_role.who.clear();
    for (steps, expected) in [
        (vec![], "the queue has no first step"),
        (vec![step(None, "queue/a", "author", &[])], "`queue/a` is not a label"),
        (vec![start(), start()], "two steps have the labels no label and `a`"),
        (
            vec![start(), step(Some("b"), "c", "author", &[])],
            "no step has the label `b` as its target",
        ),
        (vec![start(), step(Some("a"), "A", "author", &[])], "a step from `a` has the same target"),
        (vec![without_role], "no role may request the step to `a`"),
    ] {
        let error = Queue::new(steps, kinds(), []).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!error.hint().is_empty());
    }
    assert_eq!(Queue::new(vec![start()], Vec::new(), []).unwrap_err(), QueueError::NoKind);
    let written = Queue::default();
    let again = Queue::new(written.steps().to_vec(), kinds(), written.cc().to_vec());
    assert_eq!(again.unwrap(), written);
}

#[test]
fn guard_names_are_parsed() {
    for guard in Guard::ALL {
        assert_eq!(guard.name().parse::<Guard>().unwrap(), *guard);
    }
    assert_eq!("x".parse::<Guard>().unwrap_err().to_string(), "`x` is not a guard");
}
