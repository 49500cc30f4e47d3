//! Applies suppressions: the `allow` list of the policy, and `# compass:allow` comments.

use super::{Check, Found};
use crate::escape::quote;
use crate::finding::{Finding, Location, Suppressed};
use crate::policy::POLICY_FILE;
use crate::repository::Document;
use crate::rule::{MAX_FINDINGS_PER_FILE, Rule};
use crate::rules::unused_allowance;
use crate::source::{SourceFile, Span};
use crate::yaml::{Node, NodeKind};

/// The text at the beginning of a suppression in a comment.
const MARKER: &str = "compass:allow";

/// A comment `# compass:allow CODE REASON`, at the end of a line or on the line above it.
struct LineSuppression<'d> {
    document: &'d Document,
    span: Span,
    /// The line that the comment applies to, from 1.
    line: usize,
    code: &'d str,
    reason: &'d str,
}

/// Removes the suppressed findings, and sorts the others by location.
///
/// Adds a finding for each unused suppression, unless the policy turns that rule off.
pub(super) fn apply(check: &Check<'_>, found: &mut Found) -> Vec<Suppressed> {
    let repository = check.head;
    let policy: &[_] = if check.ignores_exceptions { &[] } else { &repository.policy.suppressions };
    let lines: Vec<_> = repository.sources().flat_map(line_suppressions).collect();
    let (mut used, mut lines_used) = (vec![false; policy.len()], vec![false; lines.len()]);
    let mut suppressed = Vec::new();
    for finding in std::mem::take(&mut found.findings) {
        let by_policy = policy.iter().position(|one| one.suppresses(&finding));
        let by_line = lines.iter().position(|one| one.suppresses(&finding));
        if let Some(index) = by_policy {
            used[index] = true;
            suppressed.push(Suppressed { finding, reason: policy[index].reason.clone() });
        } else if let Some(index) = by_line {
            lines_used[index] = true;
            suppressed.push(Suppressed { finding, reason: lines[index].reason.to_owned() });
        } else {
            found.findings.push(finding);
        }
    }
    if let Some(severity) = check.severity(&unused_allowance::RULE) {
        let mut report = |source: &SourceFile, span, message: String, help: &str| {
            let location = Location::new(source, span);
            let mut finding = unused_allowance::RULE.finding(location, message, help);
            finding.severity = severity;
            found.findings.push(finding);
            if found.sources.iter().all(|known| known.path() != source.path()) {
                found.sources.push(source.clone());
            }
        };
        let fallback = SourceFile::new(POLICY_FILE, "");
        let policy_source = repository.policy.source.as_ref().unwrap_or(&fallback);
        for (one, _) in policy.iter().zip(used).filter(|(_, used)| !used) {
            let message = format!("this suppression of `{}` matches no finding", one.code);
            report(policy_source, one.span, message, "remove it");
        }
        for (one, _) in lines.iter().zip(lines_used).filter(|(_, used)| !used) {
            let (message, help) = one.problem(&check.rules);
            report(&one.document.source, one.span, message, help);
        }
    }
    found.findings.sort_by(Finding::cmp_location);
    suppressed
}

impl LineSuppression<'_> {
    fn suppresses(&self, finding: &Finding) -> bool {
        let location = &finding.location;
        self.code == finding.code
            && !self.reason.is_empty()
            && location.file == self.document.path()
            && (location.start.line..=location.end.line).contains(&self.line)
    }

    /// Returns the message and the help for a suppression without effect.
    fn problem(&self, rules: &[&'static Rule]) -> (String, &'static str) {
        let code = quote(self.code);
        if rules.iter().all(|rule| rule.code != self.code) {
            (format!("there is no rule {code} to suppress"), "`compass explain` lists the rules")
        } else if self.reason.is_empty() {
            (
                format!("this suppression of {code} gives no reason"),
                "write the reason after the code",
            )
        } else {
            (format!("this suppression of {code} matches no finding"), "remove it")
        }
    }
}

fn line_suppressions(document: &Document) -> Vec<LineSuppression<'_>> {
    let text = document.source.text();
    if !text.contains(MARKER) {
        return Vec::new();
    }
    // Comments and values can be distinguished only in a parsed document.
    let Ok(root) = &document.root else { return Vec::new() };
    let markers = text.match_indices(MARKER).filter(|(at, _)| !in_scalar(root, *at));
    let suppressions = markers.filter_map(|(at, _)| line_suppression(document, at));
    suppressions.take(MAX_FINDINGS_PER_FILE).collect()
}

fn line_suppression(document: &Document, at: usize) -> Option<LineSuppression<'_>> {
    let text = document.source.text();
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = text[line_start..at].trim_end();
    let content = before.strip_suffix('#')?;
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let rest = text[at + MARKER.len()..end].trim();
    let (code, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let own_line = document.source.position(at).line;
    let line = if content.trim().is_empty() { own_line + 1 } else { own_line };
    let span = Span { start: at, end: at + text[at..end].trim_end().len() };
    Some(LineSuppression { document, span, line, code, reason: reason.trim() })
}

/// Returns whether an offset is inside a scalar instead of in a comment.
fn in_scalar(node: &Node, at: usize) -> bool {
    match &node.kind {
        NodeKind::Scalar(_) => node.span.range().contains(&at),
        NodeKind::Sequence(items) => items.iter().any(|item| in_scalar(item, at)),
        NodeKind::Mapping(entries) => {
            entries.iter().any(|entry| in_scalar(&entry.key, at) || in_scalar(&entry.value, at))
        }
    }
}
