//! Copies of several images: shared blobs, repeated copies, concurrency, indexes, and sources that
//! change during a copy.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{FaultyRegistry, SampleImage, Script, random_bytes, read_image};
use compass_registry::{
    ByteStream, Copier, CopyOptions, Descriptor, Digest, Error, ImageSink, ImageSource, Platform,
    RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob, media_type,
};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Barrier;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

/// Starts a registry that counts requests, with a client for it.
async fn counting_registry(storage: &MemoryStorage) -> (FaultyRegistry, Client) {
    let registry = FaultyRegistry::start(storage.clone(), Script::default()).await.unwrap();
    let credentials = Some(FaultyRegistry::credentials());
    let options = ClientOptions { credentials, ..ClientOptions::default() };
    let client = Client::new(&registry.host(), options).unwrap();
    // The registry refuses the first request with a challenge.
    client.ping().await.unwrap();
    (registry, client)
}

/// Images that share a base layer, and the base.
fn images_with_shared_base(count: u8) -> (Vec<u8>, Vec<SampleImage>) {
    let base = random_bytes(99, 400_000);
    let own = |number: u8| vec![number; 5000 + usize::from(number)];
    let image = |number| SampleImage::with_layers(vec![base.clone(), own(number)]);
    (base.clone(), (0..count).map(image).collect())
}

/// The size of the configuration and the layer that no other image has.
fn own_bytes(image: &SampleImage) -> u64 {
    (image.blobs[0].len() + image.blobs[2].len()) as u64
}

#[tokio::test]
async fn copy_shared_base_is_transferred_once() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let (base, images) = images_with_shared_base(12);
    let repositories: Vec<_> = (0..12).map(|n| name(&format!("team/app-{n}"))).collect();
    for (image, repository) in images.iter().zip(&repositories) {
        image.store(&source, repository, &tag()).await.unwrap();
    }
    let (reading, reader) = counting_registry(&source).await;
    let (writing, writer) = counting_registry(&destination).await;
    let reader: Arc<dyn ImageSource> = Arc::new(reader);
    let (by_tag, tag) = (TagOrDigest::from(tag()), tag());
    let copy_all = async || {
        let copier = Copier::new(&writer, CopyOptions::default());
        let copies =
            repositories.iter().map(|one| copier.copy(&reader, (one, &by_tag), (one, Some(&tag))));
        join_all(copies).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };

    let copied = copy_all().await;
    let distinct: u64 = images.iter().map(own_bytes).sum();
    assert_eq!(reading.blob_bytes(), base.len() as u64 + distinct);
    let mounted: u64 = copied.iter().map(|one| one.mounted_bytes).sum();
    assert_eq!(mounted, 11 * base.len() as u64);
    for repository in &repositories {
        read_image(&destination, repository, &by_tag).await.unwrap();
    }

    let before = (reading.requests(), writing.requests());
    let copied = copy_all().await;
    assert!(copied.iter().all(|one| one.already_present), "{copied:?}");
    let requests = (reading.requests() - before.0, writing.requests() - before.1);
    assert_eq!(requests, (12, 12), "an image that is present costs two requests");
}

/// A destination that observes how it is written to.
struct ObservedSink {
    storage: MemoryStorage,
    /// How many mounts must be in flight before any of them succeeds; 0 declines all mounts.
    mounts: Barrier,
    declines_mounts: bool,
    puts: AtomicUsize,
}

impl ObservedSink {
    fn new(concurrent_mounts: usize) -> Self {
        Self {
            storage: MemoryStorage::default(),
            mounts: Barrier::new(concurrent_mounts),
            declines_mounts: concurrent_mounts == 0,
            puts: AtomicUsize::new(0),
        }
    }

    /// Copies images from a source, all at once.
    async fn copy_all(&self, source: &MemoryStorage, images: &[(Repository, Tag)]) {
        let source: Arc<dyn ImageSource> = Arc::new(source.clone());
        let copier = Copier::new(self, CopyOptions::default());
        let copies = images.iter().map(async |(repository, tag)| {
            let by_tag = TagOrDigest::from(tag.clone());
            let copied = copier.copy(&source, (repository, &by_tag), (repository, Some(tag))).await;
            copied.unwrap();
            read_image(&self.storage, repository, &by_tag).await.unwrap();
        });
        let copies = join_all(copies);
        // Only a deadlock takes this long.
        tokio::time::timeout(Duration::from_secs(60), copies).await.unwrap();
    }
}

