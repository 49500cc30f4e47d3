//! Receipts, names and values that are unusual, damaged or hostile.

use compass_registry::testing::SampleImage;
use serde_json::Value;

use super::registry::{Fault, SiteRegistry};
use super::world::{Ran, ran};
use super::{Site, VALUES, product};

impl Site {
    fn rollback(&self, more: &[&str]) -> Ran {
        let rollback =
            ["install", "--rollback", "gpu", "--registry", &self.place, "--receipts", "receipts"];
        self.run(&[&rollback[..], &["--set-file", "password=password"], more].concat())
    }

    fn install_versions(&self, more: &[&str]) {
        for version in ["v1.0.0", "v1.1.0"] {
            let bundle = self.package(version);
            let ran = self.install(&bundle, &[&VALUES[2..], more].concat());
            assert_eq!(ran.code, 0, "{}", ran.error);
        }
    }
}

#[test]
fn rollback_keeps_texts_that_look_like_variables() {
    let site = Site::new();
    site.install_versions(&["--set", "host=[[ other ]] [[ open", "--output", "yaml"]);
    let first = site.read("yaml/plugin-gpu/gpu.yaml").replace("v1.1.0", "v1.0.0");
    assert!(first.contains("http://[[ other ]] [[ open:80"), "{first}");
    let ran = site.rollback(&["--output", "yaml", "--set", "other=x"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert_eq!(site.read("yaml/plugin-gpu/gpu.yaml"), first);
}

#[test]
fn rollback_missing_image_is_refused() {
    let mut site = Site::new();
    let registry = SiteRegistry::start();
    site.place = format!("{}/site", registry.host);
    site.install_versions(&["--set", "host=h", "--output", "yaml"]);
    registry.set_fault(Some(Fault::Empty));
    let refused = site.rollback(&["--output", "yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.error);
    assert!(refused.error.contains("is not in the registry"), "{}", refused.error);
    assert!(site.read("yaml/plugin-gpu/gpu.yaml").contains("v1.1.0"));
    registry.set_fault(Some(Fault::Dead { after: 0 }));
    let refused = site.rollback(&["--output", "yaml", "--retry-connect", "1"]);
    assert_eq!(refused.code, 3, "{}", refused.error);
}

#[test]
fn rollback_moved_tag_is_refused() {
    let site = Site::new();
    let first = site.package("v1.0.0");
    let more = [&VALUES[..], &["--output", "yaml", "--on-existing-tag", "move"]].concat();
    assert_eq!(site.install(&first, &more).code, 0);
    site.world.push("gpu", &SampleImage::with_layers(vec![b"other".to_vec()]));
    let second = site.package("v1.1.0");
    assert_eq!(site.install(&second, &more).code, 0);
    let refused = site.rollback(&["--output", "yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.error);
    assert!(refused.error.contains("gpu:v1 is now sha256:"), "{}", refused.error);
    let again = site.install(&first, &more);
    assert_eq!(again.code, 0, "{}", again.error);
}

#[test]
fn installed_damaged_receipt_stops_only_its_package() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    site.world.write("receipts/plugin/cpu/000001.json", "{\"formatVersion\": 1, \"ki");
    site.world.write("receipts/product/compass/000007.json", "{\"formatVersion\": 9}");
    let arguments = [&VALUES[..], &["--output", "yaml"]].concat();
    let refused = site.install(&bundle, &arguments);
    assert_eq!(refused.code, 2, "{}", refused.error);
    assert!(refused.error.contains("format version is 9"), "{}", refused.error);
    let versioned = [&arguments[..], &["--product-version", "v2.8.0"]].concat();
    let ran = site.install(&bundle, &versioned);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let listed = site.run(&["installed", "--receipts", "receipts"]);
    assert_eq!(listed.code, 2, "{}", listed.error);
    assert!(String::from_utf8_lossy(&listed.out).contains("plugin gpu v1.0.0"));
    for expected in ["cpu/000001.json", "move the file away", "format version is 9", "a newer one"]
    {
        assert!(listed.error.contains(expected), "{}", listed.error);
    }
    let nowhere = site.run(&["installed", "--receipts", "nowhere"]);
    assert!(nowhere.error.contains("there is no directory nowhere"), "{}", nowhere.error);
    let listed = site.run(&["installed", "--receipts", "receipts", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&listed.out).unwrap();
    assert_eq!(listed["errors"].as_array().unwrap().len(), 2);
}

#[test]
fn install_unreadable_receipt_pushes_nothing() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    site.world.write("receipts/plugin/gpu/000001.json", "{\"formatVersion\": 2}");
    let refused = site.install(&bundle, &[]);
    assert_eq!(refused.code, 2, "{}", refused.error);
    assert!(!site.has_image());
}

#[test]
fn install_linked_receipts_directory_is_used() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    std::fs::create_dir(site.world.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", site.world.path("receipts")).unwrap();
    assert_eq!(site.install(&bundle, &[]).code, 0);
    assert!(site.world.path("elsewhere/plugin/gpu/000001.json").is_file());
    std::fs::remove_dir_all(site.world.path("elsewhere")).unwrap();
    let refused = site.install(&bundle, &[]);
    assert_eq!(refused.code, 3, "{}", refused.error);
    assert!(refused.error.contains("receipts"), "{}", refused.error);
}

#[test]
fn install_apply_any_quoting_of_path_works() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    std::fs::create_dir(site.world.path("a b'c")).unwrap();
    for (place, command) in [
        ("a b'c", "cat {} > applied"),
        (".", "cat {} > applied"),
        (".", "cat '{}' > applied"),
        (".", "cat \"{}\" > applied"),
        (".", "sh -c 'cat \"$0\" > applied' {}"),
    ] {
        let _ = std::fs::remove_file(site.world.path("applied"));
        let arguments = [&VALUES[..], &["--apply", command]].concat();
        let mut install = site.install_command(&bundle, &arguments);
        let ran = ran(install.env("TMPDIR", site.world.path(place).canonicalize().unwrap()));
        assert_eq!(ran.code, 0, "{command}: {}", ran.error);
        assert!(site.read("applied").contains("name: gpu"), "{command}");
    }
    let left = std::fs::read_dir(site.world.path("a b'c")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn install_apply_other_command_applies_all_files() {
    let site = Site::new();
    let bundle = product(&site, "release/gpu:v1\n");
    let fails_at_two = "cat {} >> one; ! grep -q 'name: two' {}";
    assert_eq!(site.install(&bundle, &["--apply", fails_at_two]).code, 3);
    assert_eq!(site.install(&bundle, &["--apply", "cat {} >> two"]).code, 0);
    let applied = site.read("two");
    for name in ["one", "two", "three", "four", "five"] {
        assert!(applied.contains(&format!("name: {name}")), "{applied}");
    }
}

#[test]
fn install_unusable_output_pushes_nothing() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    site.world.write("file", "");
    for (more, expected) in [
        (["--output", "file"], "file is not a directory"),
        (["--output", "file/below"], "cannot write to file"),
    ] {
        let refused = site.install(&bundle, &[&VALUES[..], &more].concat());
        assert_eq!(refused.code, 2, "{}", refused.error);
        assert!(refused.error.contains(expected), "{}", refused.error);
    }
    assert!(!site.has_image());
}
