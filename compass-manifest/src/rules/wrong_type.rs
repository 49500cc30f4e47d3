use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};
use crate::schema::ViolationKind;

pub(super) static RULE: Rule = Rule {
    code: "wrong-type",
    summary: "fields have the type that their readers expect",
    severity: Severity::Error,
    docs: "\
### What it does
Reports a field whose value is of another type than its reader expects.

### Why is this bad?
YAML reads `1.10` as the number 1.1 and `yes` sometimes as a boolean: what arrives is not what was
written.

### Example
```yaml
service:
  port: '8080'
```

### What to do
Add or remove the quotes, or write the kind of value that the help line names.
",
    apply,
    blocks_packaging: BlocksPackaging::InProductManifest,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_violations(repository, ViolationKind::WrongType, sink);
}
