//! Tests the condition of each guard.

use compass_manifest::review::{Evidence, Guard, Outcome, Statement, Verdict};

use crate::{BODY, PUSHED, evaluate, facts, guard, image, refusal, state, whole_road};

#[test]
fn guard_of_body_reports_missing_part() {
    for (guard_of, missing, help) in [
        (Guard::Kind, "/kind release\n", "add `/kind release` to the body"),
        (Guard::ReleaseNote, "Fair scheduling.\n", "describe the release below"),
        (Guard::Cc, "@supereagle ", "add `/cc @supereagle` to the body"),
    ] {
        let mut facts = facts();
        facts.body = BODY.replace(missing, "");
        let status = evaluate(&facts);
        assert_eq!(status.state, None, "{guard_of}");
        let report = guard(&status, guard_of);
        assert_eq!(report.verdict, Verdict::Fails);
        assert!(report.help.contains(help), "{}", report.help);
        let failing = status.next[0].guards.iter().filter(|g| g.verdict == Verdict::Fails);
        assert_eq!(failing.count(), 1, "{guard_of} fails alone");
    }
}

#[test]
fn asked_in_body_ignores_comments() {
    let mut facts = facts();
    facts.body = BODY.replace("/queue need-queue\n", "");
    facts.add_comment("alice", "/queue need-queue");
    let status = evaluate(&facts);
    assert_eq!(guard(&status, Guard::AskedInBody).verdict, Verdict::Fails);
    assert!(refusal(&status).1.contains("add `/queue need-queue` to the body"));
}

#[test]
fn release_note_missing_explains_format() {
    let mut facts = facts();
    facts.body = BODY.replace("**Release note**:\nFair scheduling.\n", "");
    assert!(guard(&evaluate(&facts), Guard::ReleaseNote).help.contains("`**Release note**:`"));
}

#[test]
fn cc_ignores_author_and_case() {
    let mut facts = facts();
    facts.author = "SuperEagle".to_owned();
    facts.body = BODY.replace("@supereagle @pendoragon", "@Pendoragon");
    assert_eq!(state(&facts), "need-queue");
}

#[test]
fn check_clean_requires_run_without_errors() {
    let mut facts = facts();
    facts.check_errors = Some(2);
    assert!(guard(&evaluate(&facts), Guard::CheckClean).explanation.contains("2 errors"));
    assert!(matches!(evaluate(&facts).transitions[0].outcome, Outcome::Refused { .. }));
    facts.check_errors = Some(1);
    assert!(guard(&evaluate(&facts), Guard::CheckClean).explanation.contains("one error"));
    facts.check_errors = None;
    assert_eq!(evaluate(&facts).transitions[0].outcome, Outcome::Open);
    assert_eq!(state(&facts), "");
}

#[test]
fn images_listed_requires_exact_list() {
    let list =
        |images: &str| format!("image(s) pushed to\n{images}\n/queue patches-need-sync-image");
    let host = "cargo.example/source";
    for (images, verdict, expected) in [
        (
            format!("{host}/web:v1\n{host}/gpu:v1\n{host}/gpu:v1"),
            Verdict::Holds,
            "those of the release manifests: 2",
        ),
        (format!("{host}/gpu:v1"), Verdict::Fails, "not listed: cargo.example/source/web:v1"),
        (
            format!("{host}/gpu:v1\n{host}/web:v2"),
            Verdict::Fails,
            "not needed: cargo.example/source/web:v2",
        ),
        (format!("{host}/gpu:v1\n{host}/web"), Verdict::Fails, "web (without a tag)"),
        (format!("{host}/gpu:v1\n{host}/Web:v1"), Verdict::Fails, "line 3 of the list is invalid"),
        (
            "harbor.example/release/gpu:v1\nharbor.example/release/web:v1".to_owned(),
            Verdict::Fails,
            "not needed: harbor",
        ),
        (String::new(), Verdict::Fails, "no account with a role of the step listed images"),
    ] {
        let mut facts = facts();
        facts.images = Some(vec![image("gpu:v1"), image("web:v1")]);
        facts.add_comment("alice", list(&images));
        let report = guard(&evaluate(&facts), Guard::ImagesListed);
        assert_eq!(report.verdict, verdict, "{images}: {}", report.explanation);
        assert!(report.explanation.contains(expected), "{}", report.explanation);
        if verdict == Verdict::Fails {
            assert!(report.help.ends_with(&format!("{host}/gpu:v1\n{host}/web:v1")));
        }
    }
}

