//! Parses bytes as an image manifest and an index, and plans a bundle.
#![no_main]

use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{ArchiveImage, BundleContents, BundlePlan, FileEntry};
use compass_registry::internal::sniff_media_type;
use compass_registry::{Manifest, Platform, RawManifest, Reference, media_type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(sniff_media_type(bytes));
    for media_type in [
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
    ] {
        let raw = RawManifest::new(media_type, Bytes::copy_from_slice(bytes));
        match raw.parse() {
            Ok(Manifest::Index(_)) => assert!(raw.is_index()),
            Ok(Manifest::Image { .. }) => {
                assert!(!raw.is_index());
                plan(raw);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

/// Plans a bundle.
/// The manifest may declare any sizes, and the plan must not overflow.
fn plan(root: RawManifest) {
    let reference: Reference = "registry.example/release/gpu:v1".parse().expect("a reference");
    let platform: Platform = "linux/amd64".parse().expect("a platform");
    let image = ArchiveImage::new(reference, root).platform(Some(platform.clone()));
    let planned = BundlePlan::new(&BundleContents::new(BundleKind::Plugin, "gpu", "v1", platform)
        .files(vec![FileEntry::new("gpu.yaml", "metadata: {name: gpu}\n")])
        .images(vec![image]));
    if let Ok(plan) = planned {
        assert!(plan.size() >= plan.blob_bytes());
    }
}
