//! Recompression of layers to gzip.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::io::Read as _;
use std::sync::Arc;

use compass_bundle::{
    ArchiveImage, Bundle, BundlePlan, Error, Platforms, Recompressed, VerifyOptions, WriteOptions,
    layers_to_recompress, recompress, write,
};
use compass_registry::storage::{MemoryStorage, Storage as _};
use compass_registry::testing::random_bytes;
use compass_registry::{
    Descriptor, Digest, Error as RegistryError, ImageRef, ImageSource, ImageSourceExt as _,
    Manifest, RawManifest, Reference, Repository, TagOrDigest, media_type,
};
use sample::{Counting, Shared, platform};
use serde_json::json;

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(content, flate2::Compression::fast())
        .read_to_end(&mut packed)
        .unwrap();
    packed
}

fn unpacked(layer: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(layer).read_to_end(&mut content).unwrap();
    content
}

/// The decompressed content of a layer, or its bytes if it is not compressed.
fn content_of(layer: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    match flate2::read::GzDecoder::new(layer).read_to_end(&mut content) {
        Ok(_) => content,
        Err(_) => zstd::decode_all(layer).unwrap_or_else(|_| layer.to_vec()),
    }
}

fn describe(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::to_value(Descriptor::of(media_type, bytes)).unwrap()
}

/// Stores an image with these layers.
async fn put(
    storage: &MemoryStorage,
    reference: &Reference,
    layers: &[(&str, Vec<u8>)],
) -> RawManifest {
    let ids: Vec<_> = layers.iter().map(|(_, layer)| Digest::of(&content_of(layer))).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &config),
        "layers": layers.iter().map(|(kind, bytes)| describe(kind, bytes)).collect::<Vec<_>>(),
    });
    for blob in std::iter::once(&config).chain(layers.iter().map(|(_, bytes)| bytes)) {
        storage.add_blob(reference.repository(), blob.clone());
    }
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    storage.put_manifest(reference.repository(), &manifest, reference.tag()).await.unwrap();
    manifest
}

fn reference(name: &str) -> Reference {
    format!("h.example/release/{name}:v1").parse().unwrap()
}

async fn gather(
    storage: &MemoryStorage,
    names: &[&str],
    platforms: Platforms,
) -> Vec<ArchiveImage> {
    let mut images = Vec::new();
    for name in names {
        let reference = reference(name);
        let from = ImageRef::from(&reference);
        let source = Arc::new(storage.clone());
        let image = ArchiveImage::resolve(source, &from, reference.clone(), &platforms).await;
        images.push(image.unwrap());
    }
    images
}

async fn layers_of(
    source: &dyn compass_registry::ImageSource,
    image: &ArchiveImage,
) -> Vec<Vec<u8>> {
    let Manifest::Image { layers, .. } = image.root.parse().unwrap() else { panic!("an index") };
    let mut contents = Vec::new();
    for layer in layers {
        assert_eq!(layer.media_type, media_type::OCI_LAYER_GZIP);
        contents.push(unpacked(&source.read(&image.repository, &layer).await.unwrap()));
    }
    contents
}

/// Two images: one with layers of every compression, the other with the same zstd layer.
async fn two_images() -> (MemoryStorage, [Vec<u8>; 3]) {
    let storage = MemoryStorage::default();
    let contents = [random_bytes(1, 300_000), vec![7; 2_000_000], random_bytes(3, 1000)];
    let packed = zstd(&contents[0]);
    let layers = [
        (media_type::OCI_LAYER_ZSTD, packed.clone()),
        (media_type::OCI_LAYER, contents[1].clone()),
        (media_type::OCI_LAYER_GZIP, gzip(&contents[2])),
    ];
    put(&storage, &reference("web"), &layers).await;
    put(&storage, &reference("worker"), &[(media_type::OCI_LAYER_ZSTD, packed)]).await;
    (storage, contents)
}

