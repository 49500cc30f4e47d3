use serde::Serialize;

use crate::finding::{Place, Report, Severity};
use crate::source::Position;

#[derive(Serialize)]
struct Document<'r> {
    findings: Vec<Finding<'r>>,
    counts: Counts,
    errors: usize,
    notes: usize,
    preexisting: usize,
    allowed: Vec<Allowed<'r>>,
}

#[derive(Serialize)]
struct Counts {
    errors: usize,
    warnings: usize,
    notes: usize,
}

#[derive(Serialize)]
struct Allowed<'r> {
    reason: &'r str,
    finding: Finding<'r>,
}

#[derive(Serialize)]
struct Finding<'r> {
    code: &'r str,
    severity: Severity,
    message: &'r str,
    help: &'r str,
    file: &'r str,
    start: Position,
    end: Position,
    preexisting: bool,
    related: Vec<Related<'r>>,
}

#[derive(Serialize)]
struct Related<'r> {
    label: &'r str,
    file: &'r str,
    start: Position,
    end: Position,
}

/// The report as the JSON object that `docs/cli-json.md` describes.
pub fn json(report: &Report) -> serde_json::Value {
    let allowed = report.allowed().iter();
    let allowed =
        allowed.map(|one| Allowed { reason: &one.reason, finding: Finding::of(&one.finding) });
    let object = Document {
        findings: report.findings().iter().map(Finding::of).collect(),
        counts: Counts {
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            notes: report.count(Severity::Note),
        },
        errors: report.count(Severity::Error),
        notes: report.count(Severity::Note),
        preexisting: report.preexisting(),
        allowed: allowed.collect(),
    };
    serde_json::to_value(object).unwrap_or_default()
}

impl<'r> Finding<'r> {
    fn of(finding: &'r crate::finding::Finding) -> Self {
        let Place { file, start, end, .. } = &finding.place;
        let related = finding.related.iter().map(|related| Related {
            label: &related.label,
            file: &related.place.file,
            start: related.place.start,
            end: related.place.end,
        });
        Self {
            code: finding.code,
            severity: finding.severity,
            message: &finding.message,
            help: &finding.help,
            file,
            start: *start,
            end: *end,
            preexisting: finding.preexisting,
            related: related.collect(),
        }
    }
}
