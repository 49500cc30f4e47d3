//! Where pull requests stand, guard by guard.
#![allow(clippy::unwrap_used)]

use compass_manifest::review::{
    Evidence, Facts, Guard, GuardReport, Origin, Outcome, Queue, QueueError, ReleaseImage, Role,
    Standing, Step, Verdict,
};
use proptest::prelude::*;

const BODY: &str = "**Release note**:\nFair scheduling.\n\n/kind release\n/queue need-queue\n/cc @supereagle @pendoragon\n";
const PUSHED: &str = "image(s) pushed to\ncargo.caicloudprivatetest.com/caicloud/gpu:v1\n/queue patches-need-sync-image";

fn image(name: &str) -> ReleaseImage {
    ReleaseImage {
        source: format!("cargo.caicloudprivatetest.com/caicloud/{name}").parse().unwrap(),
        release: format!("harbor.caicloud.xyz/release/{name}").parse().unwrap(),
        in_source: Evidence::Yes,
        in_release: Evidence::Yes,
    }
}

/// A pull request of which everything holds, with a body and no comments.
fn facts() -> Facts {
    let mut facts = Facts::new("alice", BODY);
    facts.check_errors = Some(0);
    facts.images = Some(vec![image("gpu:v1")]);
    facts.bundle = Evidence::Yes;
    facts.grant("olga", "owner");
    facts.grant("supereagle", "platform-release");
    facts.grant("pendoragon", "infra");
    facts
}

fn whole_road() -> Facts {
    let mut facts = facts();
    facts.comment("alice", PUSHED);
    facts.comment("supereagle", "/queue patches-need-package");
    facts.comment("pendoragon", "/queue done-package-uploaded");
    facts
}

fn standing(facts: &Facts) -> Standing {
    Queue::default().standing(facts)
}

fn state(facts: &Facts) -> String {
    standing(facts).state.unwrap_or_default()
}

fn refusal(standing: &Standing) -> (String, String) {
    match &standing.transitions.last().unwrap().outcome {
        Outcome::Refused { reason, help } => (reason.clone(), help.clone()),
        other => panic!("{other:?}"),
    }
}

fn guard(standing: &Standing, guard: Guard) -> GuardReport {
    let mut reports = standing.transitions.iter().rev().flat_map(|transition| &transition.guards);
    reports.find(|report| report.guard == guard.name()).unwrap().clone()
}

#[test]
fn a_pull_request_goes_the_whole_road() {
    let standing = standing(&whole_road());
    assert_eq!(standing.state.as_deref(), Some("done-package-uploaded"));
    assert!(standing.is_done());
    assert!(standing.transitions.iter().all(|step| step.outcome == Outcome::Granted));
    assert_eq!(standing.add_labels, ["kind/release", "queue/done-package-uploaded"]);
    assert_eq!(standing.transitions[1].origin, Origin::Comment(0));
    assert_eq!(standing.transitions[1].line, 3);
    let every = standing.transitions.iter().flat_map(|step| &step.guards);
    assert!(every.clone().all(|guard| guard.verdict == Verdict::Holds && guard.help.is_empty()));
    assert_eq!(every.count(), 9);
}

#[test]
fn each_demand_on_the_body_is_missed_by_name() {
    for (guard_of, missing, help) in [
        (Guard::Kind, "/kind release\n", "add `/kind release` to the body"),
        (Guard::ReleaseNote, "Fair scheduling.\n", "write below that line"),
        (Guard::Cc, "@supereagle ", "add `/cc @supereagle` to the body"),
    ] {
        let mut facts = facts();
        facts.body = BODY.replace(missing, "");
        let standing = standing(&facts);
        assert_eq!(standing.state, None, "{guard_of}");
        let report = guard(&standing, guard_of);
        assert_eq!(report.verdict, Verdict::Fails);
        assert!(report.help.contains(help), "{}", report.help);
        let failing = standing.next[0].guards.iter().filter(|g| g.verdict == Verdict::Fails);
        assert_eq!(failing.count(), 1, "{guard_of} fails alone");
    }
}

#[test]
fn the_body_itself_must_ask_for_the_queue() {
    let mut facts = facts();
    facts.body = BODY.replace("/queue need-queue\n", "");
    facts.comment("alice", "/queue need-queue");
    let standing = standing(&facts);
    assert_eq!(guard(&standing, Guard::AskedInBody).verdict, Verdict::Fails);
    assert!(refusal(&standing).1.contains("add `/queue need-queue` to the body"));
}

