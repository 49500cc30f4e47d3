use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::schema::ViolationKind;
use crate::yaml::{NodeKind, Yaml11Meaning};

pub(crate) static RULE: Rule =
    Rule::new("ambiguous-number", "every YAML parser reads a number as the same value", apply)
        .with_severity(Severity::Warning)
        .with_docs(RuleDocs {
            what: "\
Reports unquoted numbers that YAML 1.1 and YAML 1.2 parsers read as different values: numbers with
leading zeros (`0644` is 420 in YAML 1.1), underscores (`1_000`), colons (`1:30` is 90), and the
prefixes `0b` and `0o`.",
            why: "The installer may read another value than the one that was checked.",
            example: "\
```yaml
source: {default: 0644}
```",
            fix: "Write the decimal number, or quote the value if it is text.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        let Ok(root) = &document.root else { continue };
        for node in root.values() {
            let NodeKind::Scalar(scalar) = &node.kind else { continue };
            let Some(meaning) = scalar.yaml11_number() else { continue };
            // `wrong-type` already reports this value if the field has another type.
            let is_reported = document.violations.iter().any(|violation| {
                violation.kind == ViolationKind::WrongType && violation.span == node.span
            });
            if is_reported {
                continue;
            }
            let (value, help) = match meaning {
                Yaml11Meaning::Number(Some(number)) => {
                    let help = format!("write `{number}`, or quote the value if it is text");
                    (format!("the number {number}"), help)
                }
                Yaml11Meaning::Number(None) => {
                    ("a number".to_owned(), "quote the value".to_owned())
                }
                Yaml11Meaning::Text => ("text".to_owned(), "quote the value".to_owned()),
            };
            let message = format!("some YAML parsers read {} as {value}", quote(&scalar.text));
            sink.add(&document.source, node.span, message, help);
        }
    }
}
