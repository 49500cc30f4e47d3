use crate::escape::escape;
use crate::finding::{Finding, Location, Severity};
use crate::repository::ReleaseRepository;
use crate::rule::{FindingSink, Rule};

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
};

/// Allowances are known to be unused only after all other rules: [`crate::check`] reports them.
fn apply(_: &ReleaseRepository<'_>, _: &mut FindingSink<'_>) {}

pub(crate) fn finding(location: Location, message: &str, help: &str) -> Finding {
    Finding {
        code: RULE.code,
        severity: RULE.severity,
        location,
        message: escape(message).into_owned(),
        label: String::new(),
        help: help.to_owned(),
        related: Vec::new(),
        subjects: Vec::new(),
        preexisting: false,
    }
}
