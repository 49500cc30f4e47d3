//! Products: one image store, which contains every blob once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{
    ArchiveImage, Bundle, BundleContents, BundlePlan, FileEntry, Platforms, VerifyOptions,
    WriteOptions, install, write,
};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{SampleImage, random_bytes};
use compass_registry::{
    CopyOptions, Digest, ImageRef, ImageSource, Manifest, RawManifest, Reference, media_type,
};
use sample::{Counting, Shared};
use serde_json::{Value, json};

/// 180 images over 30 bases.
fn images(bases: usize, bytes: usize) -> Vec<Vec<Vec<u8>>> {
    let own = |number: usize| random_bytes(1000 + number as u64, bytes / 3);
    let base = |number: usize| random_bytes((number % 30) as u64, bytes);
    (0..bases).map(|number| vec![base(number), own(number)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn write_product_reads_each_blob_once() {
    let (storage, references) = sample::store(&images(180, 30_000)).await;
    let source = Arc::new(Counting::new(storage));
    let plan =
        sample::plan(&Shared(Arc::clone(&source)), &references, BundleKind::Product, true).await;
    let directory = tempfile::tempdir().unwrap();
    let options = WriteOptions::default();
    let shared = Arc::new(Shared(Arc::clone(&source)));
    let written = write(&plan, shared, directory.path(), &options).await.unwrap();
    assert_eq!(std::fs::metadata(&written.path).unwrap().len(), plan.size());
    assert_eq!(source.bytes(), plan.blob_bytes(), "each byte of each blob is read once");
    let opened = source.opened.lock().unwrap();
    // Six images share a base, and each image has an archive as well.
    assert_eq!(opened.len(), 30 + 180 + 180);
    assert!(opened.values().all(|count| *count == 1), "each blob is opened once");
}

/// Images with the real sizes of a product in bytes, whose layers do not exist.
fn large_images() -> Vec<ArchiveImage> {
    let descriptor = |name: String, size: u64| {
        let digest = Digest::of(name.as_bytes());
        json!({"mediaType": media_type::OCI_LAYER_GZIP, "digest": digest, "size": size})
    };
    let image = |number: u64| {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor(format!("config {number}"), 3_000),
            "layers": [
                descriptor(format!("base {}", number % 30), 20_000_000),
                descriptor(format!("packages {number}"), 4_000_000),
                descriptor(format!("program {number}"), 8_000_000),
            ],
        });
        let reference: Reference =
            format!("h.example/release/app-{number}:v1.0.0").parse().unwrap();
        ArchiveImage::new(
            reference,
            RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string()),
        )
        .platform(Some(sample::platform()))
    };
    (0..180).map(image).collect()
}

#[test]
fn product_size_is_that_of_distinct_blobs() {
    let plan = BundlePlan::new(&sample::product(large_images(), false));
    let plan = plan.unwrap();
    let distinct = 30 * 20_000_000 + 180 * (4_000_000 + 8_000_000 + 3_000);
    assert_eq!(plan.blob_bytes(), distinct);
    let more = plan.size() - distinct;
    assert!(more < distinct / 1000, "{more} of {distinct}");
}

#[tokio::test(flavor = "multi_thread")]
async fn product_is_installed_with_or_without_archives() {
    let (storage, references) = sample::store(&images(7, 70_000)).await;
    for archives in [false, true] {
        let plan = sample::plan(&storage, &references, BundleKind::Product, archives).await;
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(storage.clone());
        let options = WriteOptions::default();
        let written = write(&plan, source, directory.path(), &options).await.unwrap();
        let bundle = Bundle::open(&written.path).await.unwrap();
        assert_eq!(bundle.document(), plan.document());
        assert!(bundle.verify(&VerifyOptions::default()).await.unwrap().is_ok());
        assert_eq!(bundle.file("install.sh").await.unwrap(), "#!/bin/sh\n");
        let modes: Vec<_> = bundle.files().iter().map(|file| file.mode).collect();
        assert_eq!(modes, [0o644, 0o755]);

        let site = compass_registry::storage::MemoryStorage::default();
        let place = "site.example".parse().unwrap();
        let installed = install(
            &bundle.clone().into(),
            Arc::new(site.clone()),
            &place,
            &CopyOptions::default(),
        )
        .await
        .unwrap();
        assert_eq!(installed.len(), references.len());
        for (image, original) in installed.iter().zip(&references) {
            let (name, locator) = (original.repository(), original.tag_or_digest());
            let there =
                ImageSource::manifest(&site, image.reference.repository(), &locator).await.unwrap();
            assert_eq!(there, ImageSource::manifest(&storage, name, &locator).await.unwrap());
            assert!(matches!(there.parse().unwrap(), Manifest::Image { .. }));
        }
    }
}