#[async_trait]
impl ImageSink for ObservedSink {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.storage.manifest_digest(repository, reference).await
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        self.storage.has_blob(repository, descriptor).await
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        // Gives other copies the chance to start the same transfer.
        tokio::task::yield_now().await;
        self.storage.put_blob(repository, blob).await
    }

    async fn mount_blob(
        &self,
        from: &Repository,
        to: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        if self.declines_mounts {
            return Ok(false);
        }
        self.mounts.wait().await;
        ImageSink::mount_blob(&self.storage, from, to, descriptor).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        ImageSink::put_manifest(&self.storage, repository, manifest, tag).await
    }
}

/// Stores images with a shared base, each in a repository of its own.
async fn store_images(source: &MemoryStorage, count: u8) -> Vec<(Repository, Tag)> {
    let (_, images) = images_with_shared_base(count);
    let mut names = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let repository = name(&format!("team/app-{number}"));
        image.store(source, &repository, &tag()).await.unwrap();
        names.push((repository, tag()));
    }
    names
}

#[tokio::test]
async fn copy_shared_base_mounts_run_concurrently() {
    let source = MemoryStorage::default();
    let images = store_images(&source, 40).await;
    // The first image transfers the base. The 39 others mount it, and each mount waits for all.
    let sink = ObservedSink::new(39);
    sink.copy_all(&source, &images).await;
    assert_eq!(sink.puts.load(Ordering::Relaxed), 1 + 2 * 40);
}

#[tokio::test]
async fn copy_declined_mounts_transfer_to_each() {
    let source = MemoryStorage::default();
    let images = store_images(&source, 5).await;
    let sink = ObservedSink::new(0);
    sink.copy_all(&source, &images).await;
    assert_eq!(sink.puts.load(Ordering::Relaxed), 3 * 5);
}

