//! Reads the example payloads of GitHub's webhooks.
//!
//! The payloads are not part of this project. The variable `COMPASS_FORGE` names their directory;
//! by default, it is next to the checkout. If the directory does not exist, the tests are skipped.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};

use compass_manifest::review::forge::{PayloadError, PullRequest};
use serde_json::Value;

fn payloads() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/forge");
    let path = std::env::var_os("COMPASS_FORGE").map_or_else(default, PathBuf::from);
    let payloads = path.join("payloads");
    if payloads.exists() {
        return Some(payloads);
    }
    eprintln!("SKIPPED: no payloads at {}", payloads.display());
    None
}

fn events(kind: &str) -> Vec<(String, Value)> {
    let Some(payloads) = payloads() else { return Vec::new() };
    let files = fs::read_dir(payloads.join(kind)).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let event = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path.display().to_string(), event)
    };
    files.map(read).collect()
}

#[test]
fn pull_request_events_are_read() {
    for kind in ["pull_request", "pull_request_review", "pull_request_review_comment"] {
        for (file, event) in events(kind) {
            let pull =
                PullRequest::from_event(&event).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(!pull.author.is_empty(), "{file}");
            let is_withdrawn = ["deleted", "dismissed"].iter().any(|one| event["action"] == *one);
            let expected = kind != "pull_request" && !is_withdrawn;
            assert_eq!(pull.comment.is_some(), expected, "{file}");
        }
    }
}

#[test]
fn comment_on_issue_is_error() {
    for (file, event) in events("issue_comment") {
        let is_pull = event["issue"]["pull_request"].is_object();
        match PullRequest::from_event(&event) {
            Ok(pull) => {
                assert!(is_pull, "{file}");
                assert_eq!(pull.comment.is_some(), event["action"] != "deleted", "{file}");
            }
            Err(error) => assert!(!is_pull && error == PayloadError::Issue, "{file}: {error}"),
        }
    }
}

#[test]
fn other_events_are_errors() {
    for (file, event) in ["ping", "push", "status", "label"].into_iter().flat_map(events) {
        assert_eq!(PullRequest::from_event(&event), Err(PayloadError::NoPullRequest), "{file}");
    }
}
