//! `compass sync` and `compass doctor` with registries that require credentials.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod doctor;
mod world;

use std::os::unix::fs::FileTypeExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use compass_registry::testing::{Fault, Script};
use serde_json::Value;
use world::World;

#[test]
fn sync_present_images_costs_two_requests() {
    let images: Vec<_> = (0..12).map(|number| format!("caicloud/app-{number}:v1")).collect();
    let world =
        World::new(&images.iter().map(String::as_str).collect::<Vec<_>>(), Script::default());
    world.write("all.list", &images.join("\n").replace("caicloud/", "release/"));
    let sync = ["sync", "--list", "all.list"];
    assert_eq!(world.compass(&sync).0, 0);
    let registries = [&world.source, &world.release];
    let counts = || registries.map(|one| (one.requests() as u64, one.tokens()));
    let before = counts();
    let (code, out, error) = world.compass(&sync);
    assert_eq!(code, 0, "{out}{error}");
    for (after, before) in counts().into_iter().zip(before) {
        // The first request of a run is challenged for credentials.
        assert_eq!((after.0 - before.0, after.1 - before.1), (12 + 1, 1), "{out}");
    }
}

#[test]
fn sync_interrupted_writes_report() {
    let images = ["caicloud/a:v1", "caicloud/b:v1", "caicloud/c:v1"];
    // The registry does not respond to later requests.
    let stalls = (9..200).map(|request| (request, Fault::Stall(0)));
    let world = World::new(&images, Script(stalls.collect()));
    world.write("all.list", "release/a:v1\nrelease/b:v1\nrelease/c:v1\n");
    let sync = ["sync", "--list", "all.list", "--report", "report.json", "--jobs", "1"];
    let mut child =
        world.command(&sync).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Wait until the transfers stall.
    let mut before = 0;
    while child.try_wait().unwrap().is_none()
        && (world.source.requests() < 9 || world.source.requests() > before)
    {
        before = world.source.requests();
        std::thread::sleep(Duration::from_millis(500));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = world.json("report.json");
    let (arrived, failed) =
        (report["arrived"].as_u64().unwrap(), report["failed"].as_u64().unwrap());
    assert!(failed > 0 && arrived + failed == 3, "{report:#}");
    let message = report["images"][2]["error"]["message"].as_str().unwrap();
    assert!(message.contains("interrupted"), "{report:#}");
}

#[test]
fn sync_list_needs_no_repository() {
    let world = World::new(&["caicloud/a:v1"], Script::default());
    world.write("elsewhere/one.list", "release/a:v1\n");
    let (from, to) =
        (format!("{}/caicloud", world.source.host()), format!("{}/site", world.release.host()));
    let sync = ["sync", "--list", "one.list", "--from", &from, "--to", &to];
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("one.list"), "release/a:v1\n").unwrap();
    let run = |arguments: &[&str]| {
        world.command(arguments).current_dir(elsewhere.path()).output().unwrap()
    };
    let output = run(&sync);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(world.has("site/a:v1"));
    // Without the options, the policy names the registries.
    assert_eq!(run(&sync[..3]).status.code(), Some(2));
    let output = run(&[&sync[..], &["--report", "-"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(!elsewhere.path().join("-").exists());
    // An existing but invalid policy is an error.
    std::fs::write(elsewhere.path().join(".compass.yaml"), "version: [").unwrap();
    assert_eq!(run(&sync).status.code(), Some(2));
}

#[test]
fn sync_tag_collision_is_error() {
    let world = World::new(&["caicloud/web:v1", "library/web:v1"], Script::default());
    world.write("two.list", "release/web:v1\nlibrary/web:v1\n");
    let to = format!("{}/same", world.release.host());
    let (code, out, error) = world.compass(&["sync", "--list", "two.list", "--to", &to]);
    assert_eq!(code, 2, "{out}{error}");
    for named in ["caicloud/web:v1", "library/web:v1", "same/web:v1", "omit the project"] {
        assert!(error.contains(named), "{error}");
    }
    assert!(!world.has("same/web:v1"));
    let (code, out, error) =
        world.compass(&["sync", "--list", "two.list", "--to", &world.release.host()]);
    assert_eq!(code, 0, "{out}{error}");
}

#[test]
fn sync_report_retries_failed_images() {
    let world = World::new(&["caicloud/a:v1", "caicloud/c:v1", "library/d:v2"], Script::default());
    world.write("lists/one.list", "# of one team\nrelease/a:v1\nrelease/b:v1\n");
    world.write("lists/two.list", "release/c:v1\nrelease/a:v1\nlibrary/d:v2\n");
    let sync = ["sync", "--list", "lists/*.list", "--report", "report.json"];
    let (code, out, error) = world.compass(&sync);
    assert_eq!(code, 3, "{out}{error}");
    assert!(error.contains("caicloud/b:v1"), "{error}");
    assert!(out.ends_with(" s\n") && out.contains("3 copied ("), "{out}");
    assert!(["release/a:v1", "release/c:v1", "library/d:v2"].iter().all(|one| world.has(one)));
    let report = world.json("report.json");
    let results: Vec<_> =
        report["images"].as_array().unwrap().iter().map(|image| &image["result"]).collect();
    assert_eq!(results, ["copied", "failed", "copied", "copied"], "{report:#}");
    assert!(report["images"][1]["error"]["message"].as_str().unwrap().contains("b:v1"));

    // After a push of the missing image, the report lists the remaining work.
    world.push("caicloud/b:v1");
    let before = world.source.requests();
    let again = ["sync", "--list", "report.json", "--report", "report.json", "--format", "json"];
    let (code, out, error) = world.compass(&again);
    assert_eq!(code, 0, "{out}{error}");
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&result["arrived"], &result["there"]), (&1.into(), &0.into()), "{out}");
    assert_eq!(result, world.json("report.json"));
    assert!(world.has("release/b:v1") && world.source.requests() > before);

    let (code, out, log) =
        world.compass(&["sync", "--list", "lists/one.list", "--color", "never", "-vv"]);
    assert_eq!(code, 0);
    assert!(!log.is_empty() && !log.contains('\u{1b}'), "{log}");
    assert!(out.contains("0 copied (0 B), 2 already present, 0 failed"), "{out}");
}

#[test]
fn sync_dry_run_prints_sizes() {
    let world = World::new(&["caicloud/a:v1", "caicloud/b:v1"], Script::default());
    world.write("one.list", "release/a:v1\nrelease/b:v1\n");
    let (code, out, _) = world.compass(&["sync", "--list", "one.list", "--dry-run"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("2 to copy (98.12 KiB)"), "the shared layer counts once: {out}");
    assert!(!world.has("release/a:v1") && world.source.blob_bytes() == 0);
}

#[test]
fn sync_retries_are_counted() {
    let faults = Script(vec![(2, Fault::Status(502)), (4, Fault::Status(503))]);
    let world = World::new(&["caicloud/a:v1"], faults);
    world.write("one.list", "release/a:v1\n");
    let (code, out, error) =
        world.compass(&["sync", "--list", "one.list", "--format", "json", "-vvv"]);
    assert_eq!(code, 0, "{error}");
    let result: Value = serde_json::from_str(&out).unwrap();
    assert!(result["retries"].as_u64().unwrap() >= 2, "{out}");
    assert!(world.has("release/a:v1"));
}

#[test]
fn sync_invalid_list_names_location() {
    let world = World::new(&[], Script::default());
    world.write("bad.list", "release/a:v1\nrelease/not an image\n");
    world.write("worse.list", "release/not an image\nrelease/a:v1\n/\n");
    for (list, fragment) in [
        ("bad.list", "bad.list:2"),
        ("worse.list", "worse.list:1: `release/not an image`"),
        ("worse.list", "worse.list:3: `/`"),
        ("gone.list", "there is no list `gone.list`"),
        ("gone/*.list", "there is no list `gone/*.list`"),
        ("[", "is not a file name or pattern"),
    ] {
        let (code, out, error) = world.compass(&["sync", "--list", list]);
        assert_eq!(code, 2, "{list}: {out}");
        assert!(error.contains(fragment), "{list}: {error}");
    }
    world.write("other.json", r#"{"format": "something", "images": []}"#);
    let (code, _, error) = world.compass(&["sync", "--list", "other.json"]);
    assert_eq!(code, 2);
    assert!(error.contains("is not a report of `sync`"), "{error}");
    let report = r#"{"format": "compass-sync-report-1", "images": [{"source": "Oh no",
        "release": "a.b/c:d", "result": "failed"}]}"#;
    world.write("odd.json", &format!("\u{feff}{report}"));
    let (code, _, error) = world.compass(&["sync", "--list", "odd.json"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("odd.json is not a report of `sync`") && error.contains("Oh no"),
        "{error}"
    );
}

#[test]
fn sync_report_keeps_platforms_and_registries() {
    let world = World::new(&["caicloud/a:v1"], Script::default());
    world.write("one.list", "release/a:v1\nrelease/b:v1\n");
    let first = ["sync", "--list", "one.list", "--platform", "linux/arm64", "--report", "r.json"];
    assert_eq!(world.compass(&first).0, 3);
    assert_eq!(world.json("r.json")["platforms"], serde_json::json!(["linux/arm64"]));

    let (code, _, error) = world.compass(&["sync", "--list", "r.json", "--list", "one.list"]);
    assert_eq!(code, 2);
    assert!(error.contains("different platforms") && error.contains("--platform"), "{error}");

    world.push("elsewhere/b:v1");
    let from = format!("{}/elsewhere", world.source.host());
    let again = ["sync", "--list", "r.json", "--from", &from, "--report", "again.json"];
    let (code, out, error) = world.compass(&again);
    assert_eq!(code, 0, "{out}{error}");
    assert!(world.has("release/b:v1"));
    assert_eq!(world.json("again.json")["platforms"], serde_json::json!(["linux/arm64"]));

    let all = ["sync", "--list", "r.json", "--from", &from, "--platform", "all"];
    let (code, out, error) = world.compass(&[&all[..], &["--report", "all.json"]].concat());
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(world.json("all.json")["platforms"], serde_json::json!([]));
}

#[test]
fn sync_empty_list_is_error() {
    let world = World::new(&["caicloud/a:v1"], Script::default());
    world.write("empty.list", "# nothing\n\n");
    let (code, _, error) = world.compass(&["sync", "--list", "empty.list"]);
    assert!(code == 2 && error.contains("`empty.list` names no image"), "{error}");

    world.write("one.list", "release/a:v1\nrelease/gone:v1\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.command(&["sync", "--list", "one.list", "--report", "r.json"]);
    assert_eq!(command.stdout(writer).status().unwrap().code(), Some(3));
    assert_eq!(world.json("r.json")["failed"], 1);
}

#[test]
fn sync_platform_subset_reports_new_digest() {
    let world = World::new(&[], Script::default());
    let index = world.push_index("caicloud/multi", &["amd64", "arm64"]);
    world.write("one.list", &format!("release/multi@{index}\n"));
    let sync = ["sync", "--list", "one.list", "--platform", "linux/arm64", "--format", "json"];
    let (code, out, error) = world.compass(&sync);
    assert_eq!(code, 0, "{out}{error}");
    let result: Value = serde_json::from_str(&out).unwrap();
    let (release, digest) = (&result["images"][0]["release"], &result["images"][0]["digest"]);
    let name = release.as_str().unwrap().rsplit_once('/').unwrap().1;
    assert_eq!(name, format!("multi@{}", digest.as_str().unwrap()));
    assert_ne!(name, format!("multi@{index}"));
}

#[test]
fn sync_moved_tag_warns() {
    let world = World::new(&["caicloud/web:v1"], Script::default());
    world.write("one.list", "release/web:v1\n");
    let sync = ["sync", "--list", "one.list", "--format", "json"];
    let (_, out, error) = world.compass(&sync);
    let first: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&first["images"][0]["replaced"], error.as_str()), (&Value::Null, ""));
    // The tag exists with another image, so it is not moved by default.
    world.push_index("caicloud/web", &["v1"]);
    for (more, result, code) in [("error", "failed", 1), ("keep", "kept", 0)] {
        for dry in [&["--dry-run"][..], &[]] {
            let (exit, out, _) =
                world.compass(&[&sync[..], &["--on-existing-tag", more], dry].concat());
            let stayed: Value = serde_json::from_str(&out).unwrap();
            assert_eq!((exit, &stayed["images"][0]["result"]), (code, &result.into()), "{out}");
            assert_eq!(stayed["bytes"], 0, "{out}");
        }
    }
    let sync = [&sync[..], &["--on-existing-tag", "move"]].concat();
    for (more, says) in [(&["--dry-run"][..], "would be moved"), (&[], "was moved")] {
        let (code, out, error) = world.compass(&[&sync[..], more].concat());
        let moved: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &moved["images"][0]["replaced"]), (0, &first["images"][0]["digest"]));
        let says = format!("/release/web:v1: the tag {says} from sha256:");
        assert!(error.contains(&says), "{error}");
    }
}

