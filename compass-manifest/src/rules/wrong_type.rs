use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::schema::ViolationKind;

pub(crate) static RULE: Rule = Rule {
    code: "wrong-type",
    summary: "every field has the expected type",
    docs: RuleDocs {
        what: "Reports a field whose value has another type than expected.",
        why: "\
YAML parsers read `1.10` as the number 1.1, and some read `yes` as a boolean: the program gets another
value than the author wrote.",
        example: "\
```yaml
service:
  port: '8080'
```",
        fix: "Add or remove the quotes, or write a value of the type in the help text.",
    },
    apply,
    blocks_packaging: BlocksPackaging::InProductManifest,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::WrongType, sink);
}
