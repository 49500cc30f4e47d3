use super::base_addon;
use crate::difference::{Difference, differences};
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::release::{HotfixFile, Release};
use crate::rule::{Findings, Rule};
use crate::source::Span;
use crate::version::HotfixVersion;

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
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for hotfix in &release.hotfixes {
        let Some((version, previous)) = previous(release, hotfix) else { continue };
        let Some(addon) = base_addon::of(release, hotfix) else { continue };
        let roots = (&addon.document.root, &previous.document.root, &hotfix.document.root);
        let (Ok(addon), Ok(before), Ok(now)) = roots else { continue };
        // Both name paths of the previous hotfix.
        let changed = differences(addon, before);
        let missing = differences(now, before);
        let places = differences(before, now);
        for change in changed.iter().filter(|change| !IGNORED.contains(&change.path.as_str())) {
            if let Some(dropped) = missing.iter().find(|other| is_same(change, other)) {
                let place = places.iter().find(|place| place.path == dropped.path);
                let span = place.map_or_else(Span::default, |place| place.span);
                let message = message(&version, dropped);
                let help = "begin from the previous hotfix, or allow it with the reason";
                findings.add(&hotfix.document.source, span, message, help);
            }
        }
    }
}

/// The latest hotfix before this one, of the same addon and product version.
fn previous<'r>(
    release: &'r Release<'_>,
    hotfix: &HotfixFile,
) -> Option<(HotfixVersion, &'r HotfixFile)> {
    let (addon, version) = (hotfix.addon()?, hotfix.hotfix_version()?);
    let earlier = release.hotfixes.iter().filter_map(|other| {
        let earlier = other.hotfix_version()?;
        let is_of_series = other.addon() == Some(addon)
            && other.place.group == hotfix.place.group
            && earlier.base().is_same_release(version.base());
        (is_of_series && earlier < version).then_some((earlier, other))
    });
    earlier.max_by(|(one, _), (other, _)| one.cmp(other))
}

/// Whether the same thing is missing: at the same path, with the value that the addon has. Items
/// that the previous hotfix removed have no path in it, and are known by their names.
fn is_same(change: &Difference, missing: &Difference) -> bool {
    let is_removed = change.new.is_none() && missing.new.is_none();
    let list = |path: &str| path.rsplit_once('[').map(|(list, _)| list.to_owned());
    let is_same_place = change.path == missing.path
        || (is_removed
            && list(&change.path).is_some()
            && list(&change.path) == list(&missing.path));
    is_same_place && change.old == missing.old && change.new == missing.new
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
