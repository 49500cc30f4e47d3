//! `compass package`, and the commands that read its bundles, with one registry.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod gate;
mod history;
mod image_set;
mod lying_server;
#[path = "../machine/mod.rs"]
mod machine;
mod outputs;
mod platforms;
mod recompress;
mod serving;
mod serving_changes;
mod world;

use std::os::unix::fs::FileTypeExt as _;
use std::process::{Command, Stdio};

use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::{Value, json};

use machine::SmallDisk;
use world::{World, ran};

const BUNDLE: &str = "compass-plugins-web-v1.0.0.tar.gz";

#[test]
fn package_to_stream_writes_same_bytes() {
    let world = World::new();
    let image = SampleImage::with_layers(vec![random_bytes(1, 900_000), random_bytes(2, 70_000)]);
    world.push("web", &image);
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    let bundle = std::fs::read(world.path("out").join(BUNDLE)).unwrap();

    let streamed = world.package("web", &["-o", "-", "--format", "json"]);
    assert_eq!(streamed.code, 0, "{}", streamed.error);
    assert!(streamed.out == bundle, "other bytes");
    let printed: Value = serde_json::from_str(&streamed.error).unwrap();
    assert_eq!((&printed["bundle"], &printed["size"]), (&json!("-"), &json!(bundle.len())));
    assert!(!world.path("-").exists());

    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    let piped = world.package("web", &["-o", "pipe"]);
    assert_eq!((piped.code, piped.out.len()), (0, 0), "{}", piped.error);
    assert!(reader.join().unwrap() == bundle, "other bytes");
    assert!(pipe.metadata().unwrap().file_type().is_fifo(), "it is still a pipe");
}

#[test]
fn package_closed_stdout_is_error() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 4_000_000)]));
    world.add_plugin("web");
    let arguments = ["package", "plugin", "web", "--repo", "repo", "-o", "-"];
    let mut child = world.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn package_product_missing_file_is_error() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.write("repo/images-lists/a.list", "release/web:v1\n");
    world.write("repo/install.sh", "#!/bin/sh\n");
    world.write(
        "repo/addons/a/web.yaml",
        "_config: {_metadata: {name: web, version: v1}, controllers: []}\n",
    );
    let package = |lists: &str, addons: &str, file: &str| {
        let manifest = format!(
            "metadata: {{name: compass}}\nspec:\n  version: 2.7.0\n  imageLists: ['{lists}']\n  \
             addons: {addons}\n  files:\n  - {file}\n"
        );
        world.write("repo/release-products/v2.7.0.yaml", &manifest);
        world.run(&["package", "product", "v2.7.0", "--repo", "repo", "-o", "out"])
    };
    let (list, script) = ("images-lists/*.list", "{source: install.sh, path: install.sh}");
    for (lists, addons, file, fragment) in [
        ("image-lists/*.list", "addons", script, "`image-lists/*.list` matches no image list"),
        (list, "adons", script, "the addon directory `adons` is empty"),
        (list, "addons", "{source: run.sh, path: run.sh}", "there is no file `run.sh`"),
        (
            list,
            "addons",
            "{source: install.sh, path: ../install.sh}",
            "v2.7.0.yaml:7: `../install.sh` is not a path",
        ),
        (
            list,
            "addons",
            "{source: install.sh, path: install.sh, mode: '4755'}",
            "v2.7.0.yaml:7: the mode 4755 of install.sh has bits other than permissions",
        ),
    ] {
        let ran = package(lists, addons, file);
        assert_eq!(ran.code, 1, "{}", ran.error);
        assert!(ran.error.contains(fragment), "{fragment}: {}", ran.error);
    }
    let ran = package(list, "addons", script);
    assert_eq!(ran.code, 0, "{}", ran.error);
}

#[test]
fn package_product_parses_repository_once() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.write("repo/images-lists/a.list", "release/web:v1\n");
    let manifest =
        "metadata: {name: compass}\nspec: {version: 2.7.0, imageLists: [images-lists/a.list]}\n";
    world.write("repo/release-products/v2.7.0.yaml", manifest);
    let target = ["product", "v2.7.0", "--repo", "repo", "-vv"];
    for command in [&["package", "-o", "out"][..], &["images"]] {
        let ran = world.run(&[command, &target].concat());
        assert_eq!(ran.code, 0, "{command:?}: {}", ran.error);
        let parsed = ran.error.matches("parse the release repository").count();
        assert_eq!(parsed, 1, "{command:?}: {}", ran.error);
    }
}

