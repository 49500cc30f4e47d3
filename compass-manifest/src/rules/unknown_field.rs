use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::schema::ViolationKind;

pub(crate) static RULE: Rule =
    Rule::new("unknown-field", "a release manifest has only known fields", apply)
        .with_severity(Severity::Warning)
        .with_blocks_packaging(BlocksPackaging::InProductManifest)
        .with_docs(RuleDocs {
            what: "Reports unknown fields of release manifests.",
            why: "A misspelled field has no effect.",
            example: "\
```yaml
spec:
  versoin: v0.1.0
```",
            fix: "Correct the spelling, or remove the field.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::UnknownField, sink);
}
