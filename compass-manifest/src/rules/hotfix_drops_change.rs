use std::collections::{HashMap, HashSet};

use super::base_addon;
use crate::diff::{Difference, detailed_differences, differences};
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;
use crate::version::HotfixVersion;
use crate::yaml::Node;

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-drops-change",
    summary: "a hotfix contains what the previous one changed",
    severity: Severity::Warning,
    docs: "\
### What it does
Compares a hotfix with the previous one of the same addon and product version. What that one changed
in the addon of the product, and this one has as the addon again, is reported. Name, version and
description do not count.

### Why is this bad?
A hotfix replaces the addon's values as a whole. A site that installs the second hotfix loses what
the first one repaired.

### Example
`v2.7.0-20180605-p1` raises a memory limit, and `v2.7.0-20180605-p2`, made from the addon again, has
the old limit.

### What to do
Begin from the previous hotfix, as `compass bump hotfix ADDON` does. If the change is taken back on
purpose, say so: `# compass:allow hotfix-drops-change REASON` on the line.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &context.repository.hotfixes {
        let Some((version, previous)) = previous(context.repository, hotfix) else { continue };
        let Some(addon) = base_addon::of(context, hotfix) else { continue };
        let roots = (&addon.document.root, &previous.document.root, &hotfix.document.root);
        let (Ok(addon), Ok(before), Ok(now)) = roots else { continue };
        let places = differences(before, now);
        let places: HashMap<&str, Span> =
            places.iter().map(|place| (place.path.as_str(), place.span)).collect();
        for dropped in dropped(addon, before, now) {
            let place = outwards(&dropped.path).find_map(|path| places.get(path));
            let message = message(&version, &dropped);
            let help = "begin from the previous hotfix, or allow it with the reason";
            let span = place.copied().unwrap_or_default();
            sink.add(&hotfix.document.source, span, message, help);
        }
    }
}

/// What a hotfix changed of its addon and the next one did not: whole fields first, then parts of what
/// it added.
fn dropped(addon: &Node, before: &Node, now: &Node) -> Vec<Difference> {
    let (mut dropped, mut known) = (Vec::new(), HashSet::new());
    for compare in [differences, detailed_differences] {
        // Both name paths of the previous hotfix.
        let (changed, missing) = (compare(addon, before), compare(now, before));
        let missing: HashMap<_, _> = missing.iter().rev().map(|one| (identity(one), one)).collect();
        for change in changed.iter().filter(|change| !IGNORED.contains(&change.path.as_str())) {
            let Some(missing) = missing.get(&identity(change)) else { continue };
            if !outwards(&change.path).any(|path| known.contains(path)) {
                known.insert(change.path.clone());
                dropped.push((*missing).clone());
            }
        }
    }
    dropped
}

/// What two differences have in common if the same thing is missing: the path, with the value that the
/// addon has. Items that the previous hotfix removed have no path in it, and are known by their names.
fn identity(one: &Difference) -> (&str, Option<&str>, Option<&str>) {
    let list = one.path.rsplit_once('[').filter(|_| one.new.is_none());
    let place = list.map_or(one.path.as_str(), |(list, _)| list);
    (place, one.old.as_deref(), one.new.as_deref())
}

/// A path, and those that it is below.
fn outwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|at| &path[..at]))
}

/// The latest hotfix before this one, of the same addon and product version.
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
        "{} is {} again, as in the addon; the previous hotfix {version} has {}",
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
    fn dropped_parts_of_additions_are_found() {
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
