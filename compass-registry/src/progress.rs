//! Progress of a transfer, for whoever shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Hears how a transfer goes on.
pub trait Progress: Send + Sync {
    /// This many bytes more will have to be moved.
    fn add_total(&self, bytes: u64);

    /// This many bytes more have been moved, or were found to be there already.
    fn advance(&self, bytes: u64);

    /// The transfer continues after this many bytes, which an earlier run moved.
    fn resumed(&self, _bytes: u64) {}

    /// One image more is whole at its destination, or failed.
    fn image_done(&self) {}
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn add_total(&self, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}
}

/// The progress of one blob. A blob that is moved again after a failure is counted once, so that
/// no bar runs backwards or beyond its end.
#[derive(Clone)]
pub(crate) struct BlobProgress {
    progress: Arc<dyn Progress>,
    high_water_mark: Arc<AtomicU64>,
}

impl BlobProgress {
    pub(crate) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, high_water_mark: Arc::default() }
    }

    /// The blob has been moved up to here.
    pub(crate) fn reach(&self, position: u64) {
        let before = self.high_water_mark.fetch_max(position, Ordering::Relaxed);
        if position > before {
            self.progress.advance(position - before);
        }
    }
}
