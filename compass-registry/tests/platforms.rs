//! Copies of images for several platforms: entries without a platform, nested indexes, and
//! nondistributable layers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{SampleImage, random_bytes, read_image};
use compass_registry::{
    Copier, CopyOptions, CopyReport, Descriptor, Destination, Digest, Error, ImageRef,
    ImageSourceExt as _, RawManifest, Repository, Tag, media_type,
};
use serde_json::{Value, json};

fn repository() -> Repository {
    "team/web".parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

/// Returns the tagged image or index.
fn image() -> ImageRef {
    ImageRef::new(repository(), tag())
}

/// Copies the tagged image or index for these platforms.
async fn copy(
    source: &MemoryStorage,
    sink: &MemoryStorage,
    platforms: &[&str],
) -> Result<CopyReport, Error> {
    let source = Arc::new(source.clone());
    let platforms = platforms.iter().map(|one| one.parse().unwrap()).collect();
    let options = CopyOptions::default().platforms(platforms);
    let copier = Copier::new(Arc::new(sink.clone()), options);
    let (from, to) = (image(), Destination::new(repository(), tag()));
    let planned = copier.plan(source.clone(), &from, &to).await;
    let copied = copier.copy(source, &from, &to).await;
    if let (Ok(planned), Ok(copied)) = (&planned, &copied) {
        assert_eq!(
            (planned.digest, &planned.missing_platforms),
            (copied.digest, &copied.missing_platforms)
        );
        assert_eq!(planned.unavailable, copied.unavailable);
    }
    copied
}

async fn store(storage: &MemoryStorage, image: &SampleImage) -> Value {
    let part = "part".parse().unwrap();
    image.store(storage, &repository(), &part).await.unwrap();
    serde_json::to_value(image.manifest.descriptor()).unwrap()
}

fn with(mut entry: Value, fields: &Value) -> Value {
    entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    entry
}

async fn put_index(storage: &MemoryStorage, entries: &[Value], tag: Option<&Tag>) -> RawManifest {
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries});
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    Storage::put_manifest(storage, &repository(), &index, tag).await.unwrap();
    index
}

#[tokio::test]
async fn image_in_nested_index_is_found() {
    let storage = MemoryStorage::default();
    let (outer, inner) = (SampleImage::new(1, &[300]), SampleImage::new(2, &[200]));
    let platform = |name: &str| json!({"platform": {"os": "linux", "architecture": name}});
    let inner_entry = with(store(&storage, &inner).await, &platform("arm64"));
    let nested = put_index(&storage, &[inner_entry], None).await;
    let nested = serde_json::to_value(nested.descriptor()).unwrap();
    let outer_entry = with(store(&storage, &outer).await, &platform("amd64"));
    put_index(&storage, &[outer_entry, nested], Some(&tag())).await;
    for (platform, image) in [("linux/amd64", &outer), ("linux/arm64", &inner)] {
        let copied = copy(&storage, &MemoryStorage::default(), &[platform]).await.unwrap();
        assert_eq!(copied.digest, image.manifest.digest());
    }
    // An index with only some of the images would differ from the one that its builder wrote.
    let both = copy(&storage, &MemoryStorage::default(), &["linux/arm64", "linux/amd64"]).await;
    assert!(both.unwrap_err().to_string().contains("an index of indexes"));
    let sink = MemoryStorage::default();
    copy(&storage, &sink, &[]).await.unwrap();
    read_image(Arc::new(sink), &image()).await.unwrap();
    let none = copy(&storage, &MemoryStorage::default(), &["linux/s390x"]).await.unwrap_err();
    let text = none.to_string();
    assert!(text.contains("linux/amd64") && text.contains("linux/arm64"), "{text}");
}

