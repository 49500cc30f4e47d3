//! Writes the report of a run that is interrupted.

use std::path::Path;
use std::time::Instant;

use compass_registry::Platform;

use super::ResultSlots;
use super::report::Report;

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
