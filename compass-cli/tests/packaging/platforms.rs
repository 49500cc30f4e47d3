//! `--platform` and `--allow-other-platform`.

use compass_registry::testing::{SampleImage, random_bytes};

use super::BUNDLE;
use super::world::World;

#[test]
fn package_other_platform_is_error() {
    let world = World::new();
    let image = SampleImage::for_architecture("arm64", vec![random_bytes(1, 1000)]);
    world.push("web", &image);
    world.add_plugin("web");
    let ran = world.package("web", &["-o", "out"]);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("is not for linux/amd64, but for linux/arm64"), "{}", ran.error);
    assert!(ran.error.contains("--allow-other-platform"), "{}", ran.error);
    assert!(!world.path(&format!("out/{BUNDLE}")).exists());
    // The image configuration was read to find the platform.
    let config = image.blobs[0].len() as u64;
    assert_eq!(world.registry.blob_bytes(), config);

    let ran = world.package("web", &["-o", "out", "--allow-other-platform"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(ran.error.contains("release/web:v1 is not for linux/amd64"), "{}", ran.error);
    let document = world.inspect(&format!("out/{BUNDLE}"));
    assert_eq!(document["files"][1]["image"]["platform"]["architecture"], "arm64", "{document:#}");
    assert_eq!(document.get("platforms"), None, "{document:#}");
    let read = world.registry.blob_bytes();
    assert_eq!(read, config + image.bytes(), "each blob is asked for once");
}

#[test]
fn package_other_platform_is_in_name() {
    let world = World::new();
    world.push_index_of("web", &["amd64", "arm64", "s390x"]);
    world.add_plugin("web");
    let package = |platform: &str| {
        let ran = world.package("web", &["-o", "out", "--platform", platform]);
        assert_eq!(ran.code, 0, "{platform}: {}", ran.error);
        // The configurations of these images are all for amd64.
        let contradicts = "lists it for linux/arm64, but its configuration is for linux/amd64";
        assert_eq!(ran.error.contains(contradicts), platform == "linux/arm64", "{}", ran.error);
    };
    for (platform, suffix) in [
        ("linux/amd64", ""),
        ("linux/arm64", "-linux-arm64"),
        ("linux/arm64,linux/s390x", "-linux-arm64+linux-s390x"),
        ("linux/arm64,linux/amd64", ""),
        ("all", ""),
    ] {
        package(platform);
        let path = format!("out/{}{suffix}.tar.gz", BUNDLE.strip_suffix(".tar.gz").unwrap());
        let verified = world.run(&["verify", &path]);
        assert_eq!(verified.code, 0, "{platform}: {}", verified.error);
        std::fs::remove_file(world.path(&path)).unwrap();
    }
}

#[test]
fn package_platform_not_in_index_fails() {
    let world = World::new();
    world.push_index_of("web", &["amd64"]);
    world.add_plugin("web");
    let package = |platform: &str, more: &[&str]| {
        world.package("web", &[&["-o", "out", "--platform", platform], more].concat())
    };
    let ran = package("linux/amd64,linux/s390x", &[]);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("is not for linux/s390x, but for linux/amd64"), "{}", ran.error);
    let ran = package("linux/s390x", &[]);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("has no image for linux/s390x"), "{}", ran.error);
    for platform in ["linux/amd64,linux/s390x", "linux/s390x"] {
        let ran = package(platform, &["--allow-other-platform"]);
        assert_eq!(ran.code, 0, "{}", ran.error);
        assert!(ran.error.contains("release/web:v1 is not for linux/s390x"), "{}", ran.error);
        assert!(!ran.error.contains("not for linux/amd64"), "{}", ran.error);
    }
}

#[test]
fn diff_shows_omitted_platforms() {
    let world = World::new();
    world.add_plugin("web");
    world.push_index_of("web", &["amd64", "arm64"]);
    for (platforms, out) in [("all", "one"), ("linux/amd64,linux/s390x", "other")] {
        let package = ["-o", out, "--platform", platforms, "--allow-other-platform"];
        let ran = world.package("web", &package);
        assert_eq!(ran.code, 0, "{}", ran.error);
    }
    let ran = world.run(&["diff", &format!("one/{BUNDLE}"), &format!("other/{BUNDLE}")]);
    let shown = String::from_utf8(ran.out).unwrap();
    assert!(shown.contains("omitted platforms: none -> linux/arm64"), "{shown}");
    assert!(shown.contains("0 images unchanged"), "{shown}");
}
