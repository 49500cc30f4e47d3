//! Checks that a target is complete before it is listed, synced or packaged. A file that cannot be
//! parsed as intended would omit images and files from the package, and only the installation would
//! fail.

use std::collections::BTreeSet;

use compass_manifest::Check;
use compass_manifest::escape::escape;
use compass_manifest::finding::{Finding, Severity};
use compass_manifest::rule::BlocksPackaging;

use crate::display::first_lines;
use crate::error::{CliError, Result};
use crate::repository::Repository;

/// The maximum number of findings in an error.
pub(crate) const MAX_SHOWN: usize = 20;

impl Repository {
    /// Returns an error if a target is incomplete. `is_part` selects its files; `manifest` is the
    /// product manifest of a product.
    pub(crate) fn require_complete(
        &self,
        is_part: impl Fn(&str) -> bool,
        manifest: Option<&str>,
    ) -> Result<()> {
        let is_blocking = |finding: &Finding| {
            let file = finding.location.file.as_str();
            let hides_part = manifest == Some(file)
                && finding.blocks_packaging == BlocksPackaging::InProductManifest;
            is_part(file) && (hides_image(finding) || hides_part)
        };
        let blocking = self.unfiltered_findings(is_blocking);
        match blocking.is_empty() {
            true => Ok(()),
            false => {
                let message = first_lines(blocking.iter().map(summary), MAX_SHOWN);
                Err(CliError::check_failed(message).with_check_hint())
            }
        }
    }

    /// Summarizes the findings that hide an image of a plugin, hotfix or addon.
    ///
    /// Omits findings at the `reported` locations (`FILE:LINE`).
    pub(crate) fn hidden_images(&self, reported: &BTreeSet<String>) -> Vec<String> {
        let is_new = |finding: &Finding| {
            let location = &finding.location;
            hides_image(finding)
                && !self.release().is_image_list(&location.file)
                && !reported.contains(&format!("{}:{}", location.file, location.start.line))
        };
        self.unfiltered_findings(is_new).iter().map(summary).collect()
    }

    /// Returns the selected findings of the rules without the policy's severities and suppressions,
    /// because these do not make a package complete.
    fn unfiltered_findings(&self, is_selected: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        let check = || Check::new(self.release()).ignoring_exceptions().run();
        let report = self.unfiltered.get_or_init(check);
        let suppressed = report.suppressed().iter().map(|suppressed| &suppressed.finding);
        let findings = report.findings().iter().chain(suppressed);
        findings.filter(|finding| is_selected(finding)).cloned().collect()
    }
}

fn hides_image(finding: &Finding) -> bool {
    finding.blocks_packaging == BlocksPackaging::Always && finding.severity == Severity::Error
}

/// A finding in one line.
pub(crate) fn summary(finding: &Finding) -> String {
    let Finding { location, message, code, .. } = finding;
    format!("{}:{}: {message} ({code})", escape(&location.file), location.start.line)
}
