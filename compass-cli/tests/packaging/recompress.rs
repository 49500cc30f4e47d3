//! `package --recompress`.

use compass_registry::RawManifest;
use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

use super::world::World;

#[test]
fn recompress_nondistributable_zstd_warns() {
    let world = World::new();
    let mut image = SampleImage::with_layers(vec![random_bytes(1, 1000)]);
    let mut manifest: Value = serde_json::from_slice(image.manifest.bytes()).unwrap();
    let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
    manifest["layers"][0]["mediaType"] = kind.into();
    let media_type = image.manifest.descriptor().media_type.clone();
    image.manifest = RawManifest::new(media_type, manifest.to_string());
    world.push("web", &image);
    world.add_plugin("web");
    for (arguments, fragment) in [
        (&["--recompress", "gzip", "-o", "gzip"][..], "so it was not recompressed"),
        (&["--recompress", "gzip", "--dry-run"], "so it was not recompressed"),
        (&["-o", "as-it-is"], "(`package --recompress gzip` changes that)"),
    ] {
        let ran = world.package("web", arguments);
        assert_eq!(ran.code, 0, "{}", ran.error);
        assert!(ran.error.contains("is zstd, which Docker before 23"), "{}", ran.error);
        assert!(ran.error.contains(fragment), "{}", ran.error);
    }
}
