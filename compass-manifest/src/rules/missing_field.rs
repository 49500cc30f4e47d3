use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};
use crate::schema::ViolationKind;

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
    blocks_packaging: BlocksPackaging::InProductManifest,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::MissingField, sink);
}