#[tokio::test]
async fn copy_same_repository_transfers_blobs_once() {
    let source = MemoryStorage::default();
    let (repository, image) = (name("team/web"), SampleImage::new(1, &[900, 20]));
    let tags: Vec<Tag> = ["v1", "v2", "latest"].map(|tag| tag.parse().unwrap()).into();
    for tag in &tags {
        image.store(&source, &repository, tag).await.unwrap();
    }
    let images: Vec<_> = tags.into_iter().map(|tag| (repository.clone(), tag)).collect();
    let sink = ObservedSink::new(0);
    sink.copy_all(&source, &images).await;
    assert_eq!(sink.puts.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn copy_within_registry_mounts_blobs() {
    let storage = MemoryStorage::default();
    let image = SampleImage::new(3, &[70_000, 100]);
    let (from, to, tag) = (name("dev/web"), name("release/web"), tag());
    image.store(&storage, &from, &tag).await.unwrap();
    let (registry, client) = counting_registry(&storage).await;
    let source: Arc<dyn ImageSource> = Arc::new(client.clone());
    let copier = Copier::new(&client, CopyOptions::default());
    let plan = copier.plan(&source, (&from, &tag.clone().into()), (&to, Some(&tag))).await.unwrap();
    assert_eq!((plan.already_present, plan.bytes), (false, 0));

    let copier = Copier::new(&client, CopyOptions::default());
    let copied =
        copier.copy(&source, (&from, &tag.clone().into()), (&to, Some(&tag))).await.unwrap();
    assert_eq!((copied.bytes, copied.mounted_bytes, registry.blob_bytes()), (0, image.bytes(), 0));
    read_image(&storage, &to, &tag.into()).await.unwrap();
}

#[tokio::test]
async fn plan_shared_base_is_counted_once() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let (base, images) = images_with_shared_base(3);
    let (by_tag, tag) = (TagOrDigest::from(tag()), tag());
    let repositories: Vec<_> = (0..3).map(|n| name(&format!("team/app-{n}"))).collect();
    for (image, repository) in images.iter().zip(&repositories) {
        image.store(&source, repository, &tag).await.unwrap();
    }
    let source: Arc<dyn ImageSource> = Arc::new(source);
    let copier = Copier::new(&destination, CopyOptions::default());
    let mut bytes = 0;
    for repository in &repositories {
        let to = (repository, Some(&tag));
        bytes += copier.plan(&source, (repository, &by_tag), to).await.unwrap().bytes;
    }
    let own: u64 = images.iter().map(own_bytes).sum();
    assert_eq!(bytes, base.len() as u64 + own);
    let written = Storage::manifest(&destination, &repositories[0], &by_tag).await.unwrap();
    assert_eq!(written, None);
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
    let source: Arc<dyn ImageSource> =
        Arc::new(MovingTag { storage, next: new.manifest.clone(), reads });
    let copier = Copier::new(&destination, CopyOptions::default());
    let (by_tag, tag) = (TagOrDigest::from(tag()), tag());
    let from = (&repository, &by_tag);
    let error = copier.copy(&source, from, (&repository, Some(&tag))).await.unwrap_err();
    assert!(
        matches!(&error, Error::TagMoved { new: moved_to, .. } if **moved_to == new.manifest.digest()),
        "{error}"
    );
    assert_eq!(Storage::manifest(&destination, &repository, &by_tag).await.unwrap(), None);
    // The next copy gets the new image.
    let copied = copier.copy(&source, from, (&repository, Some(&tag))).await.unwrap();
    assert_eq!(copied.digest, new.manifest.digest());
}

#[tokio::test]
async fn copy_index_selects_platforms() {
    let storage = MemoryStorage::default();
    let (repository, by_tag, tag) = (name("team/web"), TagOrDigest::from(tag()), tag());
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
    Storage::put_manifest(&storage, &repository, &index, Some(&tag)).await.unwrap();

    let source: Arc<dyn ImageSource> = Arc::new(storage);
    let copy = async |platforms: &[&str]| {
        let destination = MemoryStorage::default();
        let platforms: Vec<Platform> = platforms.iter().map(|one| one.parse().unwrap()).collect();
        let options = CopyOptions { platforms, ..CopyOptions::default() };
        let copier = Copier::new(&destination, options);
        let to = (&repository, Some(&tag));
        let copied = copier.copy(&source, (&repository, &by_tag), to).await.unwrap();
        let whole = read_image(&destination, &repository, &by_tag).await.unwrap();
        assert_eq!(whole.digest(), copied.digest);
        let again = copier.copy(&source, (&repository, &by_tag), to).await.unwrap();
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
    let (source, sink): (Arc<dyn ImageSource>, _) = (Arc::new(storage), MemoryStorage::default());
    let copier = Copier::new(&sink, CopyOptions::default());
    let (from, to) = ((&repository, &TagOrDigest::from(tag.clone())), (&repository, Some(&tag)));
    let planned = copier.plan(&source, from, to).await.unwrap();
    let next = copier.plan(&source, from, to).await.unwrap();
    assert!(planned.blobs > 0 && next.blobs == 0, "{planned:?}, {next:?}");
    let copied = copier.copy(&source, from, to).await.unwrap();
    assert_eq!((copied.blobs, copied.bytes), (planned.blobs, planned.bytes));
    read_image(&sink, &repository, &tag.into()).await.unwrap();
}

#[tokio::test]
async fn copy_single_image_reports_missing_platforms() {
    let (storage, repository, tag) = (MemoryStorage::default(), name("team/web"), tag());
    let image = SampleImage::for_architecture("arm64", vec![vec![1; 100]]);
    image.store(&storage, &repository, &tag).await.unwrap();
    let source: Arc<dyn ImageSource> = Arc::new(storage);
    for (wanted, missing) in [
        (&[][..], &[][..]),
        (&["linux/arm64"], &[]),
        (&["linux/amd64", "linux/arm64"], &["linux/amd64"]),
    ] {
        let platforms = |names: &[&str]| -> Vec<Platform> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let destination = MemoryStorage::default();
        let options = CopyOptions { platforms: platforms(wanted), ..CopyOptions::default() };
        let from = (&repository, &TagOrDigest::from(tag.clone()));
        let to = (&repository, Some(&tag));
        let copied = Copier::new(&destination, options).copy(&source, from, to).await.unwrap();
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
    let (source, sink): (Arc<dyn ImageSource>, _) = (Arc::new(storage), MemoryStorage::default());
    let copier = Copier::new(&sink, CopyOptions::default());
    let from = (&repository, &TagOrDigest::from(tag.clone()));
    copier.copy(&source, from, (&repository, Some(&tag))).await.unwrap_err()
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
async fn copy_manifest_of_other_size_is_error() {
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
        let (source, sink): (Arc<dyn ImageSource>, _) =
            (Arc::new(source), MemoryStorage::default());
        let copier = Copier::new(&sink, CopyOptions::default());
        let (by_tag, tag) = (TagOrDigest::from(tag()), tag());
        let (from, to) = ((&repository, &by_tag), (&repository, Some(&tag)));
        let planned = copier.plan(&source, from, to).await.unwrap();
        (planned.digest, copier.copy(&source, from, to).await.unwrap().digest)
    });
    assert_eq!(copied.await.unwrap(), (image.manifest.digest(), image.manifest.digest()));
}