#[test]
fn images_listed_uses_latest_valid_list() {
    let mut facts = facts();
    facts.add_comment("alice", PUSHED.replace("gpu:v1", "gpu:v0"));
    assert_eq!(state(&facts), "need-queue");
    facts.add_comment("mallory", PUSHED.replace("gpu:v1", "gpu:v6"));
    facts.add_comment("olga", "images pushed to:\n- cargo.example/source/gpu:v1");
    facts.add_comment("alice", "image(s) pushed to\ncargo.example/source/gpu:<VERSION>");
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn images_listed_joins_lists_of_comment() {
    let mut facts = facts();
    facts.images = Some(vec![image("gpu:v1"), image("web:v1")]);
    let web = "image(s) pushed to\ncargo.example/source/web:v1\n";
    facts.add_comment("alice", format!("{web}{PUSHED}"));
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn images_listed_holds_without_images() {
    let mut facts = facts();
    facts.images = Some(Vec::new());
    facts.add_comment("alice", "/queue patches-need-sync-image");
    assert_eq!(state(&facts), "patches-need-sync-image");
}

#[test]
fn images_unknown_leave_step_open() {
    let mut facts = facts();
    facts.images = None;
    facts.add_comment("alice", PUSHED);
    let status = evaluate(&facts);
    assert_eq!(status.transitions[1].outcome, Outcome::Open);
    assert_eq!(guard(&status, Guard::ImagesListed).verdict, Verdict::Unknown);
    assert_eq!(guard(&status, Guard::ImagesInSource).verdict, Verdict::Unknown);
}

#[test]
fn images_in_source_requires_all() {
    for (evidence, outcome_is_open) in [
        (Evidence::No("the tag does not exist".into()), false),
        (Evidence::Unknown("the registry did not answer".into()), true),
    ] {
        let mut facts = facts();
        facts.images.as_mut().unwrap()[0].in_source = evidence;
        facts.add_comment("olga", PUSHED);
        let status = evaluate(&facts);
        assert_eq!(status.transitions[1].outcome == Outcome::Open, outcome_is_open);
        let report = guard(&status, Guard::ImagesInSource);
        assert!(report.explanation.contains("source/gpu:v1: the "), "{}", report.explanation);
    }
}

#[test]
fn images_in_release_requires_same_digest() {
    let mut facts = whole_road();
    facts.images.as_mut().unwrap()[0].in_release = Evidence::No(Statement::OtherDigest {
        found: "sha256:1".to_owned(),
        expected: "sha256:2".to_owned(),
    });
    let status = evaluate(&facts);
    assert_eq!(status.state.as_deref(), Some("patches-need-sync-image"));
    let report = guard(&status, Guard::ImagesInRelease);
    assert!(report.explanation.contains("harbor.example/release/gpu:v1: the digest is sha256:1"));
    assert!(report.help.contains("compass sync --on-existing-tag move"), "{}", report.help);
    facts.images.as_mut().unwrap()[0].in_release = Evidence::No(Statement::NotInSource);
    let help = guard(&evaluate(&facts), Guard::ImagesInRelease).help.clone();
    assert!(help.contains("push these images to the source registry"), "{help}");
    // The refusal is of the next command, which requests a step that is not possible yet.
    assert!(refusal(&status).0.contains("cannot be skipped"));
}

#[test]
fn bundle_published_requires_bundle() {
    let mut facts = whole_road();
    facts.bundle = Evidence::No("its digest differs from its checksum file".into());
    let refused = evaluate(&facts);
    assert_eq!(refused.state.as_deref(), Some("patches-need-package"));
    assert!(guard(&refused, Guard::BundlePublished).explanation.contains("its digest"));
    facts.bundle = Evidence::Unknown("the store was not asked".into());
    assert_eq!(evaluate(&facts).transitions[3].outcome, Outcome::Open);
}
