//! Object storage: `package` and `publish` write to it, and other commands read from it.
//!
//! Needs `weed` of `seaweedfs` in `PATH` or in `COMPASS_S3_SERVER`. Without it, the tests are skipped,
//! unless `COMPASS_INTEROP=required` is set, as in CI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod documents;
mod kills;
#[path = "../machine/mod.rs"]
mod machine;
mod memory;
mod shards;
mod traffic;
mod world;

use std::process::Command;
use std::time::{Duration, Instant};

use compass_registry::testing::random_bytes;
use serde_json::Value;
use world::{BUNDLE, World};

#[test]
fn package_to_store_is_readable() {
    let Some(world) = World::required("readable") else { return };
    world.packaged("out");
    let stored = world.packaged(&world.store());
    let url = world.url();
    assert_eq!(stored["bundle"], url.as_str());
    assert_eq!(stored["sha256"], world.digest(&format!("out/{BUNDLE}")));
    let base = "plugins/demo/";
    assert_eq!(world.keys(), [format!("{base}{BUNDLE}"), format!("{base}{BUNDLE}.sha256")]);

    let again = world.packaged(&world.store());
    assert_eq!((&again["present"], &again["sha256"]), (&Value::Bool(true), &stored["sha256"]));
    let bundle = format!("out/{BUNDLE}");
    let published = world.json(&["publish", &bundle, "--to", &world.store()]);
    assert_eq!(published["present"], true);

    // The world asserts that no secret is in the output.
    let arguments = world.package(&world.store());
    let logged =
        [&arguments.iter().map(String::as_str).collect::<Vec<_>>()[..], &["-vvv"]].concat();
    let log = String::from_utf8_lossy(&world.run(&logged).stderr).into_owned();
    assert!(log.contains("object storage") && log.contains("method=GET"), "{log}");

    assert_eq!(world.json(&["inspect", &url]), world.json(&["inspect", &bundle]));
    assert_eq!(world.json(&["verify", &url])["holds"], true);
    assert_eq!(world.json(&["diff", &url, &bundle])["newBytes"], 0);
    world.json(&["extract", &url, "--yaml", "-o", "yaml"]);
    let manifest = std::fs::read(world.path("yaml/demo.yaml")).unwrap();
    assert_eq!(manifest, std::fs::read(world.path("repo/release-plugins/demo.yaml")).unwrap());
    let site = format!("{}/site", world.registry.host());
    let installed = world.json(&["install", &url, "--registry", &site]);
    assert_eq!(installed["images"].as_array().unwrap().len(), 1);

    let listed = world.json(&["store", "ls", &world.store()]);
    let listed = &listed["bundles"].as_array().unwrap()[..];
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["name"], &listed[0]["version"]), (&"demo".into(), &"v0.1.0".into()));
    assert_eq!((&listed[0]["sha256"], &listed[0]["url"]), (&stored["sha256"], &url.into()));
}

#[test]
fn publish_other_bytes_is_error() {
    let Some(world) = World::required("other") else { return };
    world.packaged("one");
    world.release(9);
    world.packaged("other");
    let (store, url) = (world.store(), world.url());
    let one = format!("one/{BUNDLE}");
    let published = world.json(&["publish", &one, "--to", &store]);
    assert_eq!(published["present"], false);
    let other = format!("other/{BUNDLE}");
    let output = world.run(&["publish", &other, "--to", &store]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains(&url) && error.contains("increase the version"), "{error}");
    let arguments = world.package(&store);
    let output = world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!output.status.success());
    assert_eq!(world.json(&["verify", &url])["sha256"], world.digest(&one));
}

#[test]
fn verify_remote_checksum_is_compared() {
    let Some(world) = World::required("checksum") else { return };
    let packaged = world.packaged("out");
    let bundle = world.path("out").join(BUNDLE);
    world.put(BUNDLE, Some(&bundle));
    let (stored, web) = (format!("{}/{BUNDLE}", world.store()), world.web(BUNDLE));
    let right = packaged["sha256"].as_str().unwrap();
    let wrong = right.chars().rev().collect::<String>();
    let states = [
        (Some(right), Value::Bool(true), true),
        (Some(&wrong), Value::Bool(false), false),
        (None, Value::Null, true),
    ];
    for (digest, checksum, holds) in states {
        let file = digest.map(|digest| world.write("checksum", &format!("{digest}  {BUNDLE}\n")));
        world.put(&format!("{BUNDLE}.sha256"), file.as_deref());
        for address in [&stored, &web] {
            let output = world.run(&["verify", address, "--format", "json"]);
            assert_eq!(output.status.success(), holds, "{address} with {digest:?}");
            let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&verified["checksum"], &verified["holds"]), (&checksum, &holds.into()));
        }
    }
}

