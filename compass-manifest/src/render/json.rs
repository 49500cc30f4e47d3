use serde_json::{Value, json};

use crate::escape::is_unprintable;
use crate::finding::{Finding, Location, Related, Severity};
use crate::report::Report;

/// Renders a report as the JSON object that `docs/cli-json.md` describes.
///
/// `warnings` is empty; the command that prints the report adds its warnings.
pub fn json(report: &Report) -> Value {
    let findings: Vec<_> = report.findings().iter().map(finding).collect();
    let allowed: Vec<_> = report
        .suppressed()
        .iter()
        .map(|one| json!({"reason": one.reason, "finding": finding(&one.finding)}))
        .collect();
    let (errors, notes) = (report.count(Severity::Error), report.count(Severity::Note));
    let warnings = report.count(Severity::Warning);
    json!({
        "findings": findings,
        "counts": {"errors": errors, "warnings": warnings, "notes": notes},
        "errors": errors,
        "notes": notes,
        "preexisting": report.preexisting(),
        "allowed": allowed,
        "warnings": [],
    })
}

fn finding(finding: &Finding) -> Value {
    let Finding { code, severity, message, help, location, .. } = finding;
    let Location { file, start, end, .. } = location;
    let related: Vec<_> = finding
        .related
        .iter()
        .map(|Related { label, location, .. }| {
            let Location { file, start, end, .. } = location;
            json!({"label": label, "file": file, "start": start, "end": end})
        })
        .collect();
    json!({
        "code": code,
        "severity": severity,
        "message": message,
        "help": help,
        "file": file,
        "start": start,
        "end": end,
        "preexisting": finding.preexisting,
        "related": related,
    })
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