#[test]
fn sync_equal_lines_are_copied_once() {
    let world = World::new(&["caicloud/web:latest"], Script::default());
    world.write("one.list", "release/web:latest\n release/web:latest\n");
    let (code, out, error) = world.compass(&["sync", "--list", "one.list"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.starts_with("127") && out.contains("/release/web:latest sha256:"), "{out}");
    assert!(out.contains("1 copied") && world.has("release/web:latest"), "{out}");
}

#[test]
fn sync_other_platform_warns() {
    let world = World::new(&[], Script::default());
    world.push_index("caicloud/multi", &["arm64"]);
    world.write("one.list", "release/multi:arm64\n");
    let sync = ["sync", "--list", "one.list", "--platform", "linux/s390x", "--report", "r.json"];
    let planned = world.compass(&[&sync[..5], &["--dry-run"]].concat());
    let (code, _, error) = world.compass(&sync);
    assert_eq!((planned.0, code), (0, 0), "{error}");
    for error in [planned.2, error] {
        assert!(error.contains("release/multi:arm64 is not for linux/s390x"), "{error}");
    }
    assert_eq!(world.json("r.json")["images"][0]["lacks"], serde_json::json!(["linux/s390x"]));

    // A second run prints the same warning.
    let (code, _, error) = world.compass(&sync);
    assert_eq!(code, 0);
    assert!(error.contains("release/multi:arm64 is not for linux/s390x"), "{error}");
    let again = world.json("r.json");
    assert_eq!(again["images"][0]["result"], "there");
    assert_eq!(again["images"][0]["lacks"], serde_json::json!(["linux/s390x"]));
}

#[test]
fn sync_missing_nondistributable_layer_warns() {
    let world = World::new(&[], Script::default());
    let layer = world.push_without_base("caicloud/windows:v1").to_string();
    world.write("one.list", "release/windows:v1\n");
    for result in ["copied", "there"] {
        let sync = ["sync", "--list", "one.list", "--report", "r.json"];
        let (code, _, error) = world.compass(&sync);
        assert_eq!(code, 0, "{error}");
        assert!(error.contains(&format!("non-distributable layer {layer}")), "{error}");
        let report = world.json("r.json");
        assert_eq!(report["images"][0]["result"], result, "{report}");
        assert_eq!(report["images"][0]["unavailable"], serde_json::json!([layer]));
    }
}

#[test]
fn sync_report_unwritable_fails_early() {
    let world = World::new(&["caicloud/a:v1"], Script::default());
    world.write("one.list", "release/a:v1\n");
    let sync = |report: &str| world.compass(&["sync", "--list", "one.list", "--report", report]);

    for (bad, fragment) in [("gone/r.json", "No such file"), (".", "directory")] {
        let (code, _, error) = sync(bad);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(fragment) && error.contains("cannot write"), "{error}");
    }
    assert!(!world.has("release/a:v1"), "nothing was begun");

    // The target of a link is replaced.
    std::fs::create_dir(world.path("reports")).unwrap();
    std::os::unix::fs::symlink("reports/today.json", world.path("link.json")).unwrap();
    assert_eq!(sync("link.json").0, 0);
    assert!(world.path("link.json").is_symlink());
    assert_eq!(world.json("reports/today.json")["arrived"], 1);

    // A device is written to.
    let (code, out, error) = sync("/dev/stdout");
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("already present") && out.contains("compass-sync-report-1"), "{out}");
}

#[test]
fn sync_report_to_pipe_is_written() {
    let world = World::new(&["caicloud/a:v1"], Script::default());
    world.write("one.list", "release/a:v1\n");
    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    let (code, _, error) = world.compass(&["sync", "--list", "one.list", "--report", "pipe"]);
    assert_eq!(code, 0, "{error}");
    let report: Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
    assert_eq!(report["arrived"], 1);
    assert!(pipe.metadata().unwrap().file_type().is_fifo());
}

#[test]
fn sync_trace_log_has_requests_and_no_secrets() {
    let world = World::new(&["caicloud/a:v1"], Script([(3, Fault::Status(503))].into()));
    world.write("all.list", "release/a:v1\n");
    // `compass` asserts that no password and no token is in the output.
    let (code, _, error) = world.compass(&["sync", "--list", "all.list", "-vvv"]);
    assert_eq!(code, 0, "{error}");
    for expected in
        ["retrying", "method=GET", "/v2/caicloud/a/manifests/v1", "token service", "status=201"]
    {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let (_, _, decisions) = world.compass(&["sync", "--list", "all.list", "-v"]);
    assert!(
        decisions.contains("already_present=true") && !decisions.contains("method="),
        "{decisions}"
    );
}
