use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};
use crate::schema::ViolationKind;

pub(super) static RULE: Rule = Rule {
    code: "unknown-field",
    summary: "a release manifest has only known fields",
    severity: Severity::Warning,
    docs: "\
### What it does
Reports unknown fields of release manifests.

### Why is this bad?
A misspelled field has no effect.

### Example
```yaml
spec:
  versoin: v0.1.0
```

### What to do
Correct the spelling, or remove the field.
",
    apply,
    blocks_packaging: BlocksPackaging::InProductManifest,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::UnknownField, sink);
}