#[test]
fn incomplete_target_is_not_released() {
    let world = World::new();
    let manifest = "release-products/v2.7.0.yaml";
    let product = |more: &str| {
        format!("metadata: {{name: compass}}\nspec:\n  version: 2.7.0\n  addons: addons\n{more}")
    };
    let values = |image: &str| {
        format!(
            "_config:\n  _metadata: {{name: api, version: v1.0.0}}\n  controllers:\n  - type: \
             Deployment\n    containers:\n    - name: api\n{image}"
        )
    };
    let addon = "addons/default/console/api/values.yaml";
    let good = values("      image: '[[ registry_release ]]/web:v1'\n");
    let overlay = "overlays/default/console/api/values.yaml";
    world.write("repo/.compass.yaml", "version: 1\nproducts: {overlays: [overlays]}\n");
    for (path, text, fragment) in [
        (addon, values("      image: [[ registry_release ]]/web:v1\n"), "api/values.yaml:7"),
        (addon, values("      image: '[[ registry_release ]]'\n"), "api/values.yaml:7"),
        (addon, values("      image: ''\n"), "container-without-image"),
        (overlay, values("      image: [[ registry_release ]]/web:v1\n"), "overlays/default"),
        (manifest, product("  imageLists: images-lists/a.list\n"), "wrong-type"),
        (manifest, product("  imagelists: [images-lists/a.list]\n"), "unknown-field"),
        (manifest, product("  files: [{source: install.sh}]\n"), "missing-field"),
    ] {
        world.write("repo/install.sh", "#!/bin/sh\n");
        world.write("repo/images-lists/a.list", "release/web:v1\n");
        world.write(&format!("repo/{addon}"), &good);
        world.write(&format!("repo/{overlay}"), &good);
        world.write(&format!("repo/{manifest}"), &product("  imageLists: [images-lists/a.list]\n"));
        world.write(&format!("repo/{path}"), &text);
        for command in [&["package", "-o", "out"][..], &["sync"], &["images"]] {
            let target = ["product", "v2.7.0", "--repo", "repo"];
            let ran = world.run(&[&command[..1], &target, &command[1..]].concat());
            assert_eq!(ran.code, 1, "{fragment}, {command:?}: {}", ran.error);
            assert!(ran.error.contains(fragment), "{fragment}, {command:?}: {}", ran.error);
        }
    }
}

/// Packages the plugin `web`, whose image has a layer of 300 KB.
fn bundle_of(world: &World) -> Vec<u8> {
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 300_000)]));
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    std::fs::read(world.path("out").join(BUNDLE)).unwrap()
}

#[test]
fn damaged_bundle_error_names_the_bundle() {
    let world = World::new();
    let good = bundle_of(&world);
    let mut damaged = good.clone();
    damaged[good.len() - 100_000] ^= 1;
    std::fs::write(world.path("damaged.tar.gz"), damaged).unwrap();
    std::fs::write(world.path("cut.tar.gz"), &good[..good.len() - 100_000]).unwrap();
    let (site, store) = (format!("{}/site", world.registry.host()), world.path("store"));
    let store = format!("file://{}", store.display());
    let anyway = ["--repo", "repo", "--allow-uncommitted"];
    for (arguments, fragment) in [
        (&[&["publish", "damaged.tar.gz", "--to", &store][..], &anyway].concat()[..], "is damaged"),
        (&["install", "damaged.tar.gz", "--registry", &site], "is damaged at bytes"),
        (
            &[&["publish", "cut.tar.gz", "--to", &store][..], &anyway].concat(),
            "the file is truncated",
        ),
        (&["install", "cut.tar.gz", "--registry", &site], "the file is truncated"),
        (&["inspect", "cut.tar.gz"], "the file is truncated"),
    ] {
        let ran = world.run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.error);
        assert!(ran.error.contains(fragment), "{arguments:?}: {}", ran.error);
        assert!(ran.error.contains("copy or download the bundle again"), "{}", ran.error);
    }
    assert!(!world.path("store/plugins").exists());
    let verified = world.run(&["verify", "cut.tar.gz", "--quick", "--format", "json"]);
    let proof: Value = serde_json::from_slice(&verified.out).unwrap();
    assert_eq!((verified.code, &proof["holds"]), (1, &json!(false)));
    assert!(
        proof["damages"][0]["what"].as_str().unwrap().contains("the file is truncated"),
        "{proof}"
    );
    let mut renamed = good;
    let name = b"release/web:v1";
    let at = renamed.windows(name.len()).position(|bytes| bytes == name).unwrap();
    renamed[at] = b'!';
    std::fs::write(world.path("renamed.tar.gz"), renamed).unwrap();
    let inspected = world.run(&["inspect", "renamed.tar.gz"]);
    assert_eq!(inspected.code, 1, "{}", inspected.error);
    assert!(inspected.error.contains("bundle.json: "), "{}", inspected.error);
}