#[test]
fn a_body_without_any_note_is_told_how_to_write_one() {
    let mut facts = facts();
    facts.body = BODY.replace("**Release note**:\nFair scheduling.\n", "");
    assert!(guard(&standing(&facts), Guard::ReleaseNote).help.contains("`**Release note**:`"));
}

#[test]
fn authors_need_not_tell_themselves_and_logins_have_no_case() {
    let mut facts = facts();
    facts.author = "SuperEagle".to_owned();
    facts.body = BODY.replace("@supereagle @pendoragon", "@Pendoragon");
    assert_eq!(state(&facts), "need-queue");
}

#[test]
fn check_must_have_run_and_be_clean() {
    let mut facts = facts();
    facts.check_errors = Some(2);
    assert!(guard(&standing(&facts), Guard::CheckClean).explanation.contains("2 errors"));
    assert!(matches!(standing(&facts).transitions[0].outcome, Outcome::Refused { .. }));
    facts.check_errors = Some(1);
    assert!(guard(&standing(&facts), Guard::CheckClean).explanation.contains("an error"));
    facts.check_errors = None;
    assert_eq!(standing(&facts).transitions[0].outcome, Outcome::Open);
    assert_eq!(state(&facts), "");
}

#[test]
fn the_listed_images_are_exactly_those_of_the_release_manifests() {
    let list =
        |images: &str| format!("image(s) pushed to\n{images}\n/queue patches-need-sync-image");
    let host = "cargo.caicloudprivatetest.com/caicloud";
    for (images, verdict, says) in [
        (
            format!("{host}/web:v1\n{host}/gpu:v1\n{host}/gpu:v1"),
            Verdict::Holds,
            "those of the release manifests: 2",
        ),
        (
            format!("{host}/gpu:v1"),
            Verdict::Fails,
            "not listed: cargo.caicloudprivatetest.com/caicloud/web:v1",
        ),
        (
            format!("{host}/gpu:v1\n{host}/web:v2"),
            Verdict::Fails,
            "not needed: cargo.caicloudprivatetest.com/caicloud/web:v2",
        ),
        (format!("{host}/gpu:v1\n{host}/web"), Verdict::Fails, "web (without a tag)"),
        (
            format!("{host}/gpu:v1\n{host}/Web:v1"),
            Verdict::Fails,
            "line 3 of the list cannot be read",
        ),
        (
            "harbor.caicloud.xyz/release/gpu:v1\nharbor.caicloud.xyz/release/web:v1".to_owned(),
            Verdict::Fails,
            "not needed: harbor",
        ),
        (String::new(), Verdict::Fails, "no images are listed"),
    ] {
        let mut facts = facts();
        facts.images = Some(vec![image("gpu:v1"), image("web:v1")]);
        facts.comment("alice", list(&images));
        let report = guard(&standing(&facts), Guard::ImagesListed);
        assert_eq!(report.verdict, verdict, "{images}: {}", report.explanation);
        assert!(report.explanation.contains(says), "{}", report.explanation);
        if verdict == Verdict::Fails {
            assert!(report.help.ends_with(&format!("{host}/gpu:v1\n{host}/web:v1")));
        }
    }
}

