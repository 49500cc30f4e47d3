use crate::finding::Severity;
use crate::rule::{Findings, Release, Rule};

pub(super) static RULE: Rule = Rule {
    code: "yaml-syntax",
    summary: "the file is one YAML document in UTF-8",
    severity: Severity::Error,
    docs: "\
### What it does
Reports files that cannot be read as exactly one YAML document.

### Why is this bad?
Nothing else can be said about such a file, and nothing can be packaged from it.

### Example
```yaml
spec:
  version: v0.1.0
 service: {}
```

### What to do
Fix the syntax at the place shown. Values that begin with `{`, `[`, `*`, `&` or `@` need quotes.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for plugin in &release.plugins {
        if let Err(error) = &plugin.document {
            let help =
                error.help.unwrap_or("fix the YAML here; nothing else in this file was checked");
            findings.add(&plugin.source, error.span, &error.message, help);
        }
    }
}