#[tokio::test]
async fn recompress_keeps_content_of_layers() {
    let (storage, contents) = two_images().await;
    let images = gather(&storage, &["web", "worker"], Platforms::One(platform())).await;
    assert_eq!(layers_to_recompress(&images).unwrap().len(), 2);
    let counting = Arc::new(Counting::new(storage));
    let source = Arc::new(Shared(Arc::clone(&counting)));
    let staged = Arc::new(MemoryStorage::default());
    let options = WriteOptions::default();
    let recompressed = recompress(source, images.clone(), staged, &options).await.unwrap();
    assert!(counting.opened.lock().unwrap().values().all(|opened| *opened == 1));

    let Recompressed { source, images: after, layers, .. } = recompressed;
    assert_eq!(layers.len(), 2);
    assert_eq!(layers_to_recompress(&after).unwrap(), []);
    assert_eq!(layers_of(&*source, &after[0]).await, contents);
    assert_eq!(layers_of(&*source, &after[1]).await, contents[..1]);
    let config = |image: &ArchiveImage| match image.root.parse().unwrap() {
        Manifest::Image { config, .. } => config.digest,
        Manifest::Index(_) => panic!("an index"),
    };
    assert_eq!(config(&images[0]), config(&after[0]));
    assert_ne!(images[0].root.digest(), after[0].root.digest());
}

#[tokio::test]
async fn recompressed_bundle_is_valid_and_reproducible() {
    let (storage, contents) = two_images().await;
    let mut digests = Vec::new();
    // The size of chunks from the source must not matter.
    for chunk in [None, Some(1000), Some(70_001)] {
        let source: Arc<dyn ImageSource> = match chunk {
            None => Arc::new(storage.clone()),
            Some(chunk) => {
                Arc::new(Shared(Arc::new(Counting { chunk, ..Counting::new(storage.clone()) })))
            }
        };
        let images = gather(&storage, &["web", "worker"], Platforms::One(platform())).await;
        let staged = Arc::new(MemoryStorage::default());
        let options = WriteOptions::default();
        let recompressed = recompress(source, images, staged, &options).await.unwrap();
        let plan = BundlePlan::new(&sample::product(recompressed.images, true));
        let directory = tempfile::tempdir().unwrap();
        let written =
            write(&plan.unwrap(), recompressed.source, directory.path(), &options).await.unwrap();
        let bundle = Bundle::open(&written.path).await.unwrap();
        assert!(bundle.verify(&VerifyOptions::default()).await.unwrap().is_ok());
        assert_eq!(layers_of(&bundle, &bundle.images()[0]).await, contents);
        digests.push(written.digest);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[tokio::test]
async fn recompress_reuses_earlier_results() {
    let (storage, _) = two_images().await;
    let images = gather(&storage, &["web"], Platforms::One(platform())).await;
    let counting = Arc::new(Counting::new(storage));
    let staged = Arc::new(MemoryStorage::default());
    let options = WriteOptions::default();
    let once = || async {
        let source = Arc::new(Shared(Arc::clone(&counting)));
        recompress(source, images.clone(), staged.clone(), &options).await.unwrap()
    };
    let first = once().await;
    let read = counting.bytes();
    let second = once().await;
    // Only the configuration is read, for its diff IDs.
    assert!(counting.bytes() - read < 1000, "no layer is read again");
    assert_eq!(first.images, second.images);
    assert_eq!(first.layers, second.layers);
}

#[tokio::test]
async fn recompressed_index_lists_new_manifests() {
    let storage = MemoryStorage::default();
    let layer = zstd(b"amd64");
    let amd = put(&storage, &reference("web"), &[(media_type::OCI_LAYER_ZSTD, layer)]).await;
    let arm = put(&storage, &reference("web"), &[(media_type::OCI_LAYER_GZIP, gzip(b"arm"))]).await;
    let entry = |image: &RawManifest, architecture: &str| {
        json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": image.digest(),
            "size": image.descriptor().size,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
        "manifests": [entry(&amd, "amd64"), entry(&arm, "arm64")],
    });
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    let tag = reference("web");
    storage.put_manifest(tag.repository(), &index, tag.tag()).await.unwrap();

    let images = gather(&storage, &["web"], Platforms::All(platform())).await;
    let staged = Arc::new(MemoryStorage::default());
    let options = WriteOptions::default();
    let recompressed = recompress(Arc::new(storage), images, staged, &options).await.unwrap();
    let image = &recompressed.images[0];
    let Manifest::Index(entries) = image.root.parse().unwrap() else { panic!("no index") };
    let named: Vec<Digest> = entries.iter().map(|entry| entry.digest).collect();
    let children: Vec<Digest> = image.children.iter().map(RawManifest::digest).collect();
    assert_eq!(named, children);
    assert_eq!(children[1], arm.digest());
    assert_eq!(entries[0].size, image.children[0].descriptor().size);
    assert_ne!(children[0], amd.digest());
    assert_eq!(entries[0].platform, Some(platform()));
}

#[tokio::test]
async fn layer_unlike_media_type_is_error() {
    for (media_type, bytes, says) in [
        (media_type::OCI_LAYER_ZSTD, b"not zstd at all".to_vec(), "cannot read"),
        (
            media_type::OCI_LAYER,
            gzip(b"gzip after all"),
            "it is gzip, but its media type declares another compression",
        ),
        (media_type::OCI_LAYER_ZSTD, zstd(&random_bytes(9, 5000))[..3000].to_vec(), "cannot read"),
        (
            media_type::OCI_LAYER,
            [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 9, 3][..], &[7; 5000]].concat(),
            "it starts like gzip, but cannot be decompressed",
        ),
    ] {
        let storage = MemoryStorage::default();
        let digest = Digest::of(&bytes);
        put(&storage, &reference("web"), &[(media_type, bytes)]).await;
        let images = gather(&storage, &["web"], Platforms::One(platform())).await;
        let staged = Arc::new(MemoryStorage::default());
        let options = WriteOptions::default();
        let recompressed = recompress(Arc::new(storage), images, staged.clone(), &options).await;
        let error = recompressed.err().unwrap();
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&digest.to_string()), "{text}");
        assert_eq!(staged.repositories().await.unwrap(), []);
    }
}

