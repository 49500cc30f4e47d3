//! Copies images with a progress bar and a report, for `compass sync` and the steps of a release.

use std::path::Path;
use std::time::Instant;

use compass_registry::{OnExistingTag, Platform};

use super::report::Report;
use super::report_on_drop::ReportOnDrop;
use super::{ImageTransfer, ResultSlots, sync};
use crate::error::Result;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::registries::Registries;

/// The images to copy, and how.
pub(crate) struct Job<'j> {
    pub(crate) transfers: &'j [ImageTransfer],
    /// The platforms to copy; empty for all.
    pub(crate) platforms: &'j [Platform],
    /// The file for the report of an interrupted run.
    pub(crate) report: Option<&'j Path>,
    pub(crate) on_existing_tag: OnExistingTag,
    pub(crate) dry_run: bool,
}

impl Job<'_> {
    /// Copies the images, and prints warnings about them. The report contains the errors.
    pub(crate) async fn run(
        &self,
        registries: &Registries,
        global: &GlobalArgs,
        output: &Output,
    ) -> Result<Report> {
        let progress = output.progress("sync");
        progress.expect_images(self.transfers.len());
        let options = global
            .copy_options(progress.shared())
            .platforms(self.platforms.to_vec())
            .on_existing_tag(self.on_existing_tag);
        let results = ResultSlots::new(self.transfers);
        let mut run = ReportOnDrop {
            results: &results,
            report: self.report,
            platforms: self.platforms,
            dry_run: self.dry_run,
            started: Instant::now(),
            is_complete: false,
        };
        let synced = sync(&results, registries, &options, self.dry_run).await;
        run.is_complete = true;
        drop((options, progress));
        synced?;
        let report = run.to_report();
        report.warnings().for_each(|warning| output.warn(&warning));
        Ok(report)
    }
}
