//! Benchmarks streams, checksums, planning and parsing of bundles.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{
    ArchiveImage, BundleContents, BundleDocument, BundlePlan, FileEntry, Package, stream,
};
use compass_registry::storage::MemoryStorage;
use compass_registry::{Descriptor, ImageSource, Platform, RawManifest, Reference, media_type};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::TryStreamExt as _;

const BYTES: usize = 16 << 20;

/// Streams a bundle of one large layer, and reads the layer from it.
fn framing(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (plan, source) = single_layer();
    let write = || stream(Arc::clone(&plan), Arc::clone(&source)).try_collect::<Vec<Bytes>>();
    let bytes = Bytes::from(runtime.block_on(write()).unwrap().concat());
    let package = runtime.block_on(Package::read(Arc::new(bytes))).unwrap();
    let blobs = package.blobs().unwrap();
    let layer = blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap().descriptor.digest;
    let mut group = criterion.benchmark_group("bundle");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("stream", |bencher| {
        bencher.iter(|| runtime.block_on(write()).unwrap());
    });
    group.bench_function("read blob", |bencher| {
        bencher.iter(|| {
            let blob = package.open_blob(black_box(&layer)).unwrap();
            runtime.block_on(blob.try_collect::<Vec<Bytes>>()).unwrap()
        });
    });
    group.finish();
}

/// A plan of a bundle with one layer of [`BYTES`], and its source.
fn single_layer() -> (Arc<BundlePlan>, Arc<dyn ImageSource>) {
    let storage = MemoryStorage::default();
    let reference: Reference = "registry.example/release/app:v1".parse().unwrap();
    let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from(vec![7; BYTES]));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of("application/json", &config),
        "layers": [Descriptor::of(media_type::OCI_LAYER_GZIP, &layer)],
    });
    storage.add_blob(reference.repository(), config);
    storage.add_blob(reference.repository(), layer);
    let root = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    let platform: Platform = "linux/amd64".parse().unwrap();
    let image = ArchiveImage::new(reference, root).platform(Some(platform.clone()));
    let contents =
        BundleContents::new(BundleKind::Plugin, "app", "v1", platform).images(vec![image]);
    (Arc::new(BundlePlan::new(&contents).unwrap()), Arc::new(storage))
}

fn checksums(criterion: &mut Criterion) {
    let content = vec![7; BYTES];
    let mut group = criterion.benchmark_group("crc");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("update", |bencher| {
        bencher.iter(|| crc32fast::hash(black_box(&content)));
    });
    group.finish();
}

/// Creates images that share base layers, like the images of a product.
fn images(count: u64, bases: u64) -> Vec<ArchiveImage> {
    let blob = |media_type: &str, seed: u64, size| Descriptor {
        size,
        ..Descriptor::of(media_type, &seed.to_le_bytes())
    };
    let platform: Platform = "linux/amd64".parse().unwrap();
    let image = |number: u64| {
        let reference: Reference =
            format!("registry.example/release/app-{number}:v1").parse().unwrap();
        let layers = [
            blob(media_type::OCI_LAYER_GZIP, number % bases, 30_000_000),
            blob(media_type::OCI_LAYER_GZIP, 1000 + number, 2_000_000),
            blob(media_type::OCI_LAYER_GZIP, 2000 + number, 900_000),
        ];
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": blob(media_type::OCI_CONFIG, 3000 + number, 4_000),
            "layers": layers,
        });
        ArchiveImage::new(
            reference,
            RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string()),
        )
        .platform(Some(platform.clone()))
    };
    (0..count).map(image).collect()
}

fn product() -> BundleContents {
    let platform = "linux/amd64".parse().unwrap();
    BundleContents::new(BundleKind::Product, "compass", "v2.7.0", platform)
        .files(vec![FileEntry::new("product.yaml", "metadata: {name: compass}\n")])
        .images(images(180, 30))
}

fn planning(criterion: &mut Criterion) {
    let contents = product();
    criterion.bench_function("plan/product of 180 images", |bencher| {
        bencher.iter(|| BundlePlan::new(black_box(&contents)).unwrap());
    });
}

fn parsing(criterion: &mut Criterion) {
    let contents = product();
    let document = serde_json::to_string(BundlePlan::new(&contents).unwrap().document()).unwrap();
    let mut group = criterion.benchmark_group("parse");
    group.bench_function("image manifest", |bencher| {
        bencher.iter(|| black_box(&contents.images[0].root).parse().unwrap());
    });
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("bundle.json of 180 images", |bencher| {
        bencher.iter(|| serde_json::from_str::<BundleDocument>(black_box(&document)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, framing, checksums, planning, parsing);
criterion_main!(benches);
