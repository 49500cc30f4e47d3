//! The results of a run, each known as soon as it is there: who interrupts a long run is told what
//! has arrived.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use compass_registry::Platform;

use super::report::Report;
use super::{ImageTransfer, TransferResult};
use crate::error::CliError;

/// A place for the result of each transfer.
pub(crate) struct ResultSlots<'r> {
    transfers: &'r [ImageTransfer],
    known: Mutex<Vec<Option<TransferResult>>>,
}

impl<'r> ResultSlots<'r> {
    pub(crate) fn of(transfers: &'r [ImageTransfer]) -> Self {
        Self { transfers, known: Mutex::new(transfers.iter().map(|_| None).collect()) }
    }

    pub(super) fn transfers(&self) -> &'r [ImageTransfer] {
        self.transfers
    }

    pub(super) fn put(&self, number: usize, synced: TransferResult) {
        self.known()[number] = Some(synced);
    }

    /// All results, in the order of the transfers; of what has none, that it was interrupted.
    pub(crate) fn take(&self) -> Vec<TransferResult> {
        let mut known = self.known();
        let unknown = |transfer: &ImageTransfer| TransferResult {
            transfer: transfer.clone(),
            result: Err(CliError::interrupted(CliError::EXTERNAL)),
            retries: 0,
            seconds: 0.0,
        };
        let all = known.iter_mut().zip(self.transfers);
        all.map(|(known, transfer)| known.take().unwrap_or_else(|| unknown(transfer))).collect()
    }

    fn known(&self) -> MutexGuard<'_, Vec<Option<TransferResult>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run under way. Dropped, it leaves a report of what is known.
pub(super) struct ReportOnDrop<'r> {
    pub(super) results: &'r ResultSlots<'r>,
    pub(super) report: Option<&'r Path>,
    pub(super) platforms: &'r [Platform],
    pub(super) dry_run: bool,
    pub(super) began: Instant,
    pub(super) is_over: bool,
}

impl ReportOnDrop<'_> {
    pub(super) fn to_report(&self) -> Report {
        Report {
            synced: self.results.take(),
            platforms: self.platforms.to_vec(),
            dry_run: self.dry_run,
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for ReportOnDrop<'_> {
    fn drop(&mut self) {
        if let (false, Some(path)) = (self.is_over, self.report) {
            // What is interrupted ends, with a report or without.
            let _ = self.to_report().save(path);
        }
    }
}
