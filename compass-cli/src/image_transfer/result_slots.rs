//! The results of a run as they arrive, so that an interrupted run can report them.

use std::sync::{Mutex, MutexGuard, PoisonError};

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
