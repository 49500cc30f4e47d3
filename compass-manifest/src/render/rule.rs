use crate::finding::Severity;
use crate::rule::Rule;

/// A rule's documentation as a Markdown page.
pub fn rule_page(rule: &Rule) -> String {
    format!(
        "# {}\n\n{}{}.\n\nSeverity: {}, unless the policy says otherwise.\n\n{}",
        rule.code,
        rule.summary[..1].to_uppercase(),
        &rule.summary[1..],
        severity(rule),
        rule.docs
    )
}

/// All rules as a Markdown table that links to their pages.
pub fn rule_table<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> String {
    let row = |rule: &Rule| {
        format!("| [{0}]({0}.md) | {1} | {2} |\n", rule.code, severity(rule), rule.summary)
    };
    let rows: String = rules.into_iter().map(row).collect();
    format!(
        "# Rules\n\n`compass explain CODE` shows the same.\n\n| code | severity | says |\n|---|---|---|\n{rows}"
    )
}

fn severity(rule: &Rule) -> &'static str {
    match rule.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
