//! The action and the example workflows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod diff;
#[path = "../packaging/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use compass_manifest::yaml::{self, Node};
use compass_registry::Digest;

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn parse(path: &Path) -> Node {
    yaml::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

fn workflows() -> Vec<(PathBuf, Node)> {
    let directory = root().join("examples/workflows");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), parse(&path))).collect()
}

fn text<'n>(node: &'n Node, key: &str) -> &'n str {
    node.get(key).and_then(Node::text).unwrap_or_default()
}

fn steps(workflow: &Node) -> Vec<&Node> {
    let jobs = workflow.get("jobs").unwrap().entries().iter().map(|entry| &entry.value);
    jobs.flat_map(|job| job.get("steps").unwrap().items()).collect()
}

fn scripts(steps: &[&Node]) -> Vec<String> {
    steps.iter().map(|step| text(step, "run").to_owned()).filter(|run| !run.is_empty()).collect()
}

#[test]
fn workflows_scripts_contain_no_expressions() {
    let action = parse(&root().join("action.yml"));
    let mut all =
        scripts(&action.at(&["runs", "steps"]).unwrap().items().iter().collect::<Vec<_>>());
    for (path, workflow) in workflows() {
        let found = scripts(&steps(&workflow));
        assert!(!found.is_empty(), "{}", path.display());
        all.extend(found);
    }
    for script in all {
        assert!(!script.contains("${{"), "{script}");
        let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
        assert!(checked.status.success(), "{script}{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn workflows_with_secrets_check_out_base() {
    for (path, workflow) in workflows() {
        assert!(workflow.get("permissions").is_some(), "{}", path.display());
        let events = workflow.get("on").unwrap();
        let untrusted_only =
            events.entries().iter().all(|entry| entry.key.text() == Some("pull_request"));
        for step in steps(&workflow) {
            if text(step, "uses").starts_with("actions/checkout@") {
                let settings = step.get("with").unwrap();
                assert_eq!(text(settings, "persist-credentials"), "false", "{}", path.display());
                // Without `ref`, such events check out the default branch.
                assert!(untrusted_only || settings.get("ref").is_none(), "{}", path.display());
                assert!(settings.get("repository").is_none(), "{}", path.display());
            }
        }
    }
}

#[test]
fn workflows_commands_are_known() {
    let help = Command::new(COMPASS).arg("-h").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for (path, workflow) in workflows() {
        for script in scripts(&steps(&workflow)) {
            let words: Vec<&str> = script.split_whitespace().collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "compass") {
                let known =
                    help.lines().any(|line| line.trim_start().split(' ').next() == Some(pair[1]));
                assert!(known, "{}: compass {}", path.display(), pair[1]);
            }
        }
    }
}

/// Runs the first step of the action with a `curl` that copies the tested binary.
fn install(sha256: &str) -> (tempfile::TempDir, Output) {
    let directory = tempfile::tempdir().unwrap();
    let action = parse(&root().join("action.yml"));
    let script = text(&action.at(&["runs", "steps"]).unwrap().items()[0], "run").to_owned();
    let curl = directory.path().join("curl");
    // The argument after `--output` is the file.
    let copy =
        format!("#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\ncp '{COMPASS}' \"$2\"\n");
    fs::write(&curl, copy).unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", path)
        .env("RUNNER_TEMP", directory.path())
        .env("GITHUB_PATH", directory.path().join("path"))
        .env("COMPASS_URL", "https://releases.example/compass")
        .env("COMPASS_SHA256", sha256)
        .output()
        .unwrap();
    (directory, output)
}

#[test]
fn action_installs_binary_with_right_digest() {
    let digest = Digest::of(&fs::read(COMPASS).unwrap());
    let (directory, output) = install(&digest.hex());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("compass "), "{output:?}");
    let added = fs::read_to_string(directory.path().join("path")).unwrap();
    assert!(Path::new(added.trim()).join("compass").is_file());
}

#[test]
fn action_refuses_other_digests() {
    for digest in ["", &"0".repeat(64)] {
        let (directory, output) = install(digest);
        assert!(!output.status.success(), "{digest}");
        assert!(!directory.path().join("path").exists());
        assert!(!directory.path().join("compass/bin/compass").exists());
    }
}
