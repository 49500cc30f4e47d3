use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::schema::ViolationKind;

pub(crate) static RULE: Rule =
    Rule::new("missing-field", "a release manifest has all required fields", apply)
        .with_blocks_packaging(BlocksPackaging::InProductManifest)
        .with_docs(RuleDocs {
            what: "Reports missing required fields of release manifests.",
            why: "The installation on site rejects the manifest.",
            example: "\
```yaml
metadata: {alias: GPU}
```
`metadata.name` is missing.",
            fix: "Add the field.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::MissingField, sink);
}
