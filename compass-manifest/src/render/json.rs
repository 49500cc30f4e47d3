use serde::Serialize;
use serde_json::Value;

use crate::escape::is_unprintable;
use crate::finding::{Location, Report, Severity};
use crate::source::Position;

#[derive(Serialize)]
struct Document<'r> {
    findings: Vec<Finding<'r>>,
    counts: Counts,
    errors: usize,
    notes: usize,
    preexisting: usize,
    allowed: Vec<Suppressed<'r>>,
    /// An empty list, to which the caller adds its own warnings.
    warnings: [String; 0],
}

#[derive(Serialize)]
struct Counts {
    errors: usize,
    warnings: usize,
    notes: usize,
}

#[derive(Serialize)]
struct Suppressed<'r> {
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

/// Renders a report as the JSON object that `docs/cli-json.md` describes.
///
/// `warnings` is empty; the command that prints the report adds its warnings.
pub fn json(report: &Report) -> Value {
    let allowed = report.suppressed().iter();
    let allowed =
        allowed.map(|one| Suppressed { reason: &one.reason, finding: Finding::of(&one.finding) });
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
        warnings: [],
    };
    serde_json::to_value(object).unwrap_or_default()
}

/// Formats a JSON value as indented text without a final line break.
///
/// Control and format characters are written as escapes like `\u0085`, which parsers decode.
///
/// ```
/// use compass_manifest::render::json_text;
///
/// let value = serde_json::json!({"file": "a\u{202e}b"});
/// assert_eq!(json_text(&value), "{\n  \"file\": \"a\\u202eb\"\n}");
/// assert_eq!(serde_json::from_str::<serde_json::Value>(&json_text(&value)).unwrap(), value);
/// ```
pub fn json_text(value: &Value) -> String {
    let text = format!("{value:#}");
    // Escapes are valid, because JSON text has unsafe characters other than line breaks only in
    // strings.
    let is_safe = |character: char| character == '\n' || !is_unprintable(character);
    if text.chars().all(is_safe) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_safe(character) {
            safe.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

impl<'r> Finding<'r> {
    fn of(finding: &'r crate::finding::Finding) -> Self {
        let Location { file, start, end, .. } = &finding.location;
        let related = finding.related.iter().map(|related| Related {
            label: &related.label,
            file: &related.location.file,
            start: related.location.start,
            end: related.location.end,
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
