//! `serve` of bundles that change, and of servers that lie.

use std::path::Path;
use std::sync::Arc;

use compass_registry::Digest;
use compass_registry::http::HttpOptions;
use compass_registry::testing::{SampleImage, random_bytes, read_image};

use super::lying_server::{Lie, LyingServer};
use super::serving::{BUNDLE, Served, web, world};
use super::world::World;

/// A bundle whose members have the places and sizes of those of [`world`], and other contents.
fn other_bundle(world: &World) -> Vec<u8> {
    let layers = vec![random_bytes(11, 300_000), random_bytes(12, 70_000)];
    world.push("web", &SampleImage::with_layers(layers));
    assert_eq!(world.package("web", &["-o", "other"]).code, 0);
    let other = std::fs::read(world.path(&BUNDLE.replace("out/", "other/"))).unwrap();
    assert_eq!(other.len(), std::fs::read(world.path(BUNDLE)).unwrap().len());
    other
}

/// Gets a blob as a client does that compares no digest; `None` if the transfer fails.
fn get(served: &Served, digest: &Digest) -> Option<Vec<u8>> {
    let url = format!("http://{}/v2/release/web/blobs/{digest}", served.host);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = HttpOptions::default().build().unwrap().get(url).send().await.ok()?;
        let bytes = answer.error_for_status().ok()?.bytes().await.ok()?;
        Some(bytes.to_vec())
    })
}

#[test]
fn serve_changed_bundle_sends_no_wrong_blob() {
    let (world, image) = world();
    let (layer, path) = (&image.blobs[1], world.path(BUNDLE));
    let (good, other) = (std::fs::read(&path).unwrap(), other_bundle(&world));
    let digest = Digest::of(layer);
    let served = Served::start(&world, &[BUNDLE]);
    assert_eq!(get(&served, &digest).as_ref(), Some(layer));
    // Into the same file: another bundle, a part, and the first one again.
    std::fs::write(&path, &other).unwrap();
    assert_eq!(get(&served, &digest), None);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1_000).unwrap();
    assert_eq!(get(&served, &digest), None);
    std::fs::write(&path, &good).unwrap();
    assert_eq!(get(&served, &digest).as_ref(), Some(layer));
    // Another file under its name: the one that was opened is served.
    std::fs::write(world.path("new"), &other).unwrap();
    std::fs::rename(world.path("new"), &path).unwrap();
    assert_eq!(get(&served, &digest).as_ref(), Some(layer));
    let log = served.log();
    for cause in ["the content has digest", "it was truncated", BUNDLE] {
        assert!(log.contains(cause), "{cause}: {log}");
    }
}

#[test]
fn serve_lying_web_server_sends_no_wrong_blob() {
    let (world, image) = world();
    let (layer, server) = (&image.blobs[1], LyingServer::start());
    let (good, other) = (std::fs::read(world.path(BUNDLE)).unwrap(), other_bundle(&world));
    server.put("/bundle.tar.gz", &good, "");
    let served = Served::start(&world, &[&format!("http://{}/bundle.tar.gz", server.host)]);
    let digest = Digest::of(layer);
    for (lie, is_harmless) in [
        (Lie::WrongByte, false),
        (Lie::IgnoredRange, false),
        (Lie::Endless, true),
        // The missing bytes are requested again.
        (Lie::ShortLength, true),
        (Lie::LongLength, true),
    ] {
        server.tell(lie);
        if let Some(bytes) = get(&served, &digest) {
            assert!(is_harmless && bytes == *layer, "{lie:?}");
        }
        server.tell(Lie::Nothing);
        assert_eq!(get(&served, &digest).as_ref(), Some(layer), "after {lie:?}");
    }
    // Another bundle has correct checksums of its own.
    server.put("/bundle.tar.gz", &other, "");
    assert_eq!(get(&served, &digest), None);
    server.put("/bundle.tar.gz", &good, "");
    assert_eq!(get(&served, &digest).as_ref(), Some(layer));
    let log = served.log();
    for cause in ["the gzip checksum", "does not support range requests", "the content has digest"]
    {
        assert!(log.contains(cause), "{cause}: {log}");
    }
}

/// Asserts that all blobs and manifests in a cache have the digests of their names.
fn require_valid(cache: &Path) {
    for file in cache.join("registry/blobs/sha256").read_dir().into_iter().flatten() {
        let path = file.unwrap().path();
        let named = path.file_name().unwrap().to_str().unwrap();
        // A file can be removed in the meantime.
        if let Ok(content) = std::fs::read(&path) {
            assert_eq!(Digest::of(&content).hex(), named);
        }
    }
}

#[test]
fn serve_cache_lying_upstream_caches_nothing_wrong() {
    let world = World::new();
    world.write("none.json", "{}");
    let layers = (0..4).map(|number| random_bytes(number, 50_000)).collect();
    let (image, server) = (SampleImage::with_layers(layers), LyingServer::start());
    server.put("/v2/", b"{}", "");
    let manifest = image.manifest.digest();
    let headers = format!(
        "content-type: {}\r\ndocker-content-digest: {manifest}\r\n",
        image.manifest.descriptor().media_type
    );
    for reference in ["v1".to_owned(), manifest.to_string()] {
        let path = format!("/v2/release/web/manifests/{reference}");
        server.put(&path, image.manifest.bytes(), &headers);
    }
    for blob in &image.blobs {
        let path = format!("/v2/release/web/blobs/{}", Digest::of(blob));
        server.put(&path, blob, "content-type: application/octet-stream\r\n");
    }
    let upstream = format!("http://{}", server.host);
    let served = Served::start(&world, &["--upstream", &upstream, "--cache", "cache"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pull = || runtime.block_on(read_image(Arc::new(served.client()), &web()));
    for lie in [Lie::WrongDigest, Lie::WrongByte] {
        server.tell(lie);
        assert!(pull().is_err(), "{lie:?}");
        require_valid(&world.path("cache"));
    }
    let lies = [Lie::WrongByte, Lie::Endless, Lie::ShortLength, Lie::LongLength];
    for (lie, layer) in lies.into_iter().zip(&image.blobs[1..]) {
        let digest = Digest::of(layer);
        server.tell(lie);
        if let Some(bytes) = get(&served, &digest) {
            assert!(bytes == *layer, "{lie:?}");
        }
        require_valid(&world.path("cache"));
        server.tell(Lie::Nothing);
        assert_eq!(get(&served, &digest).as_ref(), Some(layer), "after {lie:?}");
    }
    assert_eq!(pull().unwrap().digest(), manifest);
    require_valid(&world.path("cache"));
    let log = served.log();
    for cause in ["cannot fetch a blob from the upstream registry", "the content has digest"] {
        assert!(log.contains(cause), "{cause}: {log}");
    }
}
