//! Sample images, bundles of them, and sources that count or interrupt reads.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{
    ArchiveImage, BundleContents, BundlePlan, BundleSource, Error, FileEntry, LocalFile, Platforms,
};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::SampleImage;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageRef, ImageSource, Platform,
    RawManifest, Reference, Repository, TagOrDigest,
};
use futures_util::{StreamExt as _, stream};

pub(crate) fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// Stores images `h.example/release/app-N:v1` with these layers.
pub(crate) async fn store(images: &[Vec<Vec<u8>>]) -> (MemoryStorage, Vec<Reference>) {
    let storage = MemoryStorage::default();
    let mut references = Vec::new();
    for (number, layers) in images.iter().enumerate() {
        let reference: Reference = format!("h.example/release/app-{number}:v1").parse().unwrap();
        let image = SampleImage::with_layers(layers.clone());
        let tag = reference.tag().unwrap();
        image.store(&storage, reference.repository(), tag).await.unwrap();
        references.push(reference);
    }
    (storage, references)
}

pub(crate) async fn plan(
    source: &(impl ImageSource + Clone + 'static),
    references: &[Reference],
    kind: BundleKind,
    include_archives: bool,
) -> BundlePlan {
    BundlePlan::new(&contents(source, references, kind, include_archives).await).unwrap()
}

pub(crate) async fn contents(
    source: &(impl ImageSource + Clone + 'static),
    references: &[Reference],
    kind: BundleKind,
    include_archives: bool,
) -> BundleContents {
    let mut images = Vec::new();
    for reference in references {
        let from = ImageRef::from(reference);
        let platforms = Platforms::One(platform());
        let source = Arc::new(source.clone());
        let image = ArchiveImage::resolve(source, &from, reference.clone(), &platforms).await;
        images.push(image.unwrap());
    }
    let files = match kind {
        BundleKind::Hotfix => vec![FileEntry::new("default/a/b/values.yaml", "_config: {}\n")],
        BundleKind::Product => vec![
            FileEntry::new("product.yaml", "metadata: {name: compass}\n"),
            FileEntry::new("install.sh", "#!/bin/sh\n").mode(0o755),
        ],
        _ => vec![FileEntry::new("gpu.yaml", "metadata: {name: gpu}\n")],
    };
    let (name, version) = match kind {
        BundleKind::Hotfix => ("web", "v2.7.0-20180605-p1"),
        BundleKind::Product => ("compass", "v2.7.0"),
        _ => ("gpu", "v0.1.0"),
    };
    BundleContents::new(kind, name, version, platform())
        .modified(1_700_000_000)
        .files(files)
        .images(images)
        .include_archives(include_archives)
}

/// A product that contains only these images.
pub(crate) fn product(images: Vec<ArchiveImage>, include_archives: bool) -> BundleContents {
    BundleContents::new(BundleKind::Product, "compass", "v2.7.0", platform())
        .images(images)
        .include_archives(include_archives)
}

/// A gzip member of stored blocks (`docs/bundle-format.md`, "Framing").
pub(crate) fn gzip_member(content: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks: Vec<_> = content.chunks(65_535).collect();
    if blocks.is_empty() {
        blocks.push(b"");
    }
    for (number, block) in blocks.iter().enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        member.push(u8::from(number + 1 == blocks.len()));
        member.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        member.extend(*block);
    }
    let mut crc = flate2::Crc::new();
    crc.update(content);
    member.extend([crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat());
    member
}

/// Counts opened blobs and bytes, and stalls after `limit` bytes.
pub(crate) struct Counting {
    pub(crate) storage: MemoryStorage,
    pub(crate) opened: Mutex<HashMap<Digest, u64>>,
    pub(crate) bytes: AtomicU64,
    pub(crate) limit: AtomicU64,
    pub(crate) chunk: usize,
}

impl Counting {
    pub(crate) fn new(storage: MemoryStorage) -> Self {
        Self {
            storage,
            opened: Mutex::default(),
            bytes: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            chunk: 16 << 10,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A [`Counting`] source that a test can inspect.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Counting>);

#[async_trait]
impl ImageSource for Shared {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        ImageSource::manifest(&self.0.storage, repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        *self.0.opened.lock().unwrap().entry(descriptor.digest).or_default() += 1;
        let stream = ImageSource::blob(&self.0.storage, repository, descriptor, range).await?;
        let whole: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        let whole = Bytes::from(whole.concat());
        let counting = Arc::clone(&self.0);
        let pieces: Vec<Bytes> = whole.chunks(counting.chunk).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces).then(move |piece| {
            let counting = Arc::clone(&counting);
            async move {
                let size = piece.len() as u64;
                let before = counting.bytes.fetch_add(size, Ordering::Relaxed);
                if before + size > counting.limit.load(Ordering::Relaxed) {
                    counting.bytes.fetch_sub(size, Ordering::Relaxed);
                    // Stall, as if the process had been killed.
                    futures_util::future::pending::<()>().await;
                }
                tokio::task::yield_now().await;
                Ok(piece)
            }
        });
        Ok(pieces.boxed())
    }
}

/// A file that counts the bytes that are read.
#[derive(Debug)]
pub(crate) struct CountedFile {
    pub(crate) file: LocalFile,
    pub(crate) bytes: AtomicU64,
}

#[async_trait]
impl BundleSource for CountedFile {
    fn name(&self) -> String {
        self.file.name()
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.bytes.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.file.read(range).await
    }
}