fn refusal(contents: &BundleContents) -> String {
    match BundlePlan::new(contents) {
        Err(error) => error.to_string(),
        Ok(plan) => panic!("{} bytes are planned", plan.size()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_beyond_reader_limits_is_error() {
    let (storage, references) = sample::store(&vec![vec![random_bytes(1, 1000)]; 9]).await;
    let source: Arc<MemoryStorage> = Arc::new(storage);
    let mut images = Vec::new();
    for reference in references {
        let from = ImageRef::from(&reference);
        let platforms = Platforms::One(sample::platform());
        let image = ArchiveImage::resolve(source.clone(), &from, reference.clone(), &platforms);
        let mut image = image.await.unwrap();
        // Each configuration is unique, and nearly as large as allowed.
        let spaces = " ".repeat(4_000_000 + images.len());
        let bytes = [spaces.as_bytes(), image.root.bytes()].concat();
        image.root = RawManifest::new(media_type::OCI_MANIFEST, bytes);
        images.push(image);
    }
    let mut contents = sample::product(images, false);
    let refused = refusal(&contents);
    assert!(refused.contains("all image manifests together"), "{refused}");

    contents.images.pop();
    let plan = BundlePlan::new(&contents).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let written = write(&plan, source, directory.path(), &WriteOptions::default()).await.unwrap();
    let bundle = Bundle::open(&written.path).await.unwrap();
    assert_eq!(bundle.document(), plan.document());

    for (count, length, about) in [(45_000, 300, "bundle.json"), (50_001, 1, "limit of 50000")] {
        let path = "a".repeat(length);
        let file = |n: usize| FileEntry::new(format!("{path}/{n}"), "");
        contents.files = (0..count).map(file).collect();
        let refused = refusal(&contents);
        assert!(refused.contains(about), "{refused}");
    }
}

#[tokio::test]
async fn resolve_index_of_too_many_manifests_is_error() {
    let storage = MemoryStorage::default();
    let reference: Reference = "h.example/release/app:v1".parse().unwrap();
    let (repository, tag) = (reference.repository(), reference.tag().unwrap());
    let image = SampleImage::with_layers(vec![random_bytes(1, 100)]);
    image.store(&storage, repository, tag).await.unwrap();
    let mut entries = Vec::new();
    for (number, architecture) in ["amd64", "arm64", "riscv64"].into_iter().enumerate() {
        let spaces = " ".repeat(3_000_000 + number);
        let bytes = [spaces.as_bytes(), image.manifest.bytes()].concat();
        let manifest = RawManifest::new(media_type::OCI_MANIFEST, bytes);
        Storage::put_manifest(&storage, repository, &manifest, None).await.unwrap();
        let mut entry = serde_json::to_value(manifest.descriptor()).unwrap();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    // Two platforms with the same image.
    entries.push(entries[1].clone());
    let gather = async |entries: &[Value]| {
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries,
        });
        let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
        Storage::put_manifest(&storage, repository, &index, Some(tag)).await.unwrap();
        let (from, all) = (ImageRef::from(&reference), Platforms::All(sample::platform()));
        ArchiveImage::resolve(Arc::new(storage.clone()), &from, reference.clone(), &all).await
    };
    let refused = gather(&entries).await.unwrap_err().to_string();
    assert!(refused.contains("h.example/release/app:v1"), "{refused}");
    assert!(refused.contains("bytes of manifests"), "{refused}");
    entries.remove(2);
    assert_eq!(gather(&entries).await.unwrap().children.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn install_equal_names_in_one_project_is_error() {
    let storage = MemoryStorage::default();
    let mut references = Vec::new();
    for (number, project) in ["release", "library"].into_iter().enumerate() {
        let reference: Reference = format!("h.example/{project}/web:v1").parse().unwrap();
        let image = SampleImage::with_layers(vec![random_bytes(number as u64, 2000)]);
        let tag = reference.tag().unwrap();
        image.store(&storage, reference.repository(), tag).await.unwrap();
        references.push(reference);
    }
    let plan = sample::plan(&storage, &references, BundleKind::Product, true).await;
    let directory = tempfile::tempdir().unwrap();
    let (source, options) = (Arc::new(storage), WriteOptions::default());
    let written = write(&plan, source, directory.path(), &options).await.unwrap();
    let bundle = Bundle::open(&written.path).await.unwrap();
    assert!(bundle.verify(&VerifyOptions::default()).await.unwrap().is_ok());
    let site = MemoryStorage::default();
    let install_to = async |place: &str| {
        install(
            &bundle.clone().into(),
            Arc::new(site.clone()),
            &place.parse().unwrap(),
            &CopyOptions::default(),
        )
        .await
    };
    let refused = install_to("site.example/one").await.unwrap_err().to_string();
    assert!(refused.contains("would both become site.example/one/web:v1"), "{refused}");
    assert_eq!(install_to("site.example").await.unwrap().len(), 2);
}
