//! `extract --images`: several images as one archive.

use std::collections::BTreeMap;

use compass_registry::Digest;
use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::{Value, json};

use super::world::World;

/// A product with the images `web` and `api`, which share a layer.
fn world() -> World {
    let world = World::new();
    let layer = |seed, size| random_bytes(seed, size);
    for (name, layers) in [
        ("web", vec![layer(1, 300_000), layer(2, 20_000)]),
        ("api", vec![layer(1, 300_000), layer(3, 100)]),
    ] {
        world.push(name, &SampleImage::with_layers(layers));
    }
    world.write("repo/web.list", "release/web:v1\nrelease/api:v1\n");
    world.write(
        "repo/release-products/v2.7.0.yaml",
        "metadata: {name: compass}\nspec: {version: v2.7.0, imageLists: [web.list], files: []}\n",
    );
    let ran = world.run(&["package", "product", "v2.7.0", "--repo", "repo", "-o", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    world
}

const BUNDLE: &str = "out/compass-v2.7.0.tar.gz";

/// The files of a tar archive.
fn unpack(world: &World, archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let target = tempfile::tempdir_in(world.path(".")).unwrap();
    let path = target.path().join("archive.tar");
    std::fs::write(&path, archive).unwrap();
    let tar = |arguments: &[&str]| {
        let output = std::process::Command::new("tar").args(arguments).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let names = String::from_utf8(tar(&["-tf"])).unwrap();
    tar(&["-C", target.path().to_str().unwrap(), "-xf"]);
    let mut files = BTreeMap::new();
    for name in names.lines().filter(|name| !name.ends_with('/')) {
        let content = std::fs::read(target.path().join(name)).unwrap();
        assert!(files.insert(name.to_owned(), content).is_none(), "{name} exists twice");
    }
    files
}

fn tags(files: &BTreeMap<String, Vec<u8>>) -> Vec<Value> {
    let listed: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    listed.as_array().unwrap().iter().map(|image| image["RepoTags"].clone()).collect()
}

#[test]
fn extract_images_has_each_blob_once() {
    let world = world();
    let ran = world.run(&["extract", BUNDLE, "--images", "-o", "-", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let printed: Value = serde_json::from_str(&ran.error).unwrap();
    assert_eq!(printed["size"], json!(ran.out.len()));
    let files = unpack(&world, &ran.out);
    // Two manifests, two configurations and three layers.
    assert_eq!(files.keys().filter(|name| name.starts_with("blobs/sha256/")).count(), 7);
    for (name, content) in &files {
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            assert_eq!(Digest::of(content).hex(), hex);
        }
    }
    let host = world.registry.host();
    let expected = ["web", "api"].map(|name| json!([format!("{host}/release/{name}:v1")]));
    assert_eq!(tags(&files), expected);
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let name = &index["manifests"][1]["annotations"]["io.containerd.image.name"];
    assert_eq!(name, &json!(format!("{host}/release/api:v1")));
    // The same archive in a file.
    let ran = world.run(&["extract", BUNDLE, "--images", "-o", "all.tar"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(unpack(&world, &std::fs::read(world.path("all.tar")).unwrap()) == files);
    assert_eq!(world.run(&["extract", BUNDLE, "--images", "-o", "all.tar"]).code, 2);
}

#[test]
fn extract_images_selects_and_renames() {
    let world = world();
    let extract = ["extract", BUNDLE, "-o", "-", "--registry", "site.example/compass", "--images"];
    let ran = world.run(&[&extract[..], &["w*"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert_eq!(tags(&unpack(&world, &ran.out)), [json!(["site.example/compass/web:v1"])]);
    let ran = world.run(&[&extract[..], &["w*", "nothing"]].concat());
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("no image matches `nothing`"), "{}", ran.error);
    let ran = world.run(&["extract", BUNDLE, "--images"]);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("--output"), "{}", ran.error);
}

#[test]
fn extract_images_of_foreign_package_reads_once() {
    let world = world();
    let ran = world.run(&["extract", BUNDLE, "--images", "-o", "all.tar"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let again = world.run(&["extract", "all.tar", "--images", "-o", "again.tar"]);
    assert_eq!(again.code, 0, "{}", again.error);
    let read = |name| unpack(&world, &std::fs::read(world.path(name)).unwrap());
    let (one, other) = (read("all.tar"), read("again.tar"));
    assert_eq!(tags(&one), tags(&other));
    assert!(one.keys().eq(other.keys()), "other blobs");
}

#[test]
fn extract_images_damaged_blob_is_error() {
    let world = world();
    let bundle = world.path(BUNDLE);
    let mut bytes = std::fs::read(&bundle).unwrap();
    let layer = random_bytes(1, 300_000);
    let at = bytes.windows(64).position(|part| part == &layer[1000..1064]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let ran = world.run(&["extract", BUNDLE, "--images", "-o", "all.tar"]);
    assert_eq!(ran.code, 1, "{}", ran.error);
    assert!(ran.error.contains("is damaged at bytes"), "{}", ran.error);
    assert!(!world.path("all.tar").exists());
    let left = std::fs::read_dir(world.path(".")).unwrap();
    let is_part = |path: std::path::PathBuf| path.extension().is_some_and(|end| end == "part");
    assert!(!left.into_iter().any(|file| is_part(file.unwrap().path())));
}
