//! `compass review`, offline: where a pull request stands, and what would bring it on.
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
fn a_complete_body_brings_a_pull_request_into_the_queue() {
    let (exit, out, err) = with_body(BODY, &["--format", "json"]);
    assert_eq!(exit, 0, "{out}{err}");
    let standing: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(standing["state"], "need-queue", "{standing:#}");
    let labels: Vec<_> = standing["add_labels"].as_array().unwrap().iter().collect();
    assert!(labels.contains(&&json!("queue/need-queue")), "{standing:#}");
    assert!(labels.contains(&&json!("kind/release")), "{standing:#}");
}

#[test]
fn what_is_missing_is_named() {
    let (exit, out, _) = with_body(&BODY.replace(" @pendoragon", ""), &[]);
    assert_eq!(exit, 1, "{out}");
    assert!(out.contains("@pendoragon"), "{out}");
}

#[test]
fn an_event_and_comments_are_read_in_the_form_of_the_forge() {
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
    // Nobody knows whether the image is there: the step stays open.
    let (_, out, _) = review(directory.path(), &[&["plugin", "gpu"][..], &files].concat());
    let standing: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(standing["state"], "need-queue", "{standing:#}");
}

#[test]
fn wrong_input_is_named() {
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