#[test]
fn install_warns_of_tags_and_images() {
    let world = World::new();
    bundle_of(&world);
    let site = format!("{}/site", world.registry.host());
    let install = ["install", &format!("out/{BUNDLE}"), "--registry", &site];
    let first = world.run(&install);
    let left = "left to do: hand over web.yaml (`--output`, `--apply` or `--plugin-center`)\n";
    assert_eq!((first.code, first.error.as_str()), (0, left));
    world.push("web", &SampleImage::with_layers(vec![random_bytes(2, 100)]));
    assert_eq!(world.package("web", &["-o", "new"]).code, 0);
    let new = format!("new/{BUNDLE}");
    let again = ["install", &new, "--registry", &site, "--on-existing-tag"];
    let refused = world.run(&again[..4]);
    assert_eq!(refused.code, 1, "{}", refused.error);
    assert!(refused.error.contains("site/web:v1 exists with digest sha256:"), "{}", refused.error);
    let kept = world.run(&[&again[..], &["keep"]].concat());
    assert_eq!(kept.code, 0, "{}", kept.error);
    assert!(String::from_utf8_lossy(&kept.out).contains("(kept; not copied: sha256:"));
    let again = world.run(&[&again[..], &["move"]].concat());
    assert_eq!(again.code, 0, "{}", again.error);
    assert!(
        again.error.contains("/site/web:v1: the tag was moved from sha256:"),
        "{}",
        again.error
    );
    let sh = |script: &str| {
        let mut sh = Command::new("sh");
        assert!(sh.current_dir(world.path("")).args(["-ec", script]).status().unwrap().success());
    };
    let stem = BUNDLE.trim_end_matches(".tar.gz");
    sh(&format!(
        "tar xzf new/{BUNDLE}; rm {stem}/bundle.json; sed -i s,web:v1,absent:v9, {stem}/web.yaml
         tar czf old.tar.gz {stem}"
    ));
    let old = world.run(&["install", "old.tar.gz", "--registry", &site]);
    assert_eq!(old.code, 0, "{}", old.error);
    assert!(old.error.contains("absent:v9, which is not in the bundle"), "{}", old.error);
}

#[test]
fn hotfix_ambiguous_name_needs_path() {
    let world = World::new();
    let values = "_config:\n  _metadata: {name: web, version: v2.7.0-20180605-p1}\n  controllers:\n  \
                  - type: Deployment\n    containers:\n    - name: web\n      image: \
                  '[[ registry_release ]]/web:v1'\n";
    let package = |base: &str| format!("release-hotfixes/{base}/web-v2.7.0-20180605-p1");
    for base in ["v2.7.0", "v2.7.1"] {
        world.write(&format!("repo/{}/default/console/web/values.yaml", package(base)), values);
    }
    let images = |name: &str| world.run(&["images", "hotfix", name, "--repo", "repo"]);
    let both = images("web-v2.7.0-20180605-p1");
    assert_eq!(both.code, 2, "{}", both.error);
    assert!(both.error.contains("several hotfixes are named"), "{}", both.error);
    assert!(both.error.contains(&package("v2.7.1")), "{}", both.error);
    let one = images(&package("v2.7.1"));
    assert_eq!(one.code, 0, "{}", one.error);
    let none = images("api-v2.7.0-20180605-p1");
    assert!(none.error.contains("hotfixes here: release-hotfixes/v2.7.0/"), "{}", none.error);
}

#[test]
fn extract_existing_file_is_error() {
    let world = World::new();
    bundle_of(&world);
    let extract = ["extract", &format!("out/{BUNDLE}"), "--yaml", "-o", "yaml"];
    assert_eq!(world.run(&extract).code, 0);
    let ran = world.run(&extract);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("web.yaml already exists\n"), "{}", ran.error);
    assert!(ran.error.contains("choose another path"), "{}", ran.error);
}

