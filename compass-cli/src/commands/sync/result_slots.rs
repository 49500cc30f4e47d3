//! The results of a run as they arrive, so that an interrupted run can report them.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use compass_registry::Platform;

use super::report::Report;
use super::{ImageTransfer, TransferResult};
use crate::error::CliError;

/// A slot for the result of each transfer.
pub(crate) struct ResultSlots<'r> {
    transfers: &'r [ImageTransfer],
    slots: Mutex<Vec<Option<TransferResult>>>,
}

impl<'r> ResultSlots<'r> {
    pub(crate) fn new(transfers: &'r [ImageTransfer]) -> Self {
        Self { transfers, slots: Mutex::new(transfers.iter().map(|_| None).collect()) }
    }

    pub(super) fn transfers(&self) -> &'r [ImageTransfer] {
        self.transfers
    }

    pub(super) fn put(&self, number: usize, result: TransferResult) {
        self.slots()[number] = Some(result);
    }

    /// Takes all results in the order of the transfers; a missing result is an interruption.
    pub(crate) fn take(&self) -> Vec<TransferResult> {
        let mut slots = self.slots();
        let interrupted = |transfer: &ImageTransfer| TransferResult {
            transfer: transfer.clone(),
            result: Err(CliError::interrupted(CliError::EXTERNAL)),
            retries: 0,
            seconds: 0.0,
        };
        let slots = slots.iter_mut().zip(self.transfers);
        slots.map(|(slot, transfer)| slot.take().unwrap_or_else(|| interrupted(transfer))).collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<TransferResult>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the report of the results so far if it is dropped before the run is complete.
pub(super) struct ReportOnDrop<'r> {
    pub(super) results: &'r ResultSlots<'r>,
    pub(super) report: Option<&'r Path>,
    pub(super) platforms: &'r [Platform],
    pub(super) dry_run: bool,
    pub(super) started: Instant,
    pub(super) is_complete: bool,
}

impl ReportOnDrop<'_> {
    pub(super) fn to_report(&self) -> Report {
        Report {
            results: self.results.take(),
            platforms: self.platforms.to_vec(),
            dry_run: self.dry_run,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for ReportOnDrop<'_> {
    fn drop(&mut self) {
        if let (false, Some(path)) = (self.is_complete, self.report) {
            // `drop` cannot report an error.
            let _ = self.to_report().save(path);
        }
    }
}
