//! Tests copies of images that share blobs: transfers, mounts and concurrency.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{FaultyRegistry, SampleImage, Script, random_bytes, read_image};
use compass_registry::{
    Copier, CopyOptions, Descriptor, Destination, Digest, Error, ImageRef, ImageSink, RawManifest,
    Repository, Tag, TagOrDigest, VerifiedBlob, copy,
};
use futures_util::future::join_all;
use tokio::sync::Barrier;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

/// Returns the destination of the same name as an image.
fn same_name(image: &ImageRef) -> Destination {
    image.to_string().parse().unwrap()
}

/// Starts a registry that counts requests, with a client for it.
async fn counting_registry(storage: &MemoryStorage) -> (FaultyRegistry, Client) {
    let registry = FaultyRegistry::start(storage.clone(), Script::default()).await.unwrap();
    let options = ClientOptions::default().credentials(FaultyRegistry::credentials());
    let client = Client::new(&registry.host(), options).unwrap();
    // The registry refuses the first request with a challenge.
    client.ping().await.unwrap();
    (registry, client)
}

/// Returns a base layer, and images that share it.
fn images_with_shared_base(count: u8) -> (Vec<u8>, Vec<SampleImage>) {
    let base = random_bytes(99, 400_000);
    let own = |number: u8| vec![number; 5000 + usize::from(number)];
    let image = |number| SampleImage::with_layers(vec![base.clone(), own(number)]);
    (base.clone(), (0..count).map(image).collect())
}

/// Returns the size of the configuration and of the layer that no other image has.
fn own_bytes(image: &SampleImage) -> u64 {
    (image.blobs[0].len() + image.blobs[2].len()) as u64
}

/// Stores images with a shared base, each in a repository of its own.
async fn store_images(source: &MemoryStorage, count: u8) -> Vec<ImageRef> {
    let (_, images) = images_with_shared_base(count);
    let mut names = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let repository = name(&format!("team/app-{number}"));
        image.store(source, &repository, &tag()).await.unwrap();
        names.push(ImageRef::new(repository, tag()));
    }
    names
}

#[tokio::test]
async fn copy_shared_base_is_transferred_once() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let (base, images) = images_with_shared_base(12);
    let names = store_images(&source, 12).await;
    let (reading, reader) = counting_registry(&source).await;
    let (_writing, writer) = counting_registry(&destination).await;
    let (reader, copier) =
        (Arc::new(reader), Copier::new(Arc::new(writer), CopyOptions::default()));
    let copies =
        names.iter().map(async |image| copier.copy(reader.clone(), image, &same_name(image)).await);
    let reports: Vec<_> = join_all(copies).await.into_iter().map(Result::unwrap).collect();

    let distinct: u64 = images.iter().map(own_bytes).sum();
    assert_eq!(reading.blob_bytes(), base.len() as u64 + distinct);
    let mounted: u64 = reports.iter().map(|report| report.mounted_bytes).sum();
    assert_eq!(mounted, 11 * base.len() as u64);
    for image in &names {
        read_image(Arc::new(destination.clone()), image).await.unwrap();
    }
}

#[tokio::test]
async fn copy_present_image_costs_two_requests() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    store_images(&source, 1).await;
    let image = store_images(&destination, 1).await.remove(0);
    let (reading, reader) = counting_registry(&source).await;
    let (writing, writer) = counting_registry(&destination).await;
    let before = (reading.requests(), writing.requests());
    let copied = copy(Arc::new(reader), &image, Arc::new(writer), &same_name(&image)).await;
    let report = copied.unwrap();
    assert!(report.already_present);
    assert_eq!((reading.requests() - before.0, writing.requests() - before.1), (1, 1));
}

#[tokio::test]
async fn with_available_shares_known_blobs() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let image = store_images(&source, 1).await.remove(0);
    let (source, other) = (Arc::new(source), Destination::new(name("team/other"), tag()));
    let copier = Copier::new(Arc::new(destination), CopyOptions::default());
    let first = copier.copy(source.clone(), &image, &same_name(&image)).await.unwrap();
    let copier = copier.with_available(HashSet::from([first.digest]));
    let second = copier.copy(source, &image, &other).await.unwrap();
    assert_eq!((second.bytes, second.mounted_bytes), (0, first.bytes));
}