#[test]
fn diff_shows_times_and_modes() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.write("repo/images-lists/a.list", "release/web:v1\n");
    world.write("repo/install.sh", "#!/bin/sh\n");
    for (mode, out, time) in [("0755", "one", "0"), ("0644", "other", "86400")] {
        let manifest = format!(
            "metadata: {{name: compass}}\nspec:\n  version: 2.7.0\n  imageLists: \
             [images-lists/a.list]\n  files:\n  - {{source: install.sh, path: install.sh, mode: \
             '{mode}'}}\n"
        );
        world.write("repo/release-products/v2.7.0.yaml", &manifest);
        let arguments = ["package", "product", "v2.7.0", "--repo", "repo", "-o", out];
        let packaged = ran(world.command(&arguments).env("SOURCE_DATE_EPOCH", time));
        assert_eq!(packaged.code, 0, "{}", packaged.error);
    }
    let bundle = |out| format!("{out}/compass-v2.7.0.tar.gz");
    let diff = ["diff", &bundle("one"), &bundle("other")];
    let shown = String::from_utf8(world.run(&diff).out).unwrap();
    assert!(shown.starts_with("~ bundle.json\n    modified: 0 -> 86400\n"), "{shown}");
    assert!(shown.contains("~ install.sh\n    mode: 0755 -> 0644\n"), "{shown}");
    let ran = world.run(&[&diff[..], &["--format", "json"]].concat());
    let compared: Value = serde_json::from_slice(&ran.out).unwrap();
    let modified = json!([{"path": "modified", "old": "0", "new": "86400"}]);
    assert_eq!(compared["document"], modified);
    let script = &compared["files"][0];
    assert_eq!((&script["oldMode"], &script["newMode"]), (&json!("0755"), &json!("0644")));
}

#[test]
fn source_date_epoch_too_large_fails() {
    let world = World::new();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(1, 1000)]));
    world.add_plugin("web");
    for (epoch, code) in [("8589934591", 0), ("8589934592", 2), ("-1", 2), ("soon", 2)] {
        let mut command =
            world.command(&["package", "plugin", "web", "--repo", "repo", "-o", "out"]);
        let ran = ran(command.env("SOURCE_DATE_EPOCH", epoch));
        assert_eq!(ran.code, code, "{epoch}: {}", ran.error);
        assert!(code == 0 || ran.error.contains("SOURCE_DATE_EPOCH"), "{}", ran.error);
    }
}

#[test]
fn extract_image_by_path_or_digest() {
    let world = World::new();
    let image = SampleImage::with_layers(vec![random_bytes(1, 30_000)]);
    world.push("web", &image);
    world.add_plugin("web");
    let packaged = world.package("web", &["-o", "out", "--no-copy"]);
    assert_eq!(packaged.code, 0, "{}", packaged.error);
    assert!(packaged.error.contains("`--no-copy` has no effect"), "{}", packaged.error);
    let bundle = format!("out/{BUNDLE}");
    let archive = world.inspect(&bundle)["files"][1]["path"].as_str().unwrap().to_owned();
    let digest = image.manifest.digest().to_string();
    for (arguments, target) in [
        (["--file", &archive, "-o", "by-path.tar.gz"], "by-path.tar.gz"),
        (["--image", &digest, "-o", "by-digest.tar.gz"], "by-digest.tar.gz"),
        (["--file", "bundle.json", "-o", "document.json"], "document.json"),
        (["--image", "web", "-o", "."], "web-v1-image.tar.gz"),
        (["--image", "web", "--layout", "--quiet"], "web/index.json"),
    ] {
        let ran = world.run(&[&["extract", &bundle], &arguments[..]].concat());
        assert_eq!(ran.code, 0, "{}", ran.error);
        assert!(world.path(target).is_file(), "{target}");
    }
    let whole = world.run(&["extract", &bundle, "-o", "whole"]);
    assert_eq!(whole.code, 0, "{}", whole.error);
    let inside = format!("whole/{}/{archive}", BUNDLE.trim_end_matches(".tar.gz"));
    let expected = std::fs::read(world.path(&inside)).unwrap();
    assert!(std::fs::read(world.path("by-path.tar.gz")).unwrap() == expected, "other bytes");
    assert!(std::fs::read(world.path("by-digest.tar.gz")).unwrap() == expected, "other bytes");
    let document = std::fs::read(world.path("document.json")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    let mut inspected = world.inspect(&bundle);
    for field in ["digest", "warnings"] {
        inspected.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(document, inspected);
}

#[test]
fn extract_layout_full_disk_removes_temporaries() {
    let world = World::new();
    world
        .push("web", &SampleImage::with_layers((1..5).map(|n| random_bytes(n, 3 << 20)).collect()));
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    let small = world.path("small");
    std::fs::create_dir(&small).unwrap();
    let Some(disk) = SmallDisk::mount(&small, "4m") else { return };
    let bundle = format!("out/{BUNDLE}");
    let ran = world.run(&["extract", &bundle, "--image", "web", "--layout", "-o", "small/layout"]);
    let found = Command::new("find").arg(&small).args(["-name", ".*"]).output().unwrap();
    drop(disk);
    assert_eq!(ran.code, 3, "{}", ran.error);
    assert!(ran.error.contains("No space left"), "{}", ran.error);
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
