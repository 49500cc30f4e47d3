//! Progress reports of transfers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Receives the progress of transfers.
pub trait Progress: Send + Sync {
    /// Adds bytes to the total that will be transferred.
    fn add_total(&self, bytes: u64);

    /// Adds bytes that were transferred, or were found to exist at the destination.
    fn advance(&self, bytes: u64);

    /// Reports that a transfer continues after this many bytes of an earlier run.
    fn resumed(&self, _bytes: u64) {}

    /// Reports that one more image was completed or has failed.
    fn image_done(&self) {}
}

/// Ignores all reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn add_total(&self, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}
}

/// The progress of one blob. Bytes that are transferred again after a failure are counted once, so
/// that no progress bar runs backwards or beyond its end.
#[derive(Clone)]
pub(crate) struct BlobProgress {
    progress: Arc<dyn Progress>,
    high_water_mark: Arc<AtomicU64>,
}

impl BlobProgress {
    pub(crate) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, high_water_mark: Arc::default() }
    }

    /// Reports that the blob was transferred up to `position`.
    pub(crate) fn reach(&self, position: u64) {
        let before = self.high_water_mark.fetch_max(position, Ordering::Relaxed);
        if position > before {
            self.progress.advance(position - before);
        }
    }
}
