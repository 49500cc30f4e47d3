//! Allowances: in the policy, and on a line of a file.

use crate::escape::quote;
use crate::finding::{Finding, Location, Suppressed};
use crate::policy::POLICY_FILE;
use crate::repository::{Document, ReleaseRepository};
use crate::rule::MOST_IN_A_FILE;
use crate::rules;
use crate::rules::unused_allowance;
use crate::source::{SourceFile, Span};
use crate::yaml::{Node, NodeKind};

/// What an allowance on a line begins with.
const MARK: &str = "compass:allow";

/// `# compass:allow code reason`, behind a line or on the line above it.
struct LineSuppression<'d> {
    document: &'d Document,
    span: Span,
    /// The line that it speaks of, from 1.
    line: usize,
    code: &'d str,
    reason: &'d str,
}

/// Takes out the findings that are meant to be so, and adds one for each allowance that is not
/// needed.
pub(super) fn apply(
    release: &ReleaseRepository<'_>,
    found: Vec<Finding>,
    sources: &mut Vec<SourceFile>,
) -> (Vec<Finding>, Vec<Suppressed>) {
    let lines: Vec<_> = release.sources().flat_map(line_suppressions).collect();
    let policy = &release.policy.suppressions;
    let (mut used, mut lines_used) = (vec![false; policy.len()], vec![false; lines.len()]);
    let (mut findings, mut allowed) = (Vec::new(), Vec::new());
    for finding in found {
        let by_policy = policy.iter().position(|allowance| allowance.allows(&finding));
        let by_line = lines.iter().position(|allowance| allowance.allows(&finding));
        if let Some(index) = by_policy {
            used[index] = true;
            allowed.push(Suppressed { finding, reason: policy[index].reason.clone() });
        } else if let Some(index) = by_line {
            lines_used[index] = true;
            allowed.push(Suppressed { finding, reason: lines[index].reason.to_owned() });
        } else {
            findings.push(finding);
        }
    }
    let Some(severity) = unused_severity(release) else { return (sorted(findings), allowed) };
    let mut report = |source: &SourceFile, span, message: String, help: &str| {
        let mut finding = unused_allowance::finding(Location::new(source, span), &message, help);
        finding.severity = severity;
        findings.push(finding);
        if sources.iter().all(|known| known.path() != source.path()) {
            sources.push(source.clone());
        }
    };
    let fallback = SourceFile::new(POLICY_FILE, "");
    let policy_source = release.policy.source.as_ref().unwrap_or(&fallback);
    for (allowance, _) in policy.iter().zip(used).filter(|(_, used)| !used) {
        let message = format!("this allowance of `{}` matches nothing", allowance.code);
        report(policy_source, allowance.span, message, "remove it");
    }
    for (allowance, _) in lines.iter().zip(lines_used).filter(|(_, used)| !used) {
        let (message, help) = allowance.complaint();
        report(&allowance.document.source, allowance.span, message, help);
    }
    (sorted(findings), allowed)
}

fn unused_severity(release: &ReleaseRepository<'_>) -> Option<crate::finding::Severity> {
    let rule = &unused_allowance::RULE;
    release.policy.severities.get(rule.code).copied().unwrap_or(Some(rule.severity))
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings
        .sort_by(|a, b| (&a.location, a.code, &a.message).cmp(&(&b.location, b.code, &b.message)));
    findings
}

impl LineSuppression<'_> {
    fn allows(&self, finding: &Finding) -> bool {
        self.code == finding.code
            && !self.reason.is_empty()
            && finding.location.file == self.document.path()
            && (finding.location.start.line..=finding.location.end.line).contains(&self.line)
    }

    fn complaint(&self) -> (String, &'static str) {
        if rules::find(self.code).is_none() {
            let message = format!("there is no rule {} to allow", quote(self.code));
            (message, "`compass explain` lists the rules")
        } else if self.reason.is_empty() {
            let message = format!("this allowance of {} gives no reason", quote(self.code));
            (message, "write why after the code")
        } else {
            (format!("this allowance of {} matches nothing", quote(self.code)), "remove it")
        }
    }
}

fn line_suppressions(document: &Document) -> Vec<LineSuppression<'_>> {
    let text = document.source.text();
    if !text.contains(MARK) {
        return Vec::new();
    }
    // In what cannot be read nobody knows what is a comment, and nothing there excuses it.
    let Ok(root) = &document.root else { return Vec::new() };
    let marks = text.match_indices(MARK).filter(|(at, _)| !in_scalar(root, *at));
    marks.filter_map(|(at, _)| line_suppression(document, at)).take(MOST_IN_A_FILE).collect()
}

fn line_suppression(document: &Document, at: usize) -> Option<LineSuppression<'_>> {
    let text = document.source.text();
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = text[line_start..at].trim_end();
    let content = before.strip_suffix('#')?;
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let rest = text[at + MARK.len()..end].trim();
    let (code, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let own_line = document.source.position(at).line;
    let line = if content.trim().is_empty() { own_line + 1 } else { own_line };
    let span = Span { start: at, end: at + text[at..end].trim_end().len() };
    Some(LineSuppression { document, span, line, code, reason: reason.trim() })
}

/// Whether an offset is inside a scalar, and so not in a comment.
fn in_scalar(node: &Node, at: usize) -> bool {
    match &node.kind {
        NodeKind::Scalar(_) => node.span.range().contains(&at),
        NodeKind::Sequence(items) => items.iter().any(|item| in_scalar(item, at)),
        NodeKind::Mapping(entries) => {
            entries.iter().any(|entry| in_scalar(&entry.key, at) || in_scalar(&entry.value, at))
        }
    }
}
