//! What keeps a target from being complete: a file that cannot be read, or not as it is meant, names
//! images and files that nobody would miss before the site does.

use std::collections::BTreeSet;

use compass_manifest::check;
use compass_manifest::escape::escape;
use compass_manifest::finding::{Finding, Severity};

use crate::error::CliError;
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

/// The rules whose findings hide something in a product manifest, which says what else there is.
const BLOCKING_MANIFEST_RULES: [&str; 4] =
    ["missing-field", "missing-file", "unknown-field", "wrong-type"];

/// How many findings a refusal shows.
const MAX_SHOWN: usize = 20;

impl Repository {
    /// Refuses a target of which something would be left out unseen. `is_part` says which files it
    /// consists of; `manifest` is the product manifest, if it has one.
    pub(crate) fn require_complete(
        &self,
        is_part: impl Fn(&str) -> bool,
        manifest: Option<&str>,
    ) -> Result<(), CliError> {
        let hides = |finding: &Finding| {
            let file = finding.location.file.as_str();
            let in_manifest =
                manifest == Some(file) && BLOCKING_MANIFEST_RULES.contains(&finding.code);
            is_part(file) && (hides_image(finding) || in_manifest)
        };
        let hiding = self.findings_that(hides);
        if hiding.is_empty() {
            return Ok(());
        }
        let mut message: Vec<String> = hiding.iter().take(MAX_SHOWN).map(describe).collect();
        if hiding.len() > MAX_SHOWN {
            message.push(format!("and {} more", hiding.len() - MAX_SHOWN));
        }
        Err(CliError::check_failed(message.join("\n")).hint("`compass check` shows where"))
    }

    /// The findings that hide an image of a plugin, hotfix or addon, in words; without those in
    /// `known` lines, as `FILE:LINE`.
    pub(crate) fn omissions(&self, known: &BTreeSet<String>) -> Vec<String> {
        let hides = |finding: &Finding| {
            let place = format!("{}:{}", finding.location.file, finding.location.start.line);
            hides_image(finding) && finding.code != "image-list-syntax" && !known.contains(&place)
        };
        self.findings_that(hides).iter().map(describe).collect()
    }

    /// What the rules find, whatever the policy makes of it: a rule that is switched off, or a finding
    /// that is allowed, does not bring back what a package lacks.
    fn findings_that(&self, hides: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        let report = self.unabridged.get_or_init(|| {
            let mut policy = self.policy.clone();
            policy.severities.clear();
            policy.suppressions.clear();
            check(&self.tree, &policy)
        });
        let allowed = report.suppressed().iter().map(|allowed| &allowed.finding);
        report.findings().iter().chain(allowed).filter(|finding| hides(finding)).cloned().collect()
    }
}

fn hides_image(finding: &Finding) -> bool {
    BLOCKING_RULES.contains(&finding.code) && finding.severity == Severity::Error
}

/// A finding in one line.
pub(crate) fn describe(finding: &Finding) -> String {
    let place = &finding.location;
    format!("{}:{}: {} ({})", escape(&place.file), place.start.line, finding.message, finding.code)
}
