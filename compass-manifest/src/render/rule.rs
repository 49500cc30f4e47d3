use crate::rule::Rule;

/// Renders the documentation of a rule as a Markdown page.
pub fn rule_page(rule: &Rule) -> String {
    format!(
        "# {}\n\n{}{}.\n\nSeverity: {}, unless the policy sets another.\n\n{}",
        rule.code,
        rule.summary[..1].to_uppercase(),
        &rule.summary[1..],
        rule.severity.as_str(),
        rule.docs
    )
}

/// Renders a Markdown table of rules, with links to their pages.
pub fn rule_table<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> String {
    let row = |rule: &Rule| {
        format!("| [{0}]({0}.md) | {1} | {2} |\n", rule.code, rule.severity.as_str(), rule.summary)
    };
    let rows: String = rules.into_iter().map(row).collect();
    format!(
        "# Rules\n\n`compass explain CODE` shows the same.\n\n| code | severity | requires |\n|---|---|---|\n{rows}"
    )
}
