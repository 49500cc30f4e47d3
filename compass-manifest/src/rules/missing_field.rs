use crate::finding::Severity;
use crate::release::Release;
use crate::rule::{Findings, Rule};
use crate::shape::DepartureKind;

pub(super) static RULE: Rule = Rule {
    code: "missing-field",
    summary: "the fields that a release manifest needs are there",
    severity: Severity::Error,
    docs: "\
### What it does
Reports fields that a release manifest of this kind must have and this one has not.

### Why is this bad?
The plugin centre refuses the manifest at the site, where nobody can mend it.

### Example
```yaml
metadata: {alias: GPU}
```
`metadata.name` is missing.

### What to do
Add the field.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    super::report_departures(release, DepartureKind::MissingField, findings);
}
