//! A Python script that follows only `docs/bundle-format.md` finds every blob of a bundle.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{WriteOptions, write};
use compass_registry::testing::random_bytes;
use compass_registry::{ImageSource as _, Manifest};

#[tokio::test]
async fn documented_format_reader_finds_every_blob() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: this needs python3, which this machine lacks");
        return;
    }
    let images = vec![
        vec![random_bytes(1, 200_000), random_bytes(2, 65_535)],
        vec![random_bytes(1, 200_000), random_bytes(3, 7)],
    ];
    let (storage, references) = sample::store(&images).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format/reader.py");
    for (kind, include_archives) in [
        (BundleKind::Plugin, false),
        (BundleKind::Hotfix, false),
        (BundleKind::Product, false),
        (BundleKind::Product, true),
    ] {
        let plan = sample::plan(&storage, &references, kind, include_archives).await;
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(storage.clone());
        let options = WriteOptions::default();
        let written = write(&plan, source, directory.path(), &options).await.unwrap();
        for reference in &references {
            let manifest =
                storage.manifest(reference.repository(), &reference.tag_or_digest()).await.unwrap();
            let Manifest::Image { config, layers } = manifest.parse().unwrap() else { panic!() };
            for blob in [config].iter().chain(&layers).chain([manifest.descriptor()]) {
                let digest = blob.digest.to_string();
                let output = Command::new("python3")
                    .arg(&script)
                    .arg(&written.path)
                    .arg(&digest)
                    .output()
                    .unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{kind:?}: {errors}");
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), digest);
            }
        }
    }
}
