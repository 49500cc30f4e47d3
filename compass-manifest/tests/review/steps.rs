//! Who may ask for which step, and what labels say.

use compass_manifest::review::{Evidence, Facts, Guard, Outcome, Verdict};

use crate::{BODY, facts, guard, refusal, standing, whole_road};

#[test]
fn only_some_may_ask_for_a_step() {
    for (at, by) in [(0, "mallory"), (1, "alice"), (1, "olga"), (2, "supereagle")] {
        let mut facts = whole_road();
        facts.comments.truncate(at + 1);
        facts.comments[at].author = by.to_owned();
        let standing = standing(&facts);
        let (reason, help) = refusal(&standing);
        assert!(reason.starts_with(&format!("@{by} is not ")), "{reason}");
        assert!(help.starts_with("ask @"), "{help}");
        assert!(standing.transitions.last().unwrap().guards.is_empty());
    }
    let mut facts = whole_road();
    facts.roles.clear();
    let standing = standing(&facts);
    assert!(matches!(&standing.transitions[2].outcome, Outcome::Refused { help, .. }
        if help.contains("ask somebody who is platform-release")));
}

#[test]
fn steps_are_neither_skipped_nor_taken_back() {
    let mut facts = facts();
    facts.add_comment("pendoragon", "/queue done-package-uploaded");
    let (reason, help) = refusal(&standing(&facts));
    assert!(reason.contains("stands at `need-queue`, and steps cannot be skipped"), "{reason}");
    assert!(help.ends_with("patches-need-sync-image, patches-need-package"), "{help}");

    facts = whole_road();
    facts.comments.truncate(2);
    facts.add_comment("alice", "/queue need-queue");
    let (reason, help) = refusal(&standing(&facts));
    assert!(reason.contains("does not lead back to `need-queue`"), "{reason}");
    assert_eq!(help, "the next command is `/queue done-package-uploaded`");

    facts = whole_road();
    facts.add_comment("alice", "/queue need-queue");
    assert_eq!(refusal(&standing(&facts)).1, "the queue ends here");

    facts = self::facts();
    facts.body = BODY.replace("need-queue", "patches-need-package");
    let (reason, _) = refusal(&standing(&facts));
    assert!(reason.contains("not in the queue yet"), "{reason}");
}

#[test]
fn repeating_where_it_stands_changes_nothing() {
    let mut facts = facts();
    facts.add_comment("mallory", "/queue need-queue");
    let standing = standing(&facts);
    assert_eq!(standing.transitions[1].outcome, Outcome::Unchanged);
    assert_eq!(standing.state.as_deref(), Some("need-queue"));
}

#[test]
fn a_label_that_the_queue_has_not_is_refused_with_a_suggestion() {
    let mut facts = facts();
    facts.add_comment("alice", "/queue patches-need-sync-images");
    let (reason, help) = refusal(&standing(&facts));
    assert_eq!(reason, "the queue has no label `patches-need-sync-images`");
    assert_eq!(help, "did you mean `/queue patches-need-sync-image`?");
    facts.add_comment("alice", "/queue zzz");
    assert!(refusal(&standing(&facts)).1.starts_with("the queue has these labels: need-queue, "));
}

#[test]
fn a_label_remembers_that_guards_held() {
    let mut facts = whole_road();
    facts.comments.truncate(2);
    facts.labels = vec!["kind/release".to_owned(), "queue/patches-need-package".to_owned()];
    facts.images.as_mut().unwrap()[0].in_source = Evidence::No("it was cleaned up".to_owned());
    facts.check_errors = None;
    let standing = standing(&facts);
    assert_eq!(standing.state.as_deref(), Some("patches-need-package"));
    assert!(standing.transitions.iter().all(|step| step.outcome == Outcome::GrantedEarlier));
    assert_eq!(guard(&standing, Guard::ImagesInSource).verdict, Verdict::Fails);
    assert!(standing.add_labels.is_empty() && standing.remove_labels.is_empty());
}

#[test]
fn a_label_alone_moves_nothing() {
    let mut facts = facts();
    facts.labels = vec!["queue/done-package-uploaded".to_owned(), "queue/other-team".to_owned()];
    let standing = standing(&facts);
    assert_eq!(standing.state.as_deref(), Some("need-queue"));
    assert_eq!(standing.add_labels, ["kind/release", "queue/need-queue"]);
    assert_eq!(standing.remove_labels, ["queue/done-package-uploaded"]);
    assert!(standing.remarks[0].contains("the commands do not lead there"));
}

#[test]
fn of_several_labels_the_least_advanced_is_believed() {
    let mut facts = whole_road();
    facts.labels = vec!["queue/done-package-uploaded".to_owned(), "Queue/Need-Queue".to_owned()];
    facts.check_errors = None;
    facts.bundle = Evidence::No("it is not there".to_owned());
    let standing = standing(&facts);
    assert_eq!(standing.transitions[0].outcome, Outcome::GrantedEarlier);
    assert_eq!(standing.transitions[1].outcome, Outcome::Granted);
    assert_eq!(standing.state.as_deref(), Some("patches-need-package"));
    assert_eq!(standing.remove_labels, facts.labels);
}

#[test]
fn commands_that_cannot_be_read_are_remarked() {
    let mut facts = facts();
    facts.add_comment("alice", "thanks\n/queue <label>");
    let standing = standing(&facts);
    assert_eq!(
        standing.remarks,
        ["comment 1, line 2: `/queue` says nothing: `<label>` is not a label"]
    );
}

#[test]
fn the_explanation_says_why_and_what_is_next() {
    let mut facts = facts();
    facts.add_comment("alice", "/queue patches-need-sync-image");
    assert_eq!(
        standing(&facts).to_string(),
        "\
stands at queue/need-queue
  /queue need-queue by @alice (body, line 5): granted
  /queue patches-need-sync-image by @alice (comment 1, line 1): refused
    fails: images-listed (no images are listed by anybody who may ask for this)
      help: comment `image(s) pushed to`, and below it:
        cargo.caicloudprivatetest.com/caicloud/gpu:v1
next: /queue patches-need-sync-image by author or owner (@alice, @olga)
    fails: images-listed (no images are listed by anybody who may ask for this)
      help: comment `image(s) pushed to`, and below it:
        cargo.caicloudprivatetest.com/caicloud/gpu:v1
    holds: images-in-source (every image is in the source registry: 1)
label to add: kind/release
label to add: queue/need-queue
"
    );
    assert!(standing(&whole_road()).to_string().contains("next: nothing, the queue ends here"));
    assert!(standing(&Facts::new("a", "")).to_string().starts_with("is not in the queue\n"));
}