#[test]
fn the_latest_complete_list_by_somebody_who_may_counts() {
    let mut facts = facts();
    facts.comment("alice", PUSHED.replace("gpu:v1", "gpu:v0"));
    assert_eq!(state(&facts), "need-queue");
    facts.comment("mallory", PUSHED.replace("gpu:v1", "gpu:v6"));
    facts.comment("olga", "images pushed to:\n- cargo.caicloudprivatetest.com/caicloud/gpu:v1");
    facts.comment(
        "alice",
        "image(s) pushed to\ncargo.caicloudprivatetest.com/caicloud/gpu:<VERSION>",
    );
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn lists_of_one_comment_belong_together() {
    let mut facts = facts();
    facts.images = Some(vec![image("gpu:v1"), image("web:v1")]);
    let web = "image(s) pushed to\ncargo.caicloudprivatetest.com/caicloud/web:v1\n";
    facts.comment("alice", format!("{web}{PUSHED}"));
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn a_release_without_images_needs_no_list() {
    let mut facts = facts();
    facts.images = Some(Vec::new());
    facts.comment("alice", "/queue patches-need-sync-image");
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn unknown_images_leave_the_step_open() {
    let mut facts = facts();
    facts.images = None;
    facts.comment("alice", PUSHED);
    let standing = standing(&facts);
    assert_eq!(standing.transitions[1].outcome, Outcome::Open);
    assert_eq!(guard(&standing, Guard::ImagesListed).verdict, Verdict::Unknown);
    assert_eq!(guard(&standing, Guard::ImagesInSource).verdict, Verdict::Unknown);
}

#[test]
fn images_must_be_in_the_source_registry() {
    for (evidence, outcome_is_open) in [
        (Evidence::No("the tag does not exist".to_owned()), false),
        (Evidence::Unknown("the registry did not answer".to_owned()), true),
    ] {
        let mut facts = facts();
        facts.images.as_mut().unwrap()[0].in_source = evidence;
        facts.comment("olga", PUSHED);
        let standing = standing(&facts);
        assert_eq!(standing.transitions[1].outcome == Outcome::Open, outcome_is_open);
        let report = guard(&standing, Guard::ImagesInSource);
        assert!(report.explanation.contains("caicloud/gpu:v1: the "), "{}", report.explanation);
    }
}

#[test]
fn images_must_be_in_the_release_registry_with_the_same_digest() {
    let mut facts = whole_road();
    facts.images.as_mut().unwrap()[0].in_release = Evidence::No("it has another digest".to_owned());
    let standing = standing(&facts);
    assert_eq!(standing.state.as_deref(), Some("patches-need-sync-image"));
    let report = guard(&standing, Guard::ImagesInRelease);
    assert!(report.explanation.contains("harbor.caicloud.xyz/release/gpu:v1: it has another"));
    assert!(report.help.contains("compass sync"));
    // The command after it asks for a step that is not due.
    assert!(refusal(&standing).0.contains("cannot be skipped"));
}

#[test]
fn the_bundle_must_be_published() {
    let mut facts = whole_road();
    facts.bundle = Evidence::No("its digest is not the one beside it".to_owned());
    let refused = standing(&facts);
    assert_eq!(refused.state.as_deref(), Some("patches-need-package"));
    assert!(guard(&refused, Guard::BundlePublished).explanation.contains("its digest"));
    facts.bundle = Evidence::Unknown("the store was not asked".to_owned());
    assert_eq!(standing(&facts).transitions[3].outcome, Outcome::Open);
}

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
    facts.comment("pendoragon", "/queue done-package-uploaded");
    let (reason, help) = refusal(&standing(&facts));
    assert!(reason.contains("stands at `need-queue`, and steps cannot be skipped"), "{reason}");
    assert!(help.ends_with("patches-need-sync-image, patches-need-package"), "{help}");

    facts = whole_road();
    facts.comments.truncate(2);
    facts.comment("alice", "/queue need-queue");
    let (reason, help) = refusal(&standing(&facts));
    assert!(reason.contains("does not lead back to `need-queue`"), "{reason}");
    assert_eq!(help, "the next command is `/queue done-package-uploaded`");

    facts = whole_road();
    facts.comment("alice", "/queue need-queue");
    assert_eq!(refusal(&standing(&facts)).1, "the queue ends here");

    facts = self::facts();
    facts.body = BODY.replace("need-queue", "patches-need-package");
    let (reason, _) = refusal(&standing(&facts));
    assert!(reason.contains("not in the queue yet"), "{reason}");
}

#[test]
fn repeating_where_it_stands_changes_nothing() {
    let mut facts = facts();
    facts.comment("mallory", "/queue need-queue");
    let standing = standing(&facts);
    assert_eq!(standing.transitions[1].outcome, Outcome::Unchanged);
    assert_eq!(standing.state.as_deref(), Some("need-queue"));
}

#[test]
fn a_label_that_the_queue_has_not_is_refused_with_a_suggestion() {
    let mut facts = facts();
    facts.comment("alice", "/queue patches-need-sync-images");
    let (reason, help) = refusal(&standing(&facts));
    assert_eq!(reason, "the queue has no label `patches-need-sync-images`");
    assert_eq!(help, "did you mean `/queue patches-need-sync-image`?");
    facts.comment("alice", "/queue zzz");
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
    facts.comment("alice", "thanks\n/queue <label>");
    let standing = standing(&facts);
    assert_eq!(
        standing.remarks,
        ["comment 1, line 2: `/queue` says nothing: `<label>` is not a label"]
    );
}

#[test]
fn the_explanation_says_why_and_what_is_next() {
    let mut facts = facts();
    facts.comment("alice", "/queue patches-need-sync-image");
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

fn step(from: Option<&str>, to: &str, who: &str, guards: &[Guard]) -> Step {
    Step {
        from: from.map(str::to_owned),
        to: to.to_owned(),
        who: vec![Role::new(who)],
        guards: guards.to_vec(),
    }
}

#[test]
fn a_policy_can_have_a_queue_of_its_own() {
    // Later practice: three labels, packages are listed, and a release can be sent back.
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
    facts.comment("alice", pushed.clone());
    facts.comment("supereagle", "/queue need-queue");
    facts.comment("alice", pushed);
    facts.comment("supereagle", "/queue done");
    let refused = queue.standing(&facts);
    assert_eq!(refused.state.as_deref(), Some("working-image-pushed"));
    assert!(refusal(&refused).0.contains("no package is listed"));
    assert_eq!(refused.next.len(), 2);

    facts.comment("supereagle", "packages uploaded to\ninfra-release/a.tar.gz\n/queue done");
    assert!(refusal(&queue.standing(&facts)).0.contains("line 2 of the list cannot be read"));
    facts.comment("supereagle", "packages uploaded to\noss://infra-release/a.tar.gz");
    facts.labels = vec!["queue/working-image-pushed".to_owned()];
    facts.images = None;
    let done = queue.standing(&facts);
    assert_eq!(done.state.as_deref(), Some("done"));
    assert_eq!(done.transitions[3].outcome, Outcome::GrantedEarlier);
}

#[test]
fn steps_that_make_no_queue_are_refused() {
    let kinds = || vec!["release".to_owned()];
    let start = || step(None, "a", "author", &[]);
    let nobody = Step { who: Vec::new(), ..start() };
    for (steps, says) in [
        (vec![], "no step begins at no label"),
        (vec![step(None, "queue/a", "author", &[])], "`queue/a` is not a label"),
        (vec![start(), start()], "two steps lead from no label to `a`"),
        (
            vec![start(), step(Some("b"), "c", "author", &[])],
            "no steps lead to `b`, where a step begins",
        ),
        (vec![start(), step(Some("a"), "A", "author", &[])], "a step leads from `a` to itself"),
        (vec![nobody], "nobody may ask for the step to `a`"),
    ] {
        let error = Queue::new(steps, kinds(), []).unwrap_err();
        assert_eq!(error.to_string(), says);
        assert!(!error.hint().is_empty());
    }
    assert_eq!(Queue::new(vec![start()], Vec::new(), []).unwrap_err(), QueueError::NoKind);
    let written = Queue::default();
    let again = Queue::new(written.steps().to_vec(), kinds(), written.cc().to_vec());
    assert_eq!(again.unwrap(), written);
}

#[test]
fn guards_have_names_for_policies() {
    for guard in Guard::ALL {
        assert_eq!(guard.name().parse::<Guard>().unwrap(), *guard);
    }
    assert_eq!("x".parse::<Guard>().unwrap_err().to_string(), "`x` is not a guard");
}

#[test]
fn a_comment_may_ask_very_often() {
    let mut facts = facts();
    facts.check_errors = Some(1);
    facts.body += &"/queue need-queue\n".repeat(20_000);
    facts.comment("alice", PUSHED.repeat(5_000));
    assert_eq!(standing(&facts).transitions.len(), 20_001 + 5_000);
}

proptest! {
    #[test]
    fn no_comments_make_the_queue_panic(comments in prop::collection::vec(
        ("(alice|olga|supereagle|pendoragon|mallory)", r"(/queue (need-queue|patches-need-sync-image|patches-need-package|done-package-uploaded|x)\n){0,3}"), 0..8),
        labels in prop::collection::vec("queue/(need-queue|patches-need-package|x)", 0..3),
    ) {
        let mut facts = facts();
        for (author, text) in comments {
            facts.comment(author, text);
        }
        facts.labels = labels;
        let standing = standing(&facts);
        prop_assert!(!standing.to_string().is_empty());
        // Doing what it says is enough, and doing it twice changes nothing.
        facts.labels.retain(|label| !standing.remove_labels.contains(label));
        facts.labels.extend(standing.add_labels.clone());
        let again = Queue::default().standing(&facts);
        prop_assert_eq!(&again.state, &standing.state);
        prop_assert!(again.add_labels.is_empty() && again.remove_labels.is_empty());
    }
}
