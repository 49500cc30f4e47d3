use std::collections::BTreeMap;

use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-version-reused",
    summary: "a hotfix has a version of its own, greater than those before it",
    severity: Severity::Error,
    docs: "\
### What it does
Reports two packages that patch one addon of one product version under one version; and, compared
with a base, a new HOTFIXVERSION that is not greater than the latest one of its addon.

### Why is this bad?
One of the two packages replaces the other in the store, or is refused there; a site that installs
the highest number gets the older hotfix.

### Example
`v2.7.0-20180605-p1` when there is `v2.7.0-20180605-p2` of the same addon already

### What to do
Use the next number: `compass bump hotfix ADDON` makes the directory.
",
    apply,
    ..Rule::DEFAULTS
};

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
                format!("addon {} has another hotfix {}", quote(addon), quote(version)),
                "use the next version",
            )
            .related(&earlier.document.source, Span::default(), "the other one");
        }
    }
}

fn report_not_latest(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    let parsed = |hotfix: &HotfixFile| Some((hotfix.addon()?.to_owned(), hotfix.hotfix_version()?));
    let stood: Vec<_> = change.base.hotfixes.iter().filter_map(parsed).collect();
    for hotfix in repository.hotfixes.iter().filter(|new| change.adds(new.document.path())) {
        let Some(new) = parsed(hotfix) else { continue };
        // A hotfix that has only moved is not new. One that moves to an older version is.
        if stood.contains(&new) {
            continue;
        }
        let (addon, version) = new;
        let latest = stood
            .iter()
            .filter(|(other, old)| *other == addon && old.base().is_same_release(version.base()))
            .map(|(_, old)| old)
            .max();
        if let Some(latest) = latest.filter(|latest| **latest > version) {
            sink.add(
                &hotfix.document.source,
                Span::default(),
                format!("addon {} has a later hotfix already: {}", quote(&addon), quote(latest)),
                "use a version after it",
            );
        }
    }
}
