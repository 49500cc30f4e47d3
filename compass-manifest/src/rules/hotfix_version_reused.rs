use std::collections::BTreeMap;

use crate::escape::quote;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule::new(
    "hotfix-version-reused",
    "a hotfix has a unique version, greater than the earlier ones",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Reports two packages with the same addon, product version and version. For a change, also reports a
new HOTFIXVERSION that is not greater than the latest one of its addon at the base.",
    why: "\
The store rejects the second package, or replaces the first one by it. A site that installs the
highest number gets the older hotfix.",
    example: "`v2.7.0-20180605-p1`, if `v2.7.0-20180605-p2` of the same addon exists",
    fix: "Use the next number: `compass bump hotfix ADDON` creates the directory.",
});

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    report_reused(context.repository, sink);
    report_not_latest(context, sink);
}

fn report_reused(repository: &ReleaseRepository, sink: &mut FindingSink<'_>) {
    let mut first: BTreeMap<(&str, &str, Option<&str>), &HotfixFile> = BTreeMap::new();
    for hotfix in repository.hotfixes.iter().filter(|hotfix| hotfix.path.version.is_some()) {
        let (Some(addon), Some(version)) = (hotfix.addon(), hotfix.version()) else { continue };
        let base = hotfix.path.base.as_deref();
        let earlier = *first.entry((addon, version, base)).or_insert(hotfix);
        if earlier.path.package != hotfix.path.package {
            sink.add(
                &hotfix.document.source,
                Span::default(),
                format!(
                    "addon {} has another hotfix with version {}",
                    quote(addon),
                    quote(version)
                ),
                "use the next version",
            )
            .related(&earlier.document.source, Span::default(), "the other hotfix");
        }
    }
}

fn report_not_latest(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    let parsed = |hotfix: &HotfixFile| Some((hotfix.addon()?.to_owned(), hotfix.hotfix_version()?));
    let existing: Vec<_> = change.base.hotfixes.iter().filter_map(parsed).collect();
    for hotfix in repository.hotfixes.iter().filter(|new| change.adds(new.document.path())) {
        let Some(new) = parsed(hotfix) else { continue };
        // A moved hotfix with an unchanged version is not new.
        if existing.contains(&new) {
            continue;
        }
        let (addon, version) = new;
        let latest = existing
            .iter()
            .filter(|(other, old)| *other == addon && old.base().is_same_release(version.base()))
            .map(|(_, old)| old)
            .max();
        if let Some(latest) = latest.filter(|latest| **latest > version) {
            sink.add(
                &hotfix.document.source,
                Span::default(),
                format!("addon {} already has a later hotfix: {}", quote(&addon), quote(latest)),
                "use a greater version",
            );
        }
    }
}