#[test]
fn publish_existing_bundle_completes_checksum() {
    let Some(world) = World::required("completes") else { return };
    world.packaged("out");
    let (bundle, url, store) = (format!("out/{BUNDLE}"), world.url(), world.store());
    let publish = ["publish", &bundle, "--to", &store];
    world.json(&publish);
    let key = format!("plugins/demo/{BUNDLE}");
    world.put(&format!("{key}.sha256"), None);
    assert_eq!(world.json(&publish)["present"], true);
    assert_eq!(world.json(&["verify", &url])["checksum"], true, "it is written again");

    // The bundle was removed, and the checksum is of another file.
    world.put(&key, None);
    let stale = world.write("stale", &format!("{}  {BUNDLE}\n", "0a".repeat(32)));
    world.put(&format!("{key}.sha256"), Some(&stale));
    assert_eq!(world.json(&publish)["present"], false);
    assert_eq!(world.json(&["verify", &url])["checksum"], true, "it is replaced");

    // The checksum is right, and the bundle is another file.
    world.put(&key, Some(&world.write("other", "something else")));
    let output = world.run(&publish);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&url));
}

/// Kills a command 20 times at random times, and runs it to its end after that.
fn kill_and_finish(world: &World, arguments: &[&str], signal: &str) {
    let began = Instant::now();
    world.json(arguments);
    let longest = u64::try_from(began.elapsed().as_millis()).unwrap().max(2);
    let key = format!("plugins/demo/{BUNDLE}");
    let random = random_bytes(7, 8 * 1000);
    let mut waits = random.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
    let (mut kills, mut begun) = (0, 0);
    while kills < 20 {
        if world.keys().contains(&key) {
            world.put(&key, None);
        }
        let mut child = world.start(arguments);
        std::thread::sleep(Duration::from_millis(waits.next().unwrap() % longest));
        let is_running = child.try_wait().unwrap().is_none();
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).status();
        child.wait().unwrap();
        kills += u32::from(is_running);
        begun += world.uploads();
        if world.keys().contains(&key) {
            // The upload ended before the kill, so the object is complete.
            assert_eq!(world.json(&["verify", &world.url()])["holds"], true);
        }
    }
    assert!(begun > 0, "no kill left an unfinished upload");
    let stored = world.json(arguments);
    assert_eq!(world.json(&["verify", &world.url()])["sha256"], stored["sha256"]);
    assert_eq!(world.uploads(), 0, "unfinished uploads");
}

#[test]
fn publish_killed_often_continues() {
    let Some(world) = World::required("killed") else { return };
    world.packaged("out");
    let (bundle, store) = (format!("out/{BUNDLE}"), world.store());
    kill_and_finish(&world, &["publish", &bundle, "--to", &store], "-KILL");
}

#[test]
fn package_killed_often_continues() {
    let Some(world) = World::required("packaged") else { return };
    let arguments = world.package(&world.store());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    kill_and_finish(&world, &arguments, "-KILL");
}

#[test]
fn publish_interrupted_often_continues() {
    let Some(world) = World::required("interrupted") else { return };
    world.packaged("out");
    let (bundle, store) = (format!("out/{BUNDLE}"), world.store());
    kill_and_finish(&world, &["publish", &bundle, "--to", &store], "-INT");
}

#[test]
fn store_clean_removes_unfinished_uploads() {
    let Some(world) = World::required("cleaned") else { return };
    world.packaged("out");
    let (bundle, store) = (format!("out/{BUNDLE}"), world.store());
    for wait in (0..100).cycle().take(1000) {
        let mut child = world.start(&["publish", &bundle, "--to", &store]);
        std::thread::sleep(Duration::from_millis(10 * wait));
        child.kill().unwrap();
        child.wait().unwrap();
        if world.uploads() > 0 {
            break;
        }
        if !world.keys().is_empty() {
            world.put(&format!("plugins/demo/{BUNDLE}"), None);
        }
    }
    assert_eq!(world.uploads(), 1);
    let list = world.json(&["store", "clean", &store]);
    assert_eq!(list["uploads"], serde_json::json!([]), "it is younger than a day");
    let clean = ["store", "clean", &store, "--older-than", "0m"];
    let listed = world.json(&[&clean[..], &["--dry-run"]].concat());
    assert_eq!((listed["uploads"].as_array().unwrap().len(), world.uploads()), (1, 1));
    let cleaned = world.json(&clean);
    assert_eq!(cleaned["uploads"][0]["url"], world.url());
    assert_eq!(world.uploads(), 0);
}

#[test]
fn doctor_tests_storage() {
    let Some(world) = World::required("doctor") else { return };
    let tested = world.json(&["doctor", &world.store()]);
    assert_eq!(tested["usable"], true, "{tested}");
    let trials = tested["trials"].as_array().unwrap();
    assert!(trials.iter().all(|trial| trial["works"] == true), "{tested}");
    assert_eq!((world.keys(), world.uploads()), (Vec::new(), 0));
}

#[test]
fn publish_missing_store_is_error() {
    let Some(world) = World::required("missing") else { return };
    for (to, fragment) in
        [("s3://nobody/x", "nobody"), ("oss://releases", "OSS_ENDPOINT"), ("ftp://x", "ftp")]
    {
        let arguments = world.package(to);
        let output = world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(fragment), "{error}");
    }
}
