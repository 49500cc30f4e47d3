//! Resumes interrupted writes of bundles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compass_bundle::document::BundleKind;
use compass_bundle::{BundlePlan, Error, WriteOptions, Written, write};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use sample::{Counting, Shared};

/// Number of jobs of a run.
const JOBS: usize = 3;

/// Maximum number of bytes that a job fetches again after an interruption: those that were received
/// and not recorded yet.
const CHUNK: u64 = 512 << 10;

/// Number of recorded bytes below which an interrupted run does not keep its file.
const MIN_RESUMABLE: u64 = 1 << 20;

fn options() -> WriteOptions {
    WriteOptions::default().jobs(JOBS)
}

async fn sample() -> (MemoryStorage, BundlePlan) {
    let shared = random_bytes(1, 3_000_000);
    let images = vec![
        vec![shared.clone(), random_bytes(2, 1_500_000)],
        vec![shared, random_bytes(3, 2_200_000)],
    ];
    let (storage, references) = sample::store(&images).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    (storage, plan)
}

async fn run(source: &Arc<Counting>, plan: &BundlePlan, directory: &Path) -> Written {
    loop {
        match write(plan, Arc::new(Shared(Arc::clone(source))), directory, &options()).await {
            // A thread of the interrupted run still writes a chunk.
            Err(Error::Busy { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            written => return written.unwrap(),
        }
    }
}

/// Writes a bundle until `after` bytes were fetched, then drops the future.
async fn interrupted(source: &Arc<Counting>, plan: &BundlePlan, directory: &Path, after: u64) {
    source.limit.store(after, Ordering::Relaxed);
    let shared = Arc::new(Shared(Arc::clone(source)));
    let options = options();
    let mut running = Box::pin(write(plan, shared, directory, &options));
    let journal = directory.join(format!("{}.part.journal", plan.file_name()));
    let (mut before, mut unchanged) = (None, 0);
    // The threads that write may be delayed on a busy machine.
    while unchanged < 4 {
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut running).await;
        assert!(waited.is_err(), "the run cannot end before its bytes have arrived");
        let now = Some((source.bytes(), std::fs::read(&journal).ok()));
        unchanged = if now == before { unchanged + 1 } else { 0 };
        before = now;
    }
    assert!(!directory.join(plan.file_name()).exists(), "an unfinished file has no final name");
    drop(running);
    source.limit.store(u64::MAX, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread")]
async fn write_after_interruption_resumes() {
    let (storage, plan) = sample().await;
    let uninterrupted = tempfile::tempdir().unwrap();
    let source = Arc::new(Counting::new(storage.clone()));
    let expected = run(&source, &plan, uninterrupted.path()).await;
    let total = plan.blob_bytes();
    assert_eq!(source.bytes(), total);

    for step in 1..12 {
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(Counting::new(storage.clone()));
        interrupted(&source, &plan, directory.path(), total * step / 12).await;
        let written = run(&source, &plan, directory.path()).await;
        assert_eq!(written.digest, expected.digest);
        assert_eq!(
            compass_registry::Digest::of(&std::fs::read(&written.path).unwrap()),
            written.digest
        );
        let again = source.bytes() - total;
        let unrecorded = CHUNK * JOBS as u64;
        let is_kept = total * step / 12 >= MIN_RESUMABLE + unrecorded;
        let bound = unrecorded + if is_kept { 0 } else { MIN_RESUMABLE };
        assert!(again <= bound, "{again} bytes were fetched twice, after {step} of 12 parts");
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 2, "the bundle and its checksum");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_damaged_leftovers_are_fetched_again() {
    let (storage, plan) = sample().await;
    let source = Arc::new(Counting::new(storage.clone()));
    let uninterrupted = tempfile::tempdir().unwrap();
    let expected = run(&source, &plan, uninterrupted.path()).await;
    for damage in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(Counting::new(storage.clone()));
        interrupted(&source, &plan, directory.path(), plan.blob_bytes() * 2 / 3).await;
        let part = directory.path().join(format!("{}.part", plan.file_name()));
        let journal = directory.path().join(format!("{}.part.journal", plan.file_name()));
        match damage {
            // After a power failure, bytes that were not on the disk are missing.
            0 => std::fs::write(&part, b"").unwrap(),
            1 => {
                let mut bytes = std::fs::read(&part).unwrap();
                let length = bytes.len();
                bytes[length / 3..].fill(0);
                std::fs::write(&part, bytes).unwrap();
            }
            2 => std::fs::remove_file(&journal).unwrap(),
            3 => std::fs::remove_file(&part).unwrap(),
            4 => std::fs::write(&journal, vec![0xff; 200]).unwrap(),
            _ => {
                let mut bytes = std::fs::read(&journal).unwrap();
                bytes[80..].fill(0xff);
                std::fs::write(&journal, bytes).unwrap();
            }
        }
        let written = run(&source, &plan, directory.path()).await;
        assert_eq!(written.digest, expected.digest, "damage {damage}");
        assert_eq!(
            compass_registry::Digest::of(&std::fs::read(&written.path).unwrap()),
            expected.digest
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_leftovers_of_other_plan_are_discarded() {
    let (storage, plan) = sample().await;
    let directory = tempfile::tempdir().unwrap();
    let source = Arc::new(Counting::new(storage.clone()));
    interrupted(&source, &plan, directory.path(), plan.blob_bytes() / 2).await;
    let (other, references) = sample::store(&[vec![random_bytes(9, 2_000_000)]]).await;
    let other_plan = sample::plan(&other, &references, BundleKind::Plugin, false).await;
    assert_eq!(other_plan.file_name(), plan.file_name());
    let alone = tempfile::tempdir().unwrap();
    let other = Arc::new(Counting::new(other));
    let expected = run(&other, &other_plan, alone.path()).await;
    let written = run(&other, &other_plan, directory.path()).await;
    assert_eq!(written.digest, expected.digest);
}
