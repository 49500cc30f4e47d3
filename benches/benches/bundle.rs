//! Benchmarks framing, checksums, planning and parsing of bundles.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use compass_bundle::document::BundleKind;
use compass_bundle::gzip::{self, Deframer};
use compass_bundle::{ArchiveImage, BundleContents, BundleDocument, BundlePlan, FileEntry};
use compass_registry::{Descriptor, Platform, RawManifest, Reference, media_type};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BYTES: usize = 16 << 20;

fn framing(criterion: &mut Criterion) {
    let content = vec![7; BYTES];
    let framed = gzip::member(&content);
    let mut group = criterion.benchmark_group("member");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| gzip::member(black_box(&content)));
    });
    let mut out = Vec::with_capacity(BYTES);
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut deframer = Deframer::new(BYTES as u64);
            let read = deframer.for_each_slice(black_box(&framed), |slice| {
                out.extend_from_slice(slice);
                Ok(())
            });
            read.and_then(|()| deframer.finish())
        });
    });
    group.finish();
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
        ArchiveImage {
            repository: reference.repository().clone(),
            reference,
            platform: Some(platform.clone()),
            root: RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string()),
            children: Vec::new(),
            omitted_platforms: Vec::new(),
            unavailable: Vec::new(),
        }
    };
    (0..count).map(image).collect()
}

fn product() -> BundleContents {
    BundleContents {
        kind: BundleKind::Product,
        name: "compass".to_owned(),
        version: "v2.7.0".to_owned(),
        base_version: None,
        commit: None,
        modified: 0,
        files: vec![FileEntry::new("product.yaml", "metadata: {name: compass}\n")],
        images: images(180, 30),
        platform: "linux/amd64".parse().unwrap(),
        platforms: Vec::new(),
        include_archives: false,
    }
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
