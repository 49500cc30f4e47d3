use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};
use crate::schema::ViolationKind;

pub(super) static RULE: Rule = Rule {
    code: "missing-field",
    summary: "a release manifest has all required fields",
    severity: Severity::Error,
    docs: "\
### What it does
Reports missing required fields of release manifests.

### Why is this bad?
The installation on site rejects the manifest.

### Example
```yaml
metadata: {alias: GPU}
```
`metadata.name` is missing.

### What to do
Add the field.
",
    apply,
    blocks_packaging: BlocksPackaging::InProductManifest,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::MissingField, sink);
}
