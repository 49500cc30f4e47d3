use std::collections::{HashMap, HashSet};

use super::base_addon;
use crate::diff::{Difference, detailed_differences, differences};
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;
use crate::version::HotfixVersion;
use crate::yaml::Node;

pub(crate) static RULE: Rule =
    Rule::new("hotfix-drops-change", "a hotfix contains the changes of the previous one", apply)
        .with_severity(Severity::Warning)
        .with_docs(RuleDocs {
            what: "\
Compares a hotfix with the previous one of the same addon and product version. Reports each field
that the previous hotfix changed and that has the addon's value again. Name, version and description
are ignored.",
            why: "\
A hotfix replaces all values of the addon. A site that installs the second hotfix loses the fix of
the first one.",
            example: "\
`v2.7.0-20180605-p1` raises a memory limit. `v2.7.0-20180605-p2` is a copy of the addon, with the
old limit.",
            fix: "\
Copy the previous hotfix, as `compass bump hotfix ADDON` does. If the change is reverted on purpose,
suppress the finding: `# compass:allow hotfix-drops-change REASON` on the line.",
        });

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &context.repository.hotfixes {
        let Some((version, previous)) = previous(context.repository, hotfix) else { continue };
        let Some(addon) = base_addon::of(context, hotfix) else { continue };
        let roots = (&addon.document.root, &previous.document.root, &hotfix.document.root);
        let (Ok(addon), Ok(before), Ok(now)) = roots else { continue };
        let changes = differences(before, now);
        let spans: HashMap<&str, Span> =
            changes.iter().map(|change| (change.path.as_str(), change.span)).collect();
        for dropped in dropped(addon, before, now) {
            let span = with_ancestors(&dropped.path).find_map(|path| spans.get(path));
            let message = message(&version, &dropped);
            let help =
                "copy the previous hotfix, or add `# compass:allow hotfix-drops-change REASON`";
            let span = span.copied().unwrap_or_default();
            sink.add(&hotfix.document.source, span, message, help);
        }
    }
}

/// Returns the changes of the previous hotfix that the current one lacks.
///
/// Whole fields come first, then parts of added mappings and lists.
fn dropped(addon: &Node, before: &Node, now: &Node) -> Vec<Difference> {
    let (mut dropped, mut known) = (Vec::new(), HashSet::new());
    for compare in [differences, detailed_differences] {
        // In both comparisons, the previous hotfix is the new document, so that their paths are
        // comparable.
        let (changed, missing) = (compare(addon, before), compare(now, before));
        let missing: HashMap<_, _> = missing.iter().rev().map(|one| (identity(one), one)).collect();
        for change in changed.iter().filter(|change| !IGNORED.contains(&change.path.as_str())) {
            let Some(missing) = missing.get(&identity(change)) else { continue };
            if !with_ancestors(&change.path).any(|path| known.contains(path)) {
                known.insert(change.path.clone());
                dropped.push((*missing).clone());
            }
        }
    }
    dropped
}

/// Returns the path and the values that identify a difference in both comparisons.
///
/// For an item that the previous hotfix removed, the path is that of the list, because the item has
/// no index in the previous hotfix.
fn identity(one: &Difference) -> (&str, Option<&str>, Option<&str>) {
    let list = one.path.rsplit_once('[').filter(|_| one.new.is_none());
    let path = list.map_or(one.path.as_str(), |(list, _)| list);
    (path, one.old.as_deref(), one.new.as_deref())
}

/// Iterates over a path and its ancestors, from the path to the root.
fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|at| &path[..at]))
}

/// Returns the latest hotfix of the same addon and product version before this one.
fn previous<'r>(
    repository: &'r ReleaseRepository,
    hotfix: &HotfixFile,
) -> Option<(HotfixVersion, &'r HotfixFile)> {
    let (addon, version) = (hotfix.addon()?, hotfix.hotfix_version()?);
    let earlier = repository.hotfixes.iter().filter_map(|other| {
        let earlier = other.hotfix_version()?;
        let is_of_series = other.addon() == Some(addon)
            && other.path.group == hotfix.path.group
            && earlier.base().is_same_release(version.base());
        (is_of_series && earlier < version).then_some((earlier, other))
    });
    earlier.max_by(|(one, _), (other, _)| one.cmp(other))
}

fn message(version: &HotfixVersion, dropped: &Difference) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "{} is {} as in the addon, but the previous hotfix {version} has {}",
        quote_name(&dropped.path),
        value(&dropped.old),
        value(&dropped.new),
    )
}

const IGNORED: &[&str] =
    &["_config._metadata.name", "_config._metadata.version", "_config._metadata.description"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    #[test]
    fn dropped_lost_changes_are_found() {
        for (addon, before, now, expected) in [
            ("{}", "{env: [{name: A, value: x}]}", "{}", &["env"][..]),
            ("{}", "{env: [{name: A}, {name: B}]}", "{env: [{name: B}]}", &["env[0]"]),
            ("{}", "{env: [{name: A}, {name: B}]}", "{env: [{name: B}, {name: A}]}", &[]),
            (
                "{env: [{name: B}]}",
                "{env: [{name: A}, {name: B}]}",
                "{env: [{name: B}]}",
                &["env[0]"],
            ),
            ("{}", "{limits: {cpu: 1, memory: 2}}", "{limits: {cpu: 1}}", &["limits.memory"]),
            ("{}", "{limits: {cpu: 1}}", "{limits: {cpu: 2}}", &[]),
            ("{}", "{limits: {cpu: 1}}", "{}", &["limits"]),
            ("{a: 1, b: 2}", "{a: 1}", "{a: 1, b: 2}", &["b"]),
            ("{a: 1}", "{a: 2}", "{a: 1}", &["a"]),
        ] {
            let [addon, before, after] = [addon, before, now].map(|text| parse(text).unwrap());
            let found = dropped(&addon, &before, &after);
            let paths: Vec<_> = found.iter().map(|one| one.path.as_str()).collect();
            assert_eq!(paths, expected, "{now}");
        }
    }
}
