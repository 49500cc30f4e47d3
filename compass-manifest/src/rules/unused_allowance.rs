use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "unused-allowance",
    summary: "every allowance is needed, names a rule, and gives a reason",
    severity: Severity::Warning,
    docs: "\
### What it does
Reports allowances that match no finding: in the policy (`allow`), and on a line
(`# compass:allow code reason`, behind the line or above it). Also those that name no rule or give
no reason.

### Why is this bad?
An allowance that is no longer needed hides the next mistake of its kind.

### Example
```yaml
allow:
- {code: port-conflict, plugin: gone, reason: own address}
```

### What to do
Remove it, or correct its code.
",
    apply,
    needs_layout: true,
    ..Rule::DEFAULTS
};

/// Adds nothing: unused suppressions are known after all other rules, and [`crate::check`] reports
/// them.
fn apply(_: &RuleContext<'_>, _: &mut FindingSink<'_>) {}