#[tokio::test]
async fn copy_within_registry_mounts_blobs() {
    let storage = MemoryStorage::default();
    let image = SampleImage::new(3, &[70_000, 100]);
    let (from, to, tag) = (name("dev/web"), name("release/web"), tag());
    image.store(&storage, &from, &tag).await.unwrap();
    let (registry, client) = counting_registry(&storage).await;
    let (client, from) = (Arc::new(client), ImageRef::new(from, tag.clone()));
    let (to, written) = (Destination::new(to.clone(), tag.clone()), ImageRef::new(to, tag));
    let copier = Copier::new(client.clone(), CopyOptions::default());
    let plan = copier.plan(client.clone(), &from, &to).await.unwrap();
    assert_eq!((plan.already_present, plan.bytes), (false, 0));

    let copied = copy(client.clone(), &from, client, &to).await.unwrap();
    assert_eq!((copied.bytes, copied.mounted_bytes, registry.blob_bytes()), (0, image.bytes(), 0));
    read_image(Arc::new(storage), &written).await.unwrap();
}

#[tokio::test]
async fn plan_shared_base_is_counted_once() {
    let (source, destination) = (MemoryStorage::default(), MemoryStorage::default());
    let (base, images) = images_with_shared_base(3);
    let names = store_images(&source, 3).await;
    let source = Arc::new(source);
    let copier = Copier::new(Arc::new(destination.clone()), CopyOptions::default());
    let mut bytes = 0;
    for image in &names {
        bytes += copier.plan(source.clone(), image, &same_name(image)).await.unwrap().bytes;
    }
    let own: u64 = images.iter().map(own_bytes).sum();
    assert_eq!(bytes, base.len() as u64 + own);
    let ImageRef { repository, reference } = &names[0];
    let written = Storage::manifest(&destination, repository, reference).await.unwrap();
    assert_eq!(written, None);
}

/// A destination that observes how it is written to.
struct ObservedSink {
    storage: MemoryStorage,
    /// Makes each mount wait until all of them are in flight.
    mounts: Barrier,
    declines_mounts: bool,
    puts: AtomicUsize,
}

impl ObservedSink {
    fn new(concurrent_mounts: usize) -> Arc<Self> {
        Arc::new(Self {
            storage: MemoryStorage::default(),
            mounts: Barrier::new(concurrent_mounts),
            declines_mounts: concurrent_mounts == 0,
            puts: AtomicUsize::new(0),
        })
    }

    /// Copies images from a source, all at once.
    async fn copy_all(self: &Arc<Self>, source: MemoryStorage, images: &[ImageRef]) {
        let source = Arc::new(source);
        let copier = Copier::new(self.clone(), CopyOptions::default());
        let copies = images.iter().map(async |image| {
            copier.copy(source.clone(), image, &same_name(image)).await.unwrap();
            read_image(Arc::new(self.storage.clone()), image).await.unwrap();
        });
        let copies = join_all(copies);
        // Only a deadlock takes this long.
        tokio::time::timeout(Duration::from_mins(1), copies).await.unwrap();
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

#[tokio::test]
async fn copy_shared_base_mounts_run_concurrently() {
    let source = MemoryStorage::default();
    let images = store_images(&source, 40).await;
    // The first image transfers the base. The 39 others mount it, and each mount waits until all
    // mounts are in flight.
    let sink = ObservedSink::new(39);
    sink.copy_all(source, &images).await;
    assert_eq!(sink.puts.load(Ordering::Relaxed), 1 + 2 * 40);
}

#[tokio::test]
async fn copy_declined_mounts_transfer_to_each() {
    let source = MemoryStorage::default();
    let images = store_images(&source, 5).await;
    let sink = ObservedSink::new(0);
    sink.copy_all(source, &images).await;
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
    let images = tags.into_iter().map(|tag| ImageRef::new(repository.clone(), tag));
    let images: Vec<_> = images.collect();
    let sink = ObservedSink::new(0);
    sink.copy_all(source, &images).await;
    assert_eq!(sink.puts.load(Ordering::Relaxed), 3);
}
