//! Compares the findings of the current policy with those of a proposed policy.

use std::collections::BTreeSet;

use crate::finding::{Finding, Severity};
use crate::report::Report;
use crate::rules::unused_allowance;

/// The properties that identify a finding.
type Key<'f> = (&'static str, &'f str, usize, &'f str);

/// Compares the report of the current policy with the report of the proposed policy.
///
/// Marks the findings that the proposed policy does not give, and adds the findings that only the
/// proposed policy gives, as notes.
pub(super) fn compare(mut report: Report, proposed: &Report) -> Report {
    let proposed_keys: BTreeSet<Key<'_>> = proposed.findings.iter().map(key).collect();
    let current_keys: BTreeSet<Key<'_>> = report.findings.iter().map(key).collect();
    let is_added = |finding: &&Finding| {
        // Do not add unused suppressions: the two policies have different suppressions.
        !current_keys.contains(&key(finding)) && finding.code != unused_allowance::RULE.code
    };
    let mut added: Vec<Finding> = proposed.findings.iter().filter(is_added).cloned().collect();
    for finding in &mut added {
        finding.message += " (only the changed policy reports this)";
        finding.severity = Severity::Note;
    }
    for finding in &mut report.findings {
        if !proposed_keys.contains(&key(finding)) {
            finding.message += " (the changed policy would not report this)";
        }
    }
    for (path, source) in &proposed.sources {
        report.sources.entry(path.clone()).or_insert_with(|| source.clone());
    }
    report.findings.extend(added);
    report.findings.sort_by(Finding::cmp_location);
    report
}

fn key(finding: &Finding) -> Key<'_> {
    (finding.code, &finding.location.file, finding.location.span.start, &finding.message)
}
