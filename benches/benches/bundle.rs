//! The arithmetic of bundles: framing, in both directions.
#![allow(missing_docs)]

use std::hint::black_box;

use compass_bundle::frame::{Framer, Unframer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BYTES: usize = 16 << 20;

fn framing(criterion: &mut Criterion) {
    let content = vec![7; BYTES];
    let mut framed = Vec::with_capacity(BYTES + BYTES / 1000);
    Framer::new(0, BYTES as u64).push(&content, &mut framed);
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Bytes(BYTES as u64));
    let mut out = Vec::with_capacity(framed.len());
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            out.clear();
            Framer::new(0, BYTES as u64).push(black_box(&content), &mut out);
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            out.clear();
            Unframer::new(0, BYTES as u64).push(black_box(&framed), &mut out)
        });
    });
    group.finish();
}

criterion_group!(benches, framing);
criterion_main!(benches);
