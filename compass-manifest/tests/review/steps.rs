//! Tests the roles of steps, and the effect of labels.

use compass_manifest::review::{Evidence, Facts, Guard, Outcome, Verdict};

use crate::{BODY, evaluate, facts, guard, refusal, whole_road};

#[test]
fn step_requires_role() {
    for (at, by) in [(0, "mallory"), (1, "alice"), (1, "olga"), (2, "supereagle")] {
        let mut facts = whole_road();
        facts.comments.truncate(at + 1);
        facts.comments[at].author = by.to_owned();
        let status = evaluate(&facts);
        let (reason, help) = refusal(&status);
        assert!(reason.starts_with(&format!("@{by} does not have ")), "{reason}");
        assert!(help.starts_with("ask @"), "{help}");
        assert!(status.transitions.last().unwrap().guards.is_empty());
    }
    let mut facts = whole_road();
    facts.roles.clear();
    let status = evaluate(&facts);
    assert!(matches!(&status.transitions[2].outcome, Outcome::Refused { help, .. }
        if help.contains("ask an account with the role platform-release")));
}

#[test]
fn step_cannot_skip_or_go_back() {
    let mut facts = facts();
    facts.add_comment("pendoragon", "/queue done-package-uploaded");
    let (reason, help) = refusal(&evaluate(&facts));
    assert!(reason.contains("is at `need-queue`, and steps cannot be skipped"), "{reason}");
    assert!(help.ends_with("patches-need-sync-image, patches-need-package"), "{help}");

    facts = whole_road();
    facts.comments.truncate(2);
    facts.add_comment("alice", "/queue need-queue");
    let (reason, help) = refusal(&evaluate(&facts));
    assert!(reason.contains("does not lead back to `need-queue`"), "{reason}");
    assert_eq!(help, "the next command is `/queue done-package-uploaded`");

    facts = whole_road();
    facts.add_comment("alice", "/queue need-queue");
    assert_eq!(refusal(&evaluate(&facts)).1, "the queue ends here");

    facts = self::facts();
    facts.body = BODY.replace("need-queue", "patches-need-package");
    let (reason, _) = refusal(&evaluate(&facts));
    assert!(reason.contains("not in the queue yet"), "{reason}");
}

#[test]
fn step_to_same_label_is_unchanged() {
    let mut facts = facts();
    facts.add_comment("mallory", "/queue need-queue");
    let status = evaluate(&facts);
    assert_eq!(status.transitions[1].outcome, Outcome::Unchanged);
    assert_eq!(status.state.as_deref(), Some("need-queue"));
}

#[test]
fn step_unknown_label_suggests_known_one() {
    let mut facts = facts();
    facts.add_comment("alice", "/queue patches-need-sync-images");
    let (reason, help) = refusal(&evaluate(&facts));
    assert_eq!(reason, "the queue has no label `patches-need-sync-images`");
    assert_eq!(help, "did you mean `/queue patches-need-sync-image`?");
    facts.add_comment("alice", "/queue zzz");
    assert!(refusal(&evaluate(&facts)).1.starts_with("the queue has these labels: need-queue, "));
}

#[test]
fn label_records_granted_steps() {
    let mut facts = whole_road();
    facts.comments.truncate(2);
    facts.labels = vec!["kind/release".to_owned(), "queue/patches-need-package".to_owned()];
    facts.images.as_mut().unwrap()[0].in_source = Evidence::No("it was cleaned up".into());
    facts.check_errors = None;
    let status = evaluate(&facts);
    assert_eq!(status.state.as_deref(), Some("patches-need-package"));
    assert!(status.transitions.iter().all(|step| step.outcome == Outcome::GrantedEarlier));
    assert_eq!(guard(&status, Guard::ImagesInSource).verdict, Verdict::Fails);
    assert!(status.add_labels.is_empty() && status.remove_labels.is_empty());
}

#[test]
fn label_without_commands_is_removed() {
    let mut facts = facts();
    facts.labels = vec!["queue/done-package-uploaded".to_owned(), "queue/other-team".to_owned()];
    let status = evaluate(&facts);
    assert_eq!(status.state.as_deref(), Some("need-queue"));
    assert_eq!(status.add_labels, ["kind/release", "queue/need-queue"]);
    assert_eq!(status.remove_labels, ["queue/done-package-uploaded"]);
    assert!(status.remarks[0].to_string().contains("does not follow from the commands"));
}

#[test]
fn label_earliest_of_several_counts() {
    let mut facts = whole_road();
    facts.labels = vec!["queue/done-package-uploaded".to_owned(), "Queue/Need-Queue".to_owned()];
    facts.check_errors = None;
    facts.bundle = Evidence::No("it does not exist".into());
    let status = evaluate(&facts);
    assert_eq!(status.transitions[0].outcome, Outcome::GrantedEarlier);
    assert_eq!(status.transitions[1].outcome, Outcome::Granted);
    assert_eq!(status.state.as_deref(), Some("patches-need-package"));
    assert_eq!(status.remove_labels, facts.labels);
}

#[test]
fn incomplete_command_is_remarked() {
    let mut facts = facts();
    facts.add_comment("alice", "thanks\n/queue <label>");
    let status = evaluate(&facts);
    assert_eq!(
        status.remarks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["comment 1, line 2: `/queue` is incomplete: `<label>` is not a label"]
    );
}

#[test]
fn status_display_explains_next_step() {
    let mut facts = facts();
    facts.add_comment("alice", "/queue patches-need-sync-image");
    assert_eq!(
        evaluate(&facts).to_string(),
        "\
is at queue/need-queue
  /queue need-queue by @alice (body, line 5): granted
  /queue patches-need-sync-image by @alice (comment 1, line 1): refused
    fails: images-listed (no account with a role of the step listed images)
      help: comment `image(s) pushed to` with these lines below it:
        cargo.example/source/gpu:v1
next: /queue patches-need-sync-image by author or owner (@alice, @olga)
    fails: images-listed (no account with a role of the step listed images)
      help: comment `image(s) pushed to` with these lines below it:
        cargo.example/source/gpu:v1
    holds: images-in-source (every image is in the source registry: 1)
label to add: kind/release
label to add: queue/need-queue
"
    );
    assert!(
        evaluate(&whole_road()).to_string().contains("next: nothing, this is the end of the queue")
    );
    assert!(evaluate(&Facts::new("a", "")).to_string().starts_with("is not in the queue\n"));
}
