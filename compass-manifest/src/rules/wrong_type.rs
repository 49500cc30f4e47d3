use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::schema::ViolationKind;

pub(crate) static RULE: Rule = Rule::new("wrong-type", "every field has the expected type", apply)
    .with_blocks_packaging(BlocksPackaging::InProductManifest)
    .with_docs(RuleDocs {
        what: "Reports a field whose value has another type than expected.",
        why: "\
YAML parsers read `1.10` as the number 1.1, and some read `yes` as a boolean: the program gets
another value than the author wrote.",
        example: "\
```yaml
service:
  port: '8080'
```",
        fix: "Add or remove the quotes, or write a value of the type in the help text.",
    });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::WrongType, sink);
}
