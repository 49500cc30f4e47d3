//! What each guard demands.

use compass_manifest::review::{Evidence, Guard, Outcome, Verdict};

use crate::{BODY, PUSHED, facts, guard, image, refusal, standing, state, whole_road};

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
    facts.add_comment("alice", "/queue need-queue");
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
        facts.add_comment("alice", list(&images));
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
    facts.add_comment("alice", PUSHED.replace("gpu:v1", "gpu:v0"));
    assert_eq!(state(&facts), "need-queue");
    facts.add_comment("mallory", PUSHED.replace("gpu:v1", "gpu:v6"));
    facts.add_comment("olga", "images pushed to:\n- cargo.caicloudprivatetest.com/caicloud/gpu:v1");
    facts.add_comment(
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
    facts.add_comment("alice", format!("{web}{PUSHED}"));
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn a_release_without_images_needs_no_list() {
    let mut facts = facts();
    facts.images = Some(Vec::new());
    facts.add_comment("alice", "/queue patches-need-sync-image");
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn unknown_images_leave_the_step_open() {
    let mut facts = facts();
    facts.images = None;
    facts.add_comment("alice", PUSHED);
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
        facts.add_comment("olga", PUSHED);
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
