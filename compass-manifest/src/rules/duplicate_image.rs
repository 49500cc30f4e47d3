use std::collections::BTreeMap;

use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("duplicate-image", "an image list has no duplicate images", apply)
        .with_severity(Severity::Warning)
        .with_docs(RuleDocs {
            what: "\
Reports an image that occurs twice in an image list. Different lists may share images.",
            why: "A change of one of the two lines has no effect.",
            example: "\
```
release/redis:3.0.3
release/redis:3.0.3
```",
            fix: "Remove one of them.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for list in &repository.lists {
        let source = &list.document.source;
        let mut first: BTreeMap<&str, Span> = BTreeMap::new();
        for image in &list.images {
            if let Some(earlier) = first.get(image.text.as_str()) {
                let message = format!("{} is a duplicate in this list", quote(&image.text));
                sink.add(source, image.span, message, "remove this line").related(
                    source,
                    *earlier,
                    "the first occurrence",
                );
            } else {
                first.insert(&image.text, image.span);
            }
        }
    }
}
