//! `compass review`: the queue state of a pull request, and the open steps.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const SOURCE: &str = "cargo.caicloudprivatetest.com/caicloud/compass-plugins-gpu:v0.1.0";
const BODY: &str = "**Release note**:\nFirst release.\n\n/kind release\n/queue need-queue\n/cc @supereagle @pendoragon\n";

fn repository() -> TempDir {
    let directory = TempDir::new().unwrap();
    let plugins = directory.path().join("release-plugins");
    fs::create_dir(&plugins).unwrap();
    let text = "metadata: {name: gpu}\nspec:\n  version: v0.1.0\n  service:\n    port: 9999\n    image: harbor.caicloud.xyz/release/compass-plugins-gpu:v0.1.0\n  modules: []\n";
    fs::write(plugins.join("gpu.yaml"), text).unwrap();
    directory
}

fn review(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_compass"))
        .current_dir(directory)
        .arg("review")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn with_body(body: &str, more: &[&str]) -> (i32, String, String) {
    let directory = repository();
    fs::write(directory.path().join("body.md"), body).unwrap();
    let fixed = ["--body", "body.md", "--author", "alice"];
    review(directory.path(), &[&fixed, more].concat())
}

#[test]
fn review_complete_body_is_queued() {
    let (exit, out, err) = with_body(BODY, &["--format", "json"]);
    assert_eq!(exit, 0, "{out}{err}");
    let standing: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(standing["state"], "need-queue", "{standing:#}");
    let labels: Vec<_> = standing["add_labels"].as_array().unwrap().iter().collect();
    assert!(labels.contains(&&json!("queue/need-queue")), "{standing:#}");
    assert!(labels.contains(&&json!("kind/release")), "{standing:#}");
}

#[test]
fn review_missing_command_is_named() {
    let (exit, out, _) = with_body(&BODY.replace(" @pendoragon", ""), &[]);
    assert_eq!(exit, 1, "{out}");
    assert!(out.contains("@pendoragon"), "{out}");
}

#[test]
fn review_reads_forge_event_and_comments() {
    let directory = repository();
    let event = json!({"pull_request": {
        "body": BODY, "user": {"login": "alice"}, "labels": [{"name": "queue/need-queue"}, {"name": "kind/release"}],
    }});
    let pushed =
        format!("image(s) pushed to\r\n{SOURCE}\r\n\r\n/queue patches-need-sync-image\r\n");
    let comments = json!([{"user": {"login": "alice"}, "body": pushed}]);
    let facts = json!({"in_source": [SOURCE]});
    for (name, value) in [("event", &event), ("comments", &comments), ("facts", &facts)] {
        fs::write(directory.path().join(format!("{name}.json")), value.to_string()).unwrap();
    }
    let files = ["--event", "event.json", "--comments", "comments.json", "--format", "json"];
    let target = ["plugin", "gpu", "--facts", "facts.json"];
    let (exit, out, err) = review(directory.path(), &[&target[..], &files].concat());
    let standing: Value = serde_json::from_str(&out).expect(&err);
    assert_eq!((exit, &standing["state"]), (0, &json!("patches-need-sync-image")), "{standing:#}");
    // Without facts about the registry, the step stays open.
    let (_, out, _) = review(directory.path(), &[&["plugin", "gpu"][..], &files].concat());
    let standing: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(standing["state"], "need-queue", "{standing:#}");
}

/// The state for an event, comments and facts, or the error.
fn state_of(event: &Value, comments: Option<&Value>, facts: &Value) -> Result<String, String> {
    let directory = repository();
    let mut arguments = vec!["plugin", "gpu", "--event", "event.json", "--facts", "facts.json"];
    fs::write(directory.path().join("event.json"), event.to_string()).unwrap();
    fs::write(directory.path().join("facts.json"), facts.to_string()).unwrap();
    if let Some(comments) = comments {
        fs::write(directory.path().join("comments.json"), comments.to_string()).unwrap();
        arguments.extend(["--comments", "comments.json"]);
    }
    let (exit, out, err) =
        review(directory.path(), &[&arguments[..], &["--format", "json"]].concat());
    let value: Value = serde_json::from_str(&out).expect(&err);
    match exit {
        2 => Err(format!("{}", value["error"]["message"])),
        _ => Ok(value["state"].as_str().unwrap_or("none").to_owned()),
    }
}

fn pull() -> Value {
    json!({"body": BODY, "user": {"login": "alice"}, "labels": []})
}

fn pushed() -> String {
    format!("image(s) pushed to\n{SOURCE}\n/queue patches-need-sync-image\n")
}

#[test]
fn review_deleted_comment_is_ignored() {
    let facts = json!({"in_source": [SOURCE]});
    let mut issue = pull();
    issue["pull_request"] = json!({});
    let comment = json!({"user": {"login": "alice"}, "body": pushed()});
    for (action, state) in [("created", "patches-need-sync-image"), ("deleted", "need-queue")] {
        let event = json!({"action": action, "issue": issue, "comment": comment});
        assert_eq!(state_of(&event, None, &facts).unwrap(), state, "{action}");
    }
    let event = json!({"action": "created", "issue": pull(), "comment": comment});
    assert!(state_of(&event, None, &facts).unwrap_err().contains("an issue"));
}

#[test]
fn review_comments_other_form_is_error() {
    let (facts, event) = (json!({"in_source": [SOURCE]}), json!({"pull_request": pull()}));
    let comment = json!({"author": {"login": "alice"}, "body": pushed()});
    for comments in [json!([[comment], []]), json!([comment]), json!({"comments": [comment]})] {
        let state = state_of(&event, Some(&comments), &facts);
        assert_eq!(state.unwrap(), "patches-need-sync-image", "{comments}");
    }
    for comments in [json!([pushed()]), json!({"nodes": [comment]}), json!([{"login": "alice"}])] {
        assert!(state_of(&event, Some(&comments), &facts).is_err(), "{comments}");
    }
}

#[test]
fn review_comments_in_pages_are_read() {
    let comment = json!({"user": {"login": "alice"}, "body": pushed()}).to_string();
    let utf16 = comment.encode_utf16().flat_map(u16::to_le_bytes);
    let directory = repository();
    let facts = json!({"in_source": [SOURCE]}).to_string();
    fs::write(directory.path().join("facts.json"), format!("\u{feff}{facts}")).unwrap();
    let event = json!({"pull_request": pull()}).to_string();
    fs::write(directory.path().join("event.json"), event).unwrap();
    for (bytes, fragment) in [
        (format!("[{comment}][]").into_bytes(), "patches-need-sync-image"),
        (format!("[]\n[{comment}]\n").into_bytes(), "patches-need-sync-image"),
        (format!("{comment}\n{comment}\n").into_bytes(), "patches-need-sync-image"),
        (format!("\u{feff}[{comment}]").into_bytes(), "patches-need-sync-image"),
        (format!("[{comment}][").into_bytes(), "is not JSON"),
        (format!("[{comment}] \"x\"").into_bytes(), "`[1]` should be an object"),
        ([0xff, 0xfe].into_iter().chain(utf16).collect(), "UTF-16"),
        (Vec::new(), "comments.json is empty"),
    ] {
        fs::write(directory.path().join("comments.json"), &bytes).unwrap();
        let files = ["--event", "event.json", "--comments", "comments.json"];
        let target = ["plugin", "gpu", "--facts", "facts.json"];
        let (exit, out, err) = review(directory.path(), &[&target[..], &files].concat());
        assert!(format!("{out}{err}").contains(fragment), "{fragment}: {exit} {out}{err}");
        assert_eq!(
            exit,
            if fragment.starts_with("patches") { 0 } else { 2 },
            "{fragment}: {out}{err}"
        );
    }
}

#[test]
fn review_unknown_author_has_no_role() {
    let (facts, mut event) = (json!({"in_source": [SOURCE]}), json!({"pull_request": pull()}));
    event["pull_request"]["user"] = Value::Null;
    let comments = json!([{"user": null, "body": pushed()}]);
    assert_eq!(state_of(&event, Some(&comments), &facts).unwrap(), "none");
}

#[test]
fn review_facts_other_form_is_error() {
    let event = json!({"pull_request": pull()});
    for (facts, fragment) in [
        (json!({"in_sources": [SOURCE]}), "unknown field `in_sources`"),
        (json!({"in_source": SOURCE}), "expected a sequence"),
        (json!({"in_source": [1]}), "expected a string"),
        (json!({"in_source": ["compass-plugins-gpu:v0.1.0"]}), "is not an image reference"),
        (json!({"bundle": "yes"}), "expected a boolean"),
        (json!([[SOURCE], [], true]), "found a list"),
    ] {
        let refused = state_of(&event, None, &facts);
        assert!(
            refused.as_ref().is_err_and(|error| error.contains(fragment)),
            "{facts}: {refused:?}"
        );
    }
}

#[test]
fn review_long_threads_are_shortened() {
    let (facts, event) = (json!({"in_source": []}), json!({"pull_request": pull()}));
    let comments = json!([{"user": {"login": "eve"}, "body": "/queue done-package-uploaded\n".repeat(20_000)}]);
    let directory = repository();
    for (name, value) in [("event", &event), ("comments", &comments), ("facts", &facts)] {
        fs::write(directory.path().join(format!("{name}.json")), value.to_string()).unwrap();
    }
    let files = ["--event", "event.json", "--comments", "comments.json", "--facts", "facts.json"];
    let (exit, out, _) = review(directory.path(), &[&["plugin", "gpu"][..], &files].concat());
    assert!(exit == 1 && out.len() < 100_000, "{}", out.len());
    assert!(out.contains("earlier requests are not shown"), "{out}");
}

#[test]
fn review_invalid_input_is_named() {
    let directory = repository();
    let (exit, _, err) = review(directory.path(), &[]);
    assert!(exit == 2 && err.contains("--body FILE"), "{err}");
    let (exit, _, err) = review(directory.path(), &["--body", "gone.md"]);
    assert!(exit == 2 && err.contains("gone.md"), "{err}");
    fs::write(directory.path().join("bad.json"), "{\n  \"a\": }").unwrap();
    let (exit, _, err) = review(directory.path(), &["--event", "bad.json"]);
    assert!(exit == 2 && err.contains("bad.json") && err.contains("line 2"), "{err}");
    fs::write(directory.path().join("deep.json"), "[".repeat(100_000)).unwrap();
    let (exit, _, err) = review(directory.path(), &["--event", "deep.json"]);
    assert_eq!(exit, 2, "{err}");
}
