//! `sync`, `package` and `publish` fail for targets with errors.

use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

use super::BUNDLE;
use super::world::{Ran, World};

/// A world whose plugin `web` claims the slot and the port of another one.
fn with_conflict() -> World {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.add_plugin("web");
    world.add_plugin("log");
    let path = world.path("repo/release-plugins/log.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("system.log", "system.web")).unwrap();
    world
}

fn json(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.out).unwrap_or_else(|_| panic!("{}", ran.error))
}

#[test]
fn gate_target_with_errors_is_error() {
    let world = with_conflict();
    let to = format!("{}/other", world.registry.host());
    for command in [
        &["package", "plugin", "web", "-o", "out"][..],
        &["package", "plugin", "web", "--dry-run"],
        &["sync", "plugin", "web", "--from", &to, "--to", &to],
    ] {
        let ran = world.run(&[command, &["--repo", "repo"]].concat());
        assert_eq!(ran.code, 1, "{command:?}: {}", ran.error);
        assert!(ran.error.contains("(slot-conflict)"), "{}", ran.error);
        assert!(ran.error.contains("--no-check REASON"), "{}", ran.error);
    }
    assert!(!world.path("out").exists());
}

#[test]
fn gate_unrelated_errors_are_ignored() {
    let world = with_conflict();
    world.push("alone", &SampleImage::with_layers(vec![random_bytes(2, 1000)]));
    world.add_plugin("alone");
    let path = world.path("repo/release-plugins/alone.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("9001", "9009")).unwrap();
    let ran = world.package("alone", &["-o", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
}

#[test]
fn gate_no_check_reason_in_result() {
    let world = with_conflict();
    let no_check = ["--no-check", "agreed with the owners"];
    let package = [&["-o", "out", "--format", "json"][..], &no_check].concat();
    let ran = world.package("web", &package);
    assert_eq!((ran.code, &json(&ran)["unchecked"]), (0, &"agreed with the owners".into()));
    assert!(json(&ran)["warnings"][0].as_str().unwrap().contains("agreed with the owners"));
    let ran = world.package("web", &["-o", "out", "--no-check", " "]);
    assert_eq!(ran.code, 2, "{}", ran.error);

    let (bundle, store) =
        (format!("out/{BUNDLE}"), format!("file://{}", world.path("s").display()));
    let publish = ["publish", &bundle, "--to", &store, "--repo", "repo", "--format", "json"];
    let ran = world.run(&[&publish[..], &no_check, &["--allow-uncommitted"]].concat());
    assert_eq!((ran.code, &json(&ran)["unchecked"]), (0, &"agreed with the owners".into()));
}

#[test]
fn publish_uncommitted_bundle_is_error() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    let (bundle, store) =
        (format!("out/{BUNDLE}"), format!("file://{}", world.path("s").display()));
    let publish = ["publish", &bundle, "--to", &store, "--repo", "repo"];
    for ran in [world.run(&publish), world.package("web", &["-o", &store])] {
        assert_eq!(ran.code, 1, "{}", ran.error);
        assert!(ran.error.contains("--allow-uncommitted"), "{}", ran.error);
    }
    assert!(!world.path("s/plugins").exists());
    let ran = world.run(&[&publish[..], &["--allow-uncommitted"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.error);
    let ran = world.package("web", &["-o", &store, "--allow-uncommitted"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
}

#[test]
fn publish_bundle_with_errors_is_error() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    // The current policy of the repository applies, which is stricter now.
    let policy = world.path("repo/.compass.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("plugin-image-reference: off", "")).unwrap();
    let (bundle, store) =
        (format!("out/{BUNDLE}"), format!("file://{}", world.path("s").display()));
    let publish = ["publish", &bundle, "--to", &store, "--repo", "repo", "--allow-uncommitted"];
    let ran = world.run(&publish);
    assert_eq!(ran.code, 1, "{}", ran.error);
    assert!(ran.error.contains("(plugin-image-reference)"), "{}", ran.error);
    assert!(!world.path("s/plugins").exists());
}
