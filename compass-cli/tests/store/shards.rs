//! Bundles that several processes send, and layers that are copied inside the store.

use std::process::Child;

use serde_json::Value;

use crate::world::{BUNDLE, World};

/// The layers of a bundle of about 20 parts.
const LAYERS: [(u64, usize); 5] =
    [(1, 30_000_000), (2, 11_000_000), (3, 2_000_000), (4, 40_000_000), (5, 12_000_000)];

/// The arguments that send a shard.
fn shard_arguments(world: &World, shard: &str) -> Vec<String> {
    let more = ["--shard", shard].map(str::to_owned);
    world.package(&world.store()).into_iter().chain(more).collect()
}

fn send(world: &World, shard: &str) -> Value {
    let arguments = shard_arguments(world, shard);
    world.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn start(world: &World, shard: &str) -> Child {
    let arguments = shard_arguments(world, shard);
    world.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Checks that the store has the bundle of `out`, its checksum, and nothing else.
pub(crate) fn require_published(world: &World) {
    let digest = world.digest(&format!("out/{BUNDLE}"));
    assert_eq!(world.json(&["verify", &world.url()])["sha256"], digest.as_str());
    let key = format!("plugins/demo/{BUNDLE}");
    assert_eq!(world.keys(), [key.clone(), format!("{key}.sha256")]);
    assert_eq!(world.uploads(), 0, "unfinished uploads");
}

#[test]
fn shards_of_processes_equal_local_bundle() {
    let Some(world) = World::required("shards") else { return };
    world.release_version("v0.1.0", &LAYERS);
    world.packaged("out");
    let first = send(&world, "1/4");
    assert_eq!((&first["complete"], &first["sha256"]), (&Value::Bool(false), &Value::Null));
    assert!(first["missingParts"].as_u64().unwrap() > 0, "{first}");
    let mut others: Vec<_> = ["2/4", "3/4", "4/4"].map(|shard| start(&world, shard)).into();
    for process in &mut others {
        assert!(process.wait().unwrap().success());
    }
    require_published(&world);
    let again = send(&world, "2/4");
    assert_eq!((&again["present"], &again["complete"]), (&Value::Bool(true), &Value::Bool(true)));
}

#[test]
fn next_version_sends_only_new_layer() {
    let Some(world) = World::required("next") else { return };
    world.release_version("v0.1.0", &LAYERS);
    world.packaged(&world.store());
    let mut layers = LAYERS;
    layers[1].0 = 9;
    world.release_version("v0.2.0", &layers);
    let packaged = world.packaged("out");
    let file = packaged["bundle"].as_str().unwrap();
    let published = world.json(&["publish", file, "--to", &world.store()]);
    let (sent, copied) =
        (published["sent"].as_u64().unwrap(), published["copied"].as_u64().unwrap());
    assert_eq!(sent + copied, published["size"].as_u64().unwrap());
    // The new layer, the small one, and at most 5 MiB of each copied layer.
    let most = 11_000_000 + 2_000_000 + 3 * (5 << 20) + 100_000;
    assert!(sent <= most, "{published}");
    let url = published["url"].as_str().unwrap();
    assert_eq!(world.json(&["verify", url])["sha256"], world.digest(file));
    assert_eq!(world.uploads(), 0);
}

#[test]
fn shard_to_file_is_usage_error() {
    let Some(world) = World::required("usage") else { return };
    let url = world.store();
    for (more, fragment) in [
        (&["-o", "out", "--shard", "1/2"][..], "-o s3://"),
        (&["-o", &url, "--shard", "3/2"], "is not a shard"),
        (&["-o", &url, "--shard", "1/2", "--recompress", "gzip"], "cannot be used with"),
        (&["-o", &url, "--no-sha256"], "--shard"),
    ] {
        let arguments = [&["package", "plugin", "demo", "--repo", "repo"][..], more].concat();
        let output = world.run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(fragment), "{error}");
    }
}
