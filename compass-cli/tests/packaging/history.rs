//! The bundle depends only on the commit of the release, not on the state of the clone.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

use super::BUNDLE;
use super::world::{Ran, World, ran};

/// The time of the only commit, in seconds.
const MADE: &str = "1527811200";

/// A world whose release repository is a clone with one commit.
fn committed() -> World {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.add_plugin("web");
    git(&world, &["init", "-q"]);
    commit(&world);
    world
}

fn git(world: &World, arguments: &[&str]) -> String {
    let names = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"];
    let date = format!("@{MADE} +0800");
    let output = Command::new("git")
        .args(names)
        .args(arguments)
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_DATE", &date)
        .current_dir(world.path("repo"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(world: &World) -> String {
    git(world, &["add", "-A"]);
    git(world, &["commit", "-q", "-m", "change"]);
    git(world, &["rev-parse", "HEAD"])
}

/// Packages with these variables; returns stderr, the bundle and the commit that it names.
fn package(world: &World, environment: &[(&str, &str)]) -> (String, Vec<u8>, Value) {
    let mut command = world.command(&["package", "plugin", "web", "--repo", "repo", "-o", "out"]);
    let Ran { code, error, .. } = ran(command.envs(environment.iter().copied()));
    assert_eq!(code, 0, "{error}");
    let bundle = std::fs::read(world.path("out").join(BUNDLE)).unwrap();
    let document = world.inspect(&format!("out/{BUNDLE}"));
    (error, bundle, document["commit"].clone())
}

/// The modification times of all entries.
fn times(world: &World) -> Vec<String> {
    let listed = Command::new("tar")
        .args(["--utc", "--full-time", "-tvzf"])
        .arg(world.path("out").join(BUNDLE))
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let time = |line: &str| {
        let words: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
        words.join(" ")
    };
    let mut times: Vec<_> = listed.lines().map(time).collect();
    times.dedup();
    times
}

#[test]
fn package_names_last_commit_and_time() {
    let world = committed();
    let first = git(&world, &["rev-parse", "HEAD"]);
    let (error, bundle, named) = package(&world, &[]);
    assert_eq!((error.as_str(), named.as_str()), ("", Some(&*first)));
    assert_eq!(times(&world), ["2018-06-01 00:00:00"]);

    // Commits to other files change nothing.
    world.write("repo/README.md", "another change\n");
    assert_ne!(commit(&world), first);
    assert!(package(&world, &[]).1 == bundle, "other bytes");

    let (error, _, named) = package(&world, &[("SOURCE_DATE_EPOCH", "86400")]);
    assert_eq!((error.as_str(), named.as_str()), ("", Some(&*first)));
    assert_eq!(times(&world), ["1970-01-02 00:00:00"]);
}

#[test]
fn package_uncommitted_changes_names_no_commit() {
    let world = committed();
    let manifest = world.path("repo/release-plugins/web.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("# changed\n{text}")).unwrap();
    let (error, _, named) = package(&world, &[]);
    assert!(error.contains("web.yaml has uncommitted changes"), "{error}");
    assert_eq!(named, Value::Null);
    assert_eq!(times(&world), ["1970-01-01 00:00:00"]);
}

/// Writes a program that creates a marker file; returns its path and that of the marker.
fn marking_program(world: &World) -> (String, std::path::PathBuf) {
    let (script, ran) = (world.path("program"), world.path("ran"));
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", ran.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script.display().to_string(), ran)
}

#[test]
fn package_runs_no_program_of_configuration() {
    let world = committed();
    let (program, ran) = marking_program(&world);
    for (key, value) in [
        ("core.fsmonitor", program.as_str()),
        ("filter.x.clean", &program),
        ("filter.x.process", &program),
        ("gpg.program", &program),
        ("log.showSignature", "true"),
        ("diff.external", &program),
        ("core.hooksPath", world.path("hooks").to_str().unwrap()),
    ] {
        git(&world, &["config", key, value]);
    }
    std::fs::create_dir(world.path("hooks")).unwrap();
    std::fs::copy(&program, world.path("hooks/post-index-change")).unwrap();
    world.write("repo/.git/info/attributes", "* filter=x diff=x\n");
    // Git would run the filter to compare files whose time changed.
    let manifest = world.path("repo/release-plugins/web.yaml");
    let text = std::fs::read(&manifest).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(10));
    std::fs::write(&manifest, text).unwrap();
    let (error, _, _) = package(&world, &[]);
    assert!(error.contains("git filter"), "{error}");
    assert!(!ran.exists(), "a program of the configuration ran");
}

#[test]
fn package_foreign_clone_is_error() {
    let world = committed();
    let mut command = world.command(&["package", "plugin", "web", "--repo", "repo", "-o", "out"]);
    let Ran { code, error, .. } = ran(command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("belongs to another user"), "{error}");
    assert!(error.contains("git config --global --add safe.directory "), "{error}");
}

#[test]
fn package_converted_checkout_has_committed_bytes() {
    let world = committed();
    let (_, first, named) = package(&world, &[]);
    let manifest = world.path("repo/release-plugins/web.yaml");
    for settings in [("core.autocrlf", "true"), ("core.eol", "crlf")] {
        git(&world, &["config", settings.0, settings.1]);
        world.write("repo/.git/info/attributes", "*.yaml text ident\n");
        std::fs::remove_file(&manifest).unwrap();
        git(&world, &["checkout", "--", "."]);
        assert!(std::fs::read_to_string(&manifest).unwrap().contains("\r\n"));
        let (error, bundle, commit) = package(&world, &[]);
        assert_eq!((error.as_str(), &commit), ("", &named));
        assert!(bundle == first, "other bytes with {settings:?}");
    }
    // A sparse checkout omits the file.
    git(&world, &["sparse-checkout", "set", "--no-cone", "/nothing"]);
    assert!(!manifest.exists());
    assert!(package(&world, &[]).1 == first, "other bytes in a sparse checkout");
}

#[test]
fn package_staged_content_is_ignored() {
    let world = committed();
    let (_, first, named) = package(&world, &[]);
    let manifest = world.path("repo/release-plugins/web.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("# staged\n{text}")).unwrap();
    git(&world, &["add", "-A"]);
    std::fs::write(&manifest, text).unwrap();
    let (error, bundle, commit) = package(&world, &[]);
    assert_eq!((error.as_str(), &commit), ("", &named));
    assert!(bundle == first, "other bytes");
}

#[test]
fn package_log_encoding_names_commit() {
    let world = committed();
    let (_, first, named) = package(&world, &[]);
    git(&world, &["config", "i18n.logOutputEncoding", "UTF-16"]);
    let (error, bundle, commit) = package(&world, &[]);
    assert_eq!((error.as_str(), &commit), ("", &named));
    assert!(bundle == first, "other bytes");
}
