use serde_json::{Map, Value, json};

use crate::finding::{Finding, Location};
use crate::report::Report;
use crate::rule::Rule;

/// Renders a report as a SARIF 2.1.0 log (OASIS), for code scanning.
///
/// `version` is the version of Compass. Preexisting findings have the baseline state `unchanged`.
/// Suppressed findings have a suppression with its reason. Paths are relative to the root of the
/// git repository ([`Report::in_directory`]).
pub fn sarif(report: &Report, version: &str) -> Value {
    let results = report.findings().iter().map(|finding| result(report, finding));
    let suppressed = report.suppressed().iter().map(|suppressed| {
        let mut result = result(report, &suppressed.finding);
        result["suppressions"] =
            json!([{"kind": "external", "status": "accepted", "justification": suppressed.reason}]);
        result
    });
    let root = match report.directory.as_str() {
        "" => "The root of the release repository.",
        _ => "The root of the git repository.",
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "compass",
                "version": version,
                "rules": report.rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {
                "SRCROOT": {"description": {"text": root}},
            },
            "results": results.chain(suppressed).collect::<Vec<_>>(),
        }],
    })
}

fn descriptor(rule: &Rule) -> Value {
    let docs = rule.docs.to_string();
    json!({
        "id": rule.code,
        "shortDescription": {"text": rule.summary},
        "help": {"text": docs, "markdown": docs},
        "defaultConfiguration": {"level": rule.severity.as_str()},
    })
}

fn result(report: &Report, finding: &Finding) -> Value {
    let mut result = Map::new();
    let mut set = |key: &str, value| drop(result.insert(key.to_owned(), value));
    set("ruleId", json!(finding.code));
    if let Some(index) = report.rules.iter().position(|rule| rule.code == finding.code) {
        set("ruleIndex", json!(index));
    }
    set("level", json!(finding.severity.as_str()));
    let text = match finding.help.as_str() {
        "" => finding.message.clone(),
        help => format!("{}: {help}", finding.message),
    };
    set("message", json!({"text": text}));
    set("locations", json!([location(report, &finding.location)]));
    let related = finding.related.iter().enumerate().map(|(id, related)| {
        let mut location = location(report, &related.location);
        location["id"] = json!(id);
        location["message"] = json!({"text": related.label});
        location
    });
    let related: Vec<_> = related.collect();
    if !related.is_empty() {
        set("relatedLocations", json!(related));
    }
    set("partialFingerprints", json!({"compass/v1": fingerprint(report, finding)}));
    if finding.preexisting {
        set("baselineState", json!("unchanged"));
    }
    Value::Object(result)
}

fn location(report: &Report, location: &Location) -> Value {
    let mut region = json!({
        "startLine": location.start.line,
        "startColumn": location.start.column,
        "endLine": location.end.line,
        "endColumn": location.end.column,
    });
    if (location.end.line, location.end.column) < (location.start.line, location.start.column) {
        region = json!({"startLine": location.start.line});
    }
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&report.path_from_root(&location.file)), "uriBaseId": "SRCROOT"},
        "region": region,
    }})
}

/// Returns a fingerprint of a finding that stays the same if lines move.
///
/// It consists of code, file, message, and the number of equal findings before this one.
fn fingerprint(report: &Report, finding: &Finding) -> String {
    let same = |other: &&Finding| {
        other.code == finding.code
            && other.location.file == finding.location.file
            && other.message == finding.message
            && other.location < finding.location
    };
    let number = report.findings().iter().filter(same).count();
    format!("{}:{}:{}:{number}", finding.code, finding.location.file, finding.message)
}

/// Encodes a path as a relative URI reference (RFC 3986).
///
/// Unreserved characters are kept.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_reserved_characters_are_encoded() {
        assert_eq!(uri("release-plugins/a b:持.yaml"), "release-plugins/a%20b%3A%E6%8C%81.yaml");
    }
}
