use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::version::ComponentVersion;
use crate::yaml::Node;

pub(crate) static RULE: Rule =
    Rule::new("chart-tag", "the tags of a chart list are versions, and none decreases", apply)
        .with_severity(Severity::Warning)
        .with_docs(RuleDocs {
            what: "\
Checks the files that `products.chart_lists` of the policy names: each `tag` must be a version, and
must not be older than at the base.",
            why: "The next collection replaces addons by older ones.",
            example: "\
```yaml
- repositoryFullName: example/console-web
  tag: v3.3.0-alpha.5   # v3.3.0-beta.5 at the base
```",
            fix: "Correct the tag.",
        });

fn apply(RuleContext { repository, change, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in &repository.charts {
        let old = change
            .as_ref()
            .and_then(|change| change.base.charts.iter().find(|old| old.path() == document.path()));
        for entry in entries(document) {
            let Some(tag) = entry.get("tag") else { continue };
            let text = tag.text().unwrap_or_default();
            if text.parse::<ComponentVersion>().is_err() {
                let message = format!("{} is not a version", quote(text));
                sink.add(
                    &document.source,
                    tag.span,
                    message,
                    "write the tag of a release, for example `v3.3.0`",
                );
            } else if let Some(before) = old.and_then(|old| tag_before(old, entry))
                && ComponentVersion::decreases(before, text)
            {
                let message =
                    format!("the tag goes down from {} to {}", quote(before), quote(text));
                sink.add(&document.source, tag.span, message, "correct the tag");
            }
        }
    }
}

fn entries(document: &Document) -> &[Node] {
    document.root.as_ref().ok().and_then(|root| root.get("spec")).map_or(&[], Node::items)
}

fn tag_before<'r>(old: &'r Document, entry: &Node) -> Option<&'r str> {
    let same = |other: &&Node| {
        ["repositoryFullName", "targetPath"]
            .iter()
            .all(|key| entry.get(key).and_then(Node::text) == other.get(key).and_then(Node::text))
    };
    entries(old).iter().find(same)?.get("tag")?.text()
}
