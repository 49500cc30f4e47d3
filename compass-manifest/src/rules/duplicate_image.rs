use std::collections::BTreeMap;

use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "duplicate-image",
    summary: "an image stands once in a list",
    severity: Severity::Warning,
    docs: "\
### What it does
Reports an image that stands twice in one image list. In two lists it may stand.

### Why is this bad?
Somebody changes one of the two lines, and wonders why nothing changed.

### Example
```
release/redis:3.0.3
release/redis:3.0.3
```

### What to do
Remove one of them.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for list in &repository.lists {
        let source = &list.document.source;
        let mut first: BTreeMap<&str, Span> = BTreeMap::new();
        for image in &list.images {
            if let Some(earlier) = first.get(image.text.as_str()) {
                let message = format!("{} stands twice in this list", quote(&image.text));
                sink.add(source, image.span, message, "remove this line")
                    .related(source, *earlier, "here too");
            } else {
                first.insert(&image.text, image.span);
            }
        }
    }
}
