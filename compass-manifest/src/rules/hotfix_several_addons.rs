use std::collections::BTreeMap;

use crate::escape::quote_name;
use crate::repository::HotfixFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("hotfix-several-addons", "a hotfix package patches one addon", apply).with_docs(
        RuleDocs {
            what: "Reports packages that contain the values of several addons.",
            why: "A package is named after one addon. Reverting it reverts the other addon too.",
            example: "\
`critical-daemonset-v2.7.0-20180605-p1/` with `logging-filebeat` and `exporters-node`",
            fix: "Create a package for each addon.",
        },
    );

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let mut first: BTreeMap<&str, &HotfixFile> = BTreeMap::new();
    for hotfix in &repository.hotfixes {
        let package = hotfix.path.package.as_str();
        let earlier = *first.entry(package).or_insert(hotfix);
        if !std::ptr::eq(earlier, hotfix) {
            sink.add(
                &hotfix.document.source,
                Span::default(),
                format!(
                    "with this file, the package {} patches a second addon",
                    quote_name(package)
                ),
                "create a package for each addon",
            )
            .related(&earlier.document.source, Span::default(), "the first addon");
        }
    }
}
