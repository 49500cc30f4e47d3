use crate::escape::quote;
use crate::finding::Severity;
use crate::release::Release;
use crate::rule::{Findings, Rule};
use crate::shape::DepartureKind;
use crate::yaml::{NodeKind, OlderMeaning};

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
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for document in release.documents() {
        let Ok(root) = &document.root else { continue };
        let mut pending = vec![root];
        while let Some(node) = pending.pop() {
            pending.extend(node.entries().iter().map(|entry| &entry.value));
            pending.extend(node.items());
            let NodeKind::Scalar(scalar) = &node.kind else { continue };
            let Some(meaning) = scalar.older_number() else { continue };
            // A field of another type is reported already.
            let is_reported = document.departures.iter().any(|departure| {
                departure.kind == DepartureKind::WrongType && departure.span == node.span
            });
            if is_reported {
                continue;
            }
            let (value, help) = match meaning {
                OlderMeaning::Number(Some(number)) => {
                    let help = format!("write `{number}` if that is meant, or put it in quotes");
                    (format!("the number {number}"), help)
                }
                OlderMeaning::Number(None) => {
                    ("a number".to_owned(), "put it in quotes".to_owned())
                }
                OlderMeaning::Text => ("text".to_owned(), "put it in quotes".to_owned()),
            };
            let message = format!("some readers of YAML take {} for {value}", quote(&scalar.text));
            findings.add(&document.source, node.span, message, help);
        }
    }
}
