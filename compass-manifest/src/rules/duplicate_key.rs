use std::collections::HashMap;

use crate::escape::quote;
use crate::finding::Severity;
use crate::release::{Document, Release};
use crate::rule::{Findings, Rule};
use crate::source::Span;
use crate::yaml::{Entry, Node};

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
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for document in release.documents() {
        if let Ok(root) = &document.root {
            walk(document, root, findings);
        }
    }
}

fn walk(document: &Document, root: &Node, findings: &mut Findings<'_>) {
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        let entries = node.entries();
        let mut seen: HashMap<&str, Span> = HashMap::new();
        // Most mappings are small, and have no key twice: that is seen without hashing.
        if entries.len() <= SMALL && distinct(entries) {
            pending.extend(entries.iter().map(|entry| &entry.value));
            continue;
        }
        for entry in node.entries() {
            let Some(key) = entry.key.text() else {
                continue;
            };
            if let Some(first) = seen.get(key) {
                findings
                    .add(
                        &document.source,
                        entry.key.span,
                        format!("{} stands twice in this mapping", quote(key)),
                        "keep one of them: only the last one counts",
                    )
                    .label("this one counts")
                    .related(&document.source, *first, "this one is lost");
            } else {
                seen.insert(key, entry.key.span);
            }
        }
        pending.extend(node.entries().iter().map(|entry| &entry.value));
        pending.extend(node.items());
    }
}

const SMALL: usize = 16;

fn distinct(entries: &[Entry]) -> bool {
    entries.iter().enumerate().all(|(index, entry)| {
        let key = entry.key.text();
        entries[..index].iter().all(|earlier| earlier.key.text() != key)
    })
}
