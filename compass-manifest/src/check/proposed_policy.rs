//! A change of the policy, judged by the policy that it changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Finding, Report, Severity};
use crate::rules::unused_allowance;

/// What tells two findings apart.
type Key<'f> = (&'static str, &'f str, usize, &'f str);

/// Says in `report` which findings the proposed policy would not give, and adds those that only it
/// gives, as notes.
pub(super) fn compare(mut report: Report, proposed: &Report) -> Report {
    let spared: Vec<bool> = {
        let theirs: BTreeSet<Key<'_>> = proposed.findings.iter().map(key).collect();
        report.findings.iter().map(|finding| !theirs.contains(&key(finding))).collect()
    };
    let mut added: Vec<Finding> = {
        let ours: BTreeSet<Key<'_>> = report.findings.iter().map(key).collect();
        let only_theirs = proposed.findings.iter().filter(|one| !ours.contains(&key(one)));
        // Whether an allowance is needed depends on the policy that has it.
        only_theirs.filter(|one| one.code != unused_allowance::RULE.code).cloned().collect()
    };
    for (finding, spared) in report.findings.iter_mut().zip(spared) {
        if spared {
            finding.message += " (the changed policy would not report this)";
        }
    }
    for finding in &mut added {
        finding.message += " (only the changed policy reports this)";
        finding.severity = Severity::Note;
    }
    let sources: BTreeMap<_, _> = proposed.sources.clone();
    for (path, source) in sources {
        report.sources.entry(path).or_insert(source);
    }
    report.findings.extend(added);
    report
        .findings
        .sort_by(|a, b| (&a.location, a.code, &a.message).cmp(&(&b.location, b.code, &b.message)));
    report
}

fn key(finding: &Finding) -> Key<'_> {
    (finding.code, &finding.location.file, finding.location.span.start, &finding.message)
}
