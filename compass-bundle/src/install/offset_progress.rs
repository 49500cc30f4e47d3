//! Progress of an installation in two passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compass_registry::Progress;

/// Progress of two passes. The second pass reports the bytes of the first again, so they are
/// skipped.
pub(super) struct OffsetProgress {
    progress: Arc<dyn Progress>,
    expected: AtomicU64,
    advanced: AtomicU64,
    /// Bytes expected and advanced in the first pass that are yet to be skipped.
    skip: (AtomicU64, AtomicU64),
}

impl OffsetProgress {
    pub(super) fn new(progress: &Arc<dyn Progress>) -> Self {
        Self {
            progress: Arc::clone(progress),
            expected: AtomicU64::new(0),
            advanced: AtomicU64::new(0),
            skip: (AtomicU64::new(0), AtomicU64::new(0)),
        }
    }

    /// The progress for the second pass.
    pub(super) fn second_pass(&self) -> Self {
        let reported = |bytes: &AtomicU64| AtomicU64::new(bytes.load(Ordering::Relaxed));
        Self {
            skip: (reported(&self.expected), reported(&self.advanced)),
            ..Self::new(&self.progress)
        }
    }
}

/// The part of `bytes` that the first pass did not report.
fn not_yet_reported(skip: &AtomicU64, bytes: u64) -> u64 {
    let seen = skip.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        Some(left.saturating_sub(bytes))
    });
    bytes.saturating_sub(seen.unwrap_or_default())
}

impl Progress for OffsetProgress {
    fn add_total(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
        self.progress.add_total(not_yet_reported(&self.skip.0, bytes));
    }

    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::Relaxed);
        self.progress.advance(not_yet_reported(&self.skip.1, bytes));
    }

    fn image_done(&self) {
        self.progress.image_done();
    }

    fn resumed(&self, bytes: u64) {
        self.progress.resumed(bytes);
    }
}
