//! Tests copies of single images: indexes, platforms, moved tags and limits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{SampleImage, read_image};
use compass_registry::{
    ByteStream, CachingSink, Copier, CopyOptions, Descriptor, Destination, Digest, Error, ImageRef,
    ImageSource, OnExistingTag, Platform, RawManifest, Repository, Tag, TagOrDigest, copy,
    media_type,
};
use serde_json::json;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

/// Returns the image that the tests copy.
fn web() -> ImageRef {
    ImageRef::new(name("team/web"), tag())
}

fn same_name() -> Destination {
    Destination::new(name("team/web"), tag())
}

/// A source whose tag is moved when the first blob is read.
struct MovingTag {
    storage: MemoryStorage,
    next: RawManifest,
    reads: AtomicUsize,
}

#[async_trait]
impl ImageSource for MovingTag {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        ImageSource::manifest(&self.storage, repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == 0 {
            Storage::put_manifest(&self.storage, repository, &self.next, Some(&tag())).await?;
        }
        self.storage.blob(repository, descriptor, range).await
    }
}

#[tokio::test]
async fn copy_moved_source_tag_is_error() {
    let (storage, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let repository = name("team/web");
    let (old, new) = (SampleImage::new(1, &[900]), SampleImage::new(2, &[900]));
    new.store(&storage, &repository, &tag()).await.unwrap();
    old.store(&storage, &repository, &tag()).await.unwrap();
    let reads = AtomicUsize::new(0);
    let source = Arc::new(MovingTag { storage, next: new.manifest.clone(), reads });
    let sink = Arc::new(destination.clone());
    let copied = copy(source.clone(), &web(), sink.clone(), &same_name()).await;
    let error = copied.unwrap_err();
    assert!(
        matches!(&error, Error::TagMoved { new: moved_to, .. } if **moved_to == new.manifest.digest()),
        "{error}"
    );
    assert_eq!(Storage::manifest(&destination, &repository, &tag().into()).await.unwrap(), None);
    // The next copy gets the new image.
    let copied = copy(source, &web(), sink, &same_name()).await.unwrap();
    assert_eq!(copied.digest, new.manifest.digest());
}

#[tokio::test]
async fn tag_set_after_plan_is_not_moved() {
    let (storage, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let (own, other) = (SampleImage::new(1, &[900]), SampleImage::new(2, &[900]));
    own.store(&storage, &name("team/web"), &tag()).await.unwrap();
    let source = Arc::new(storage);
    let sink = CachingSink::new(Arc::new(destination.clone()), Duration::from_mins(1));
    let options = CopyOptions::default().on_existing_tag(OnExistingTag::Error);
    let copier = Copier::new(Arc::new(sink), options);
    let plan = copier.plan(source.clone(), &web(), &same_name()).await.unwrap();
    assert!(!plan.already_present);
    other.store(&destination, &name("team/web"), &tag()).await.unwrap();
    let error = copier.copy(source, &web(), &same_name()).await.unwrap_err();
    assert!(matches!(error, Error::TagExists { .. }), "{error}");
    let kept = read_image(Arc::new(destination), &web()).await.unwrap();
    assert_eq!(kept.digest(), other.manifest.digest());
}

#[tokio::test]
async fn copy_index_selects_platforms() {
    let storage = MemoryStorage::default();
    let repository = name("team/web");
    let images: Vec<_> = (0..3).map(|seed| SampleImage::new(seed, &[2000, 300])).collect();
    let platforms = ["amd64", "arm64", "s390x"];
    let mut described = Vec::new();
    for (image, architecture) in images.iter().zip(platforms) {
        image.store(&storage, &repository, &"part".parse().unwrap()).await.unwrap();
        described.push(json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": image.manifest.digest(),
            "size": image.manifest.bytes().len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": described});
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    Storage::put_manifest(&storage, &repository, &index, Some(&tag())).await.unwrap();

    let source = Arc::new(storage);
    let copy = async |platforms: &[&str]| {
        let destination = Arc::new(MemoryStorage::default());
        let platforms: Vec<Platform> = platforms.iter().map(|one| one.parse().unwrap()).collect();
        let options = CopyOptions::default().platforms(platforms);
        let copier = Copier::new(destination.clone(), options);
        let copied = copier.copy(source.clone(), &web(), &same_name()).await.unwrap();
        let whole = read_image(destination, &web()).await.unwrap();
        assert_eq!(whole.digest(), copied.digest);
        let again = copier.copy(source.clone(), &web(), &same_name()).await.unwrap();
        assert!(again.already_present, "{again:?}");
        (copied, whole)
    };
    let digest = |number: usize| -> Digest { images[number].manifest.digest() };
    let (copied, _) = copy(&[]).await;
    assert_eq!((copied.digest, copied.platform_subset), (index.digest(), false));
    let (copied, _) = copy(&["linux/arm64"]).await;
    assert_eq!((copied.digest, copied.platform_subset), (digest(1), false));
    let (copied, subset) = copy(&["linux/s390x", "linux/amd64"]).await;
    assert!(copied.platform_subset);
    let compass_registry::Manifest::Index(kept) = subset.parse().unwrap() else { panic!("index") };
    let kept: Vec<_> = kept.iter().map(|image| image.digest).collect();
    assert_eq!(kept, [digest(0), digest(2)], "the order of the index is kept");
}

#[tokio::test]
async fn plan_does_not_count_as_copied() {
    let (storage, repository, tag) = (MemoryStorage::default(), name("team/web"), tag());
    let image = SampleImage::new(1, &[3000, 10]);
    image.store(&storage, &repository, &tag).await.unwrap();
    let (source, sink) = (Arc::new(storage), Arc::new(MemoryStorage::default()));
    let copier = Copier::new(sink.clone(), CopyOptions::default());
    let planned = copier.plan(source.clone(), &web(), &same_name()).await.unwrap();
    let next = copier.plan(source.clone(), &web(), &same_name()).await.unwrap();
    assert!(planned.blobs > 0 && next.blobs == 0, "{planned:?}, {next:?}");
    let copied = copier.copy(source, &web(), &same_name()).await.unwrap();
    assert_eq!((copied.blobs, copied.bytes), (planned.blobs, planned.bytes));
    read_image(sink, &web()).await.unwrap();
}

#[tokio::test]
async fn copy_single_image_reports_missing_platforms() {
    let (storage, repository, tag) = (MemoryStorage::default(), name("team/web"), tag());
    let image = SampleImage::for_architecture("arm64", vec![vec![1; 100]]);
    image.store(&storage, &repository, &tag).await.unwrap();
    let source = Arc::new(storage);
    for (wanted, missing) in [
        (&[][..], &[][..]),
        (&["linux/arm64"], &[]),
        (&["linux/amd64", "linux/arm64"], &["linux/amd64"]),
    ] {
        let platforms = |names: &[&str]| -> Vec<Platform> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let options = CopyOptions::default().platforms(platforms(wanted));
        let copier = Copier::new(Arc::new(MemoryStorage::default()), options);
        let copied = copier.copy(source.clone(), &web(), &same_name()).await.unwrap();
        assert_eq!(
            (copied.digest, copied.missing_platforms),
            (image.manifest.digest(), platforms(missing))
        );
    }
}

/// Copies an index of these images, and returns the error.
async fn copy_index_fails(storage: MemoryStorage, images: &[serde_json::Value]) -> Error {
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": images});
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    let (repository, tag) = (name("team/web"), tag());
    Storage::put_manifest(&storage, &repository, &index, Some(&tag)).await.unwrap();
    let (source, sink) = (Arc::new(storage), Arc::new(MemoryStorage::default()));
    copy(source, &web(), sink, &same_name()).await.unwrap_err()
}

#[tokio::test]
async fn copy_too_many_manifests_is_error() {
    let image = |number: u32| {
        let digest = Digest::of(&number.to_le_bytes());
        json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": 4 << 20})
    };
    let images: Vec<_> = (0..120).map(image).collect();
    let error = copy_index_fails(MemoryStorage::default(), &images).await.to_string();
    assert!(error.contains("its manifests have 503"), "{error}");
}

#[tokio::test]
async fn copy_wrong_manifest_size_is_error() {
    let storage = MemoryStorage::default();
    let image = SampleImage::new(1, &[100]);
    image.store(&storage, &name("team/web"), &"part".parse().unwrap()).await.unwrap();
    let (digest, real) = (image.manifest.digest(), image.manifest.descriptor().size);
    let wrong = json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": real - 1});
    let error = copy_index_fails(storage, &[wrong]).await;
    let Error::SizeMismatch { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual), (real - 1, real));
}

#[tokio::test]
async fn copy_future_can_be_spawned() {
    let (source, repository) = (MemoryStorage::default(), name("team/web"));
    let image = SampleImage::new(1, &[900]);
    image.store(&source, &repository, &tag()).await.unwrap();
    let copied = tokio::spawn(async move {
        let (source, sink) = (Arc::new(source), Arc::new(MemoryStorage::default()));
        let copier = Copier::new(sink, CopyOptions::default());
        let planned = copier.plan(source.clone(), &web(), &same_name()).await.unwrap();
        (planned.digest, copier.copy(source, &web(), &same_name()).await.unwrap().digest)
    });
    assert_eq!(copied.await.unwrap(), (image.manifest.digest(), image.manifest.digest()));
}