#[tokio::test]
async fn layer_unlike_diff_id_is_error() {
    let storage = MemoryStorage::default();
    let right = zstd(b"right");
    let promised = Digest::of(&right);
    put(&storage, &reference("web"), &[(media_type::OCI_LAYER_ZSTD, right)]).await;
    let images = gather(&storage, &["web"], Platforms::One(platform())).await;
    let source = Arc::new(Lying(storage, zstd(b"wrong")));
    let staged = Arc::new(MemoryStorage::default());
    let options = WriteOptions::default();
    let recompressed = recompress(source, images, staged.clone(), &options).await;
    match recompressed.err().unwrap() {
        Error::Registry(RegistryError::DigestMismatch { expected, .. }) => {
            assert_eq!(*expected, promised);
        }
        other => panic!("{other}"),
    }
    assert_eq!(staged.repositories().await.unwrap(), []);
}

/// A source that returns the same bytes for every layer.
struct Lying(MemoryStorage, Vec<u8>);

#[async_trait::async_trait]
impl compass_registry::ImageSource for Lying {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        compass_registry::ImageSource::manifest(&self.0, repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: std::ops::Range<u64>,
    ) -> Result<compass_registry::ByteStream, RegistryError> {
        if !descriptor.media_type.contains("layer") {
            return compass_registry::ImageSource::blob(&self.0, repository, descriptor, range)
                .await;
        }
        let bytes = bytes::Bytes::from(self.1.clone());
        Ok(Box::pin(futures_util::stream::iter([Ok(bytes)])))
    }
}
