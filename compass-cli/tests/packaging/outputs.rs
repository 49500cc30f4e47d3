//! `extract` to stdout, and `verify` with several bundles.

use std::process::Command;

use compass_registry::Digest;
use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::{Value, json};

use super::world::{Ran, World};

const BUNDLE: &str = "out/compass-plugins-web-v1.0.0.tar.gz";

fn world() -> World {
    let world = World::new();
    world.push(
        "web",
        &SampleImage::with_layers(vec![random_bytes(1, 300_000), random_bytes(2, 20_000)]),
    );
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    world
}

fn parsed(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn assert_ran(ran: &Ran, code: i32, fragment: &str) {
    assert_eq!(ran.code, code, "{}", ran.error);
    assert!(ran.error.contains(fragment), "{}", ran.error);
}

#[test]
fn extract_unknown_image_is_suggested() {
    let world = world();
    assert_ran(&world.run(&["extract", BUNDLE, "--image", "eb"]), 2, "did you mean `web`?");
}

#[test]
fn extract_image_names_its_tag() {
    let world = world();
    let ran = world.run(&["extract", BUNDLE, "--image", "web", "-o", "images/"]);
    assert_ran(&ran, 0, "");
    assert!(world.path("images/web-v1-image.tar.gz").is_file());
    // The same image in a package of another tool.
    let ran =
        world.run(&["extract", "images/web-v1-image.tar.gz", "--image", "web", "-o", "more/"]);
    assert_ran(&ran, 0, "");
    assert!(world.path("more/web-v1-image.tar.gz").is_file());
}

#[test]
fn extract_to_stdout_writes_same_bytes() {
    let world = world();
    let archive = world.inspect(BUNDLE)["files"][1]["path"].as_str().unwrap().to_owned();
    assert_ran(&world.run(&["extract", BUNDLE, "--image", "web", "-o", "web.tar.gz"]), 0, "");
    for (bundle, arguments, expected) in [
        (BUNDLE, ["--image", "web"], "web.tar.gz"),
        (BUNDLE, ["--file", &archive], "web.tar.gz"),
        (BUNDLE, ["--file", "web.yaml"], "repo/release-plugins/web.yaml"),
    ] {
        let ran = world.run(&[&["extract", bundle, "-o", "-"], &arguments[..]].concat());
        assert_ran(&ran, 0, "");
        let expected = std::fs::read(world.path(expected)).unwrap();
        assert!(ran.out == expected, "other bytes of {arguments:?}");
    }
    // The archive of a foreign image is written again, to a file as well as to stdout.
    let [to_file, to_stdout] = ["again.tar.gz", "-"]
        .map(|to| world.run(&["extract", "web.tar.gz", "--image", "web", "-o", to]));
    assert_ran(&to_file, 0, "");
    assert_ran(&to_stdout, 0, "");
    assert!(to_stdout.out == std::fs::read(world.path("again.tar.gz")).unwrap(), "other bytes");
    assert!(!world.path("-").exists());
}

#[test]
fn extract_to_stdout_prints_json_on_stderr() {
    let world = world();
    let json = ["--format", "json"];
    let arguments = ["extract", BUNDLE, "--image", "web", "-o", "-"];
    let ran = world.run(&[&json[..], &arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.error);
    let printed = parsed(ran.error.as_bytes());
    assert_eq!((&printed["paths"], &printed["size"]), (&json!(["-"]), &json!(ran.out.len())));
    let ran = world.run(&[&json[..], &["extract", BUNDLE, "--image", "api", "-o", "-"]].concat());
    assert_eq!((ran.code, ran.out.len()), (2, 0), "{}", ran.error);
    assert!(parsed(ran.error.as_bytes())["error"]["message"].is_string());
}

#[test]
fn extract_several_to_stdout_is_error() {
    let world = world();
    for arguments in [&[][..], &["--yaml"], &["--image", "web", "--layout"]] {
        let ran = world.run(&[&["extract", BUNDLE, "-o", "-"], arguments].concat());
        assert_ran(&ran, 2, "cannot write several files to stdout");
        assert_eq!(ran.out, b"");
    }
}

#[test]
fn verify_several_reports_each() {
    let world = world();
    let mut damaged = std::fs::read(world.path(BUNDLE)).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(world.path("damaged.tar.gz"), damaged).unwrap();
    std::fs::create_dir(world.path("directory")).unwrap();
    for (bundles, code, holds) in [
        (&[BUNDLE, BUNDLE][..], 0, &[true, true][..]),
        (&["damaged.tar.gz", BUNDLE], 1, &[false, true]),
        (&[BUNDLE, "directory", "damaged.tar.gz"], 1, &[true, false, false]),
        (&["lost.tar.gz", BUNDLE, "damaged.tar.gz"], 3, &[false, true, false]),
    ] {
        let ran = world.run(&[&["--format", "json", "verify"], bundles].concat());
        assert_eq!(ran.code, code, "{bundles:?}: {}", ran.error);
        let printed = parsed(&ran.out);
        let each = printed["bundles"].as_array().unwrap();
        let found: Vec<_> = each.iter().map(|one| one["holds"].as_bool().unwrap()).collect();
        assert_eq!(found, holds, "{printed:#}");
        let names: Vec<_> = each.iter().map(|one| one["bundle"].as_str().unwrap()).collect();
        assert_eq!(names, bundles, "{printed:#}");
        assert_eq!(printed["holds"], code == 0, "{printed:#}");
        assert_eq!(printed["warnings"], json!([]));

        let ran = world.run(&[&["verify"], bundles].concat());
        assert_eq!(ran.code, code, "{}", ran.error);
        let text = String::from_utf8(ran.out).unwrap();
        let verified = holds.iter().filter(|holds| **holds).count();
        assert!(text.ends_with(&format!("{verified} of {} verified\n", bundles.len())), "{text}");
    }
    let ran = world.run(&["verify", "directory", BUNDLE]);
    assert_ran(&ran, 1, "it is a directory: archive it");
    let ran = world.run(&["--format", "json", "verify", BUNDLE]);
    assert_eq!(parsed(&ran.out)["holds"], true, "one has an object of its own");
}

#[test]
fn foreign_package_unread_parts_warn() {
    let world = world();
    let ran = world.run(&["extract", BUNDLE, "--image", "web", "--layout", "-o", "layout"]);
    assert_ran(&ran, 0, "");
    let index = world.path("layout/index.json");
    let mut listed = parsed(&std::fs::read(&index).unwrap());
    let other = json!({"mediaType": "text/plain", "size": 1, "digest": Digest::of(b"x")});
    listed["manifests"].as_array_mut().unwrap().push(other);
    std::fs::write(index, listed.to_string()).unwrap();
    let arguments = ["-cf", "../layout.tar", "."];
    let archived = Command::new("tar").args(arguments).current_dir(world.path("layout")).status();
    assert!(archived.unwrap().success());
    for arguments in [
        &["inspect", "layout.tar"][..],
        &["verify", "layout.tar"],
        &["verify", "layout.tar", BUNDLE],
        &["diff", "layout.tar", BUNDLE],
    ] {
        let ran = world.run(arguments);
        assert_ran(&ran, 0, "with the media type `text/plain`, which is not an image");
        let ran = world.run(&[&["--format", "json"], arguments].concat());
        let warnings = parsed(&ran.out)["warnings"].to_string();
        assert!(warnings.contains("which is not an image"), "{arguments:?}: {warnings}");
    }
}
