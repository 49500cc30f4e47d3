use crate::escape::quote;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::yaml::{DuplicateKey, Node};

pub(crate) static RULE: Rule = Rule::new("duplicate-key", "a mapping has no duplicate keys", apply)
    .with_docs(RuleDocs {
        what: "Reports a key that occurs twice in a mapping.",
        why: "\
Most YAML parsers silently use the last value, and drop the settings under the first key.",
        example: "\
```yaml
service:
  port: 8080
  image: harbor.example/release/compass-plugins-x:v0.1.0
  port: 9090
```",
        fix: "Keep one of them, or merge their values.",
    });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        if let Ok(root) = &document.root {
            for DuplicateKey { first, again } in root.duplicate_keys() {
                report(document, first, again, sink);
            }
        }
    }
}

fn report(document: &Document, first: &Node, again: &Node, sink: &mut FindingSink<'_>) {
    let key = again.text().unwrap_or_default();
    sink.add(
        &document.source,
        again.span,
        format!("{} is a duplicate key in this mapping", quote(key)),
        "keep one of them: parsers use the last one",
    )
    .label("this one is used")
    .related(&document.source, first.span, "this one is dropped");
}
