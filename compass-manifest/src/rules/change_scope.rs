use std::collections::BTreeSet;

use crate::escape::quote_name;
use crate::repository::{Change, FileKind, HotfixFile, PluginFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::{SourceFile, Span};

pub(crate) static RULE: Rule = Rule::new(
    "change-scope",
    "a change releases one plugin or one hotfix, and contains no other change",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Checks the paths of a change that touches a plugin manifest or a hotfix: it must not touch any other
file. Deleting or renaming another plugin or hotfix is a change too. The policy can permit changes
of image lists (`scope.image_lists`), and several hotfixes of one date (`scope.hotfixes_together`).
Moved hotfixes do not count.",
    why: "\
Review, sync and packaging cover the plugin or hotfix. Nobody checks the other changes.",
    example: "\
A pull request that changes `release-plugins/gpu.yaml` and `addons/default/gpu/admin/values.yaml`",
    fix: "Move the other change to a separate pull request.",
});

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    let released = released(repository, change);
    let Some((first, rest)) = released.split_first() else { return };
    if !may_be_together(repository, &released) {
        for one in rest {
            let message = format!("the change releases {} and also {}", first.name, one.name);
            let help = "open a pull request for each";
            sink.add(&SourceFile::new(one.path, ""), Span::default(), message, help);
        }
    }
    for path in &change.paths {
        let message = if let Some(deleted) = deleted(repository, change, &released, path) {
            format!("the change releases {} and also deletes {deleted}", first.name)
        } else if !is_in_scope(repository, path) {
            format!("the change releases {} and also touches this file", first.name)
        } else {
            continue;
        };
        let help = "move this change to a separate pull request";
        sink.add(&SourceFile::new(*path, ""), Span::default(), message, help);
    }
}

/// Returns the name of the plugin or hotfix that the change deletes at a path.
///
/// Returns `None` if the change moves or releases it.
fn deleted(
    repository: &ReleaseRepository,
    change: &Change<'_>,
    released: &[Released<'_>],
    path: &str,
) -> Option<String> {
    if repository.tree.contains(path) {
        return None;
    }
    let is_released = |name: &String| released.iter().any(|one| one.name == *name);
    if let Some(plugin) = change.base.plugins.iter().find(|old| old.document.path() == path) {
        let kept = repository.plugins.iter().any(|new| new.is_same_plugin(plugin));
        return Some(plugin_name(plugin)).filter(|name| !kept && !is_released(name));
    }
    let hotfix = change.base.hotfixes.iter().find(|old| old.document.path() == path)?;
    let moved = repository.hotfixes.iter().any(|new| {
        change.adds(new.document.path()) && hotfix.document.semantically_eq(&new.document)
    });
    Some(hotfix_name(hotfix)).filter(|name| !moved && !is_released(name))
}

fn plugin_name(plugin: &PluginFile) -> String {
    format!("plugin {}", quote_name(&plugin.stem))
}

fn hotfix_name(hotfix: &HotfixFile) -> String {
    format!("hotfix {}", quote_name(&hotfix.path.package))
}

struct Released<'r> {
    name: String,
    path: &'r str,
    hotfix: Option<&'r HotfixFile>,
}

/// Returns the changed plugins and hotfix packages, without moved hotfixes.
///
/// Returns a package with several changed files once.
fn released<'r>(repository: &'r ReleaseRepository, change: &Change<'_>) -> Vec<Released<'r>> {
    let plugins = repository.plugins.iter().filter(|file| change.touches(file.document.path()));
    let plugins = plugins.map(|file| Released {
        name: plugin_name(file),
        path: file.document.path(),
        hotfix: None,
    });
    let mut packages = BTreeSet::new();
    let hotfixes = repository.hotfixes.iter().filter(|file| change.touches(file.document.path()));
    let hotfixes = hotfixes
        .filter(|file| !is_moved(file, repository, change))
        .filter(|file| packages.insert(&file.path.package))
        .map(|file| Released {
            name: hotfix_name(file),
            path: file.document.path(),
            hotfix: Some(file),
        });
    plugins.chain(hotfixes).collect()
}

/// Returns whether the change moves a hotfix.
///
/// A moved hotfix has the same values at the base, at a path that no longer exists.
fn is_moved(file: &HotfixFile, repository: &ReleaseRepository, change: &Change<'_>) -> bool {
    change.adds(file.document.path())
        && change.base.hotfixes.iter().any(|old| {
            !repository.tree.contains(old.document.path())
                && old.document.semantically_eq(&file.document)
        })
}

fn may_be_together(repository: &ReleaseRepository, released: &[Released<'_>]) -> bool {
    let date = |hotfix: &HotfixFile| {
        let written = hotfix.hotfix_version().map(|version| version.date().to_string());
        hotfix.path.date.clone().or(written)
    };
    let dates: Option<BTreeSet<_>> = released.iter().map(|one| one.hotfix.map(date)).collect();
    repository.policy.scope.hotfixes_together && dates.is_some_and(|dates| dates.len() == 1)
}

/// Returns whether the policy permits a change of the path together with a release.
fn is_in_scope(repository: &ReleaseRepository, path: &str) -> bool {
    match repository.kind_of(path) {
        FileKind::Plugin | FileKind::Hotfix | FileKind::Readme => true,
        FileKind::ImageList => repository.policy.scope.image_lists,
        _ => false,
    }
}
