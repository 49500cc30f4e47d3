use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::yaml::{DuplicateKey, Node};

pub(super) static RULE: Rule = Rule {
    code: "duplicate-key",
    summary: "a mapping has each key once",
    severity: Severity::Error,
    docs: "\
### What it does
Reports a key that stands twice in one mapping.

### Why is this bad?
Most YAML readers take the last one silently: the settings under the first are lost without a word.

### Example
```yaml
service:
  port: 8080
  image: harbor.caicloud.xyz/release/compass-plugins-x:v0.1.0
  port: 9090
```

### What to do
Keep one of them, or merge what stands below both.
",
    apply,
    ..Rule::DEFAULTS
};

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
        format!("{} stands twice in this mapping", quote(key)),
        "keep one of them: only the last one counts",
    )
    .label("this one counts")
    .related(&document.source, first.span, "this one is lost");
}
