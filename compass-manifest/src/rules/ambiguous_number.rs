use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::schema::ViolationKind;
use crate::yaml::{NodeKind, Yaml11Meaning};

pub(crate) static RULE: Rule = Rule {
    code: "ambiguous-number",
    summary: "a number means the same to every reader of YAML",
    severity: Severity::Warning,
    docs: "\
### What it does
Reports numbers without quotes that readers of YAML 1.1 and of YAML 1.2 take for different values:
with leading zeros (`0644` is 420 to the former), underscores (`1_000`), colons (`1:30` is 90), and
with `0b` or `0o`.

### Why is this bad?
What is checked here is not what arrives on site.

### Example
```yaml
source: {default: 0644}
```

### What to do
Write the decimal number, or put the value in quotes if it is meant as text.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        let Ok(root) = &document.root else { continue };
        let mut pending = vec![root];
        while let Some(node) = pending.pop() {
            pending.extend(node.entries().iter().map(|entry| &entry.value));
            pending.extend(node.items());
            let NodeKind::Scalar(scalar) = &node.kind else { continue };
            let Some(meaning) = scalar.older_number() else { continue };
            // A field of another type is reported already.
            let is_reported = document.violations.iter().any(|violation| {
                violation.kind == ViolationKind::WrongType && violation.span == node.span
            });
            if is_reported {
                continue;
            }
            let (value, help) = match meaning {
                Yaml11Meaning::Number(Some(number)) => {
                    let help = format!("write `{number}` if that is meant, or put it in quotes");
                    (format!("the number {number}"), help)
                }
                Yaml11Meaning::Number(None) => {
                    ("a number".to_owned(), "put it in quotes".to_owned())
                }
                Yaml11Meaning::Text => ("text".to_owned(), "put it in quotes".to_owned()),
            };
            let message = format!("some readers of YAML take {} for {value}", quote(&scalar.text));
            sink.add(&document.source, node.span, message, help);
        }
    }
}