#[tokio::test]
async fn entry_without_platform_uses_configuration() {
    let storage = MemoryStorage::default();
    let amd64 = SampleImage::for_architecture("amd64", vec![random_bytes(1, 100)]);
    let arm64 = SampleImage::for_architecture("arm64", vec![random_bytes(2, 100)]);
    let entries = [store(&storage, &amd64).await, store(&storage, &arm64).await];
    put_index(&storage, &entries, Some(&tag())).await;
    for (platform, image) in [("linux/amd64", &amd64), ("linux/arm64", &arm64)] {
        let copied = copy(&storage, &MemoryStorage::default(), &[platform]).await.unwrap();
        assert_eq!(copied.digest, image.manifest.digest());
    }
    let none = copy(&storage, &MemoryStorage::default(), &["linux/s390x"]).await.unwrap_err();
    assert!(none.to_string().contains("linux/amd64, linux/arm64"), "{none}");
}

#[tokio::test]
async fn attestations_are_never_chosen() {
    let storage = MemoryStorage::default();
    let image = SampleImage::for_architecture("amd64", vec![random_bytes(1, 100)]);
    let attestation = SampleImage::for_architecture("unknown", vec![random_bytes(2, 100)]);
    let note = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    });
    let platform = json!({"platform": {"os": "linux", "architecture": "amd64"}});
    let image_entry = with(store(&storage, &image).await, &platform);
    let entries = [with(store(&storage, &attestation).await, &note), image_entry];
    put_index(&storage, &entries, Some(&tag())).await;
    let copied = copy(&storage, &MemoryStorage::default(), &["linux/amd64"]).await.unwrap();
    assert_eq!(copied.digest, image.manifest.digest());
    let none = copy(&storage, &MemoryStorage::default(), &["linux/arm64"]).await.unwrap_err();
    assert!(!none.to_string().contains("unknown"), "{none}");
}

/// Stores an image for Windows with a nondistributable base layer, and returns that layer.
async fn store_windows(storage: &MemoryStorage) -> &'static [u8] {
    let (base, image) = (b"their own", SampleImage::with_layers(vec![random_bytes(1, 2000)]));
    for blob in &image.blobs {
        storage.add_blob(&repository(), blob.clone());
    }
    let mut windows: Value = serde_json::from_slice(image.manifest.bytes()).unwrap();
    windows["layers"].as_array_mut().unwrap().insert(
        0,
        json!({
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": Digest::of(base), "size": base.len(),
            "urls": ["https://elsewhere.example/layer"],
        }),
    );
    let windows = RawManifest::new(media_type::OCI_MANIFEST, windows.to_string());
    Storage::put_manifest(storage, &repository(), &windows, Some(&tag())).await.unwrap();
    base
}

#[tokio::test]
async fn nondistributable_layer_is_copied_or_reported() {
    let (storage, sink) = (MemoryStorage::default(), MemoryStorage::default());
    let base = store_windows(&storage).await;
    let layer = Descriptor::of("x", base);
    for was_there in [false, true] {
        let copied = copy(&storage, &sink, &[]).await.unwrap();
        assert_eq!((copied.already_present, copied.unavailable), (was_there, vec![layer.digest]));
    }
    // A layer that the source gets later is copied even if the destination has the image already.
    storage.add_blob(&repository(), base);
    for (was_there, blobs) in [(true, 1), (true, 0)] {
        let copied = copy(&storage, &sink, &[]).await.unwrap();
        assert_eq!((copied.already_present, copied.blobs), (was_there, blobs));
        assert_eq!(copied.unavailable, []);
    }
    assert_eq!(&sink.read(&repository(), &layer).await.unwrap()[..], base);
    // The layer may exist at the destination only.
    let without = MemoryStorage::default();
    store_windows(&without).await;
    let copied = copy(&without, &sink, &[]).await.unwrap();
    assert_eq!(copied.unavailable, []);
}

#[tokio::test]
async fn second_copy_reports_same_missing_platforms() {
    let (storage, sink) = (MemoryStorage::default(), MemoryStorage::default());
    let image = SampleImage::for_architecture("arm64", vec![vec![1; 100]]);
    image.store(&storage, &repository(), &tag()).await.unwrap();
    for was_there in [false, true] {
        let copied = copy(&storage, &sink, &["linux/amd64", "linux/arm64"]).await.unwrap();
        assert_eq!(copied.already_present, was_there);
        assert_eq!(copied.missing_platforms, ["linux/amd64".parse().unwrap()]);
    }
}
