//! Checks that a target is complete before it is listed, synced or packaged. A file that cannot be
//! read as intended hides images and files, and that would be noticed only at the installation.

use std::collections::BTreeSet;

use compass_manifest::check;
use compass_manifest::escape::escape;
use compass_manifest::finding::{Finding, Severity};

use crate::display::first_lines;
use crate::error::{CliError, Result};
use crate::repository::Repository;

/// The rules whose errors hide an image.
const BLOCKING_RULES: [&str; 6] = [
    "container-without-image",
    "image-list-syntax",
    "image-reference",
    "not-regular-file",
    "unquoted-template",
    "yaml-syntax",
];

/// The rules whose findings hide a part of a product, if they are in its manifest.
const BLOCKING_MANIFEST_RULES: [&str; 4] =
    ["missing-field", "missing-file", "unknown-field", "wrong-type"];

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
            let is_manifest_rule =
                manifest == Some(file) && BLOCKING_MANIFEST_RULES.contains(&finding.code);
            is_part(file) && (hides_image(finding) || is_manifest_rule)
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

    /// Summarizes the findings that hide an image of a plugin, hotfix or addon, without those at the
    /// `reported` locations (`FILE:LINE`).
    pub(crate) fn hidden_images(&self, reported: &BTreeSet<String>) -> Vec<String> {
        let is_new = |finding: &Finding| {
            let location = &finding.location;
            hides_image(finding)
                && finding.code != "image-list-syntax"
                && !reported.contains(&format!("{}:{}", location.file, location.start.line))
        };
        self.unfiltered_findings(is_new).iter().map(summary).collect()
    }

    /// All findings of the rules: a severity or suppression of the policy does not make a package
    /// complete.
    fn unfiltered_findings(&self, is_selected: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        let report = self.unfiltered.get_or_init(|| {
            let mut policy = self.policy.clone();
            policy.severities.clear();
            policy.suppressions.clear();
            check(&self.tree, &policy)
        });
        let suppressed = report.suppressed().iter().map(|suppressed| &suppressed.finding);
        let findings = report.findings().iter().chain(suppressed);
        findings.filter(|finding| is_selected(finding)).cloned().collect()
    }
}

fn hides_image(finding: &Finding) -> bool {
    BLOCKING_RULES.contains(&finding.code) && finding.severity == Severity::Error
}

/// A finding in one line.
pub(crate) fn summary(finding: &Finding) -> String {
    let Finding { location, message, code, .. } = finding;
    format!("{}:{}: {message} ({code})", escape(&location.file), location.start.line)
}
