use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule =
    Rule::new("unused-allowance", "every suppression matches a finding, and gives a reason", apply)
        .with_severity(Severity::Warning)
        .with_needs_layout()
        .with_docs(RuleDocs {
            what: "\
Reports suppressions that match no finding, name no rule, or give no reason: entries of `allow` in
the policy, and comments `# compass:allow CODE REASON` on a line or above it.",
            why: "An unused suppression hides the next problem of its kind.",
            example: "\
```yaml
allow:
- {code: port-conflict, plugin: gone, reason: own address}
```",
            fix: "Remove it, or correct its code or reason.",
        });

/// Adds no finding.
///
/// [`crate::check`] reports unused suppressions, because they are known only after all other rules
/// ran.
fn apply(_: &RuleContext<'_>, _: &mut FindingSink<'_>) {}
