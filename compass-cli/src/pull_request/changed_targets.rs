//! Finds the targets that a pull request releases.

use std::collections::BTreeSet;
use std::fmt;

use compass_manifest::inventory;
use compass_manifest::review::Statement;

use super::ReleaseSource;
use crate::error::Result;

/// A target that a pull request releases.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReleaseTarget {
    pub(crate) kind: TargetKind,
    pub(crate) name: String,
}

/// The kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TargetKind {
    Plugin,
    Hotfix,
    Product,
}

/// The targets of a change, and remarks about it.
#[derive(Debug, Default)]
pub(super) struct ChangedTargets {
    pub(super) targets: Vec<ReleaseTarget>,
    pub(super) remarks: Vec<Statement>,
}

impl TargetKind {
    /// The kind on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Hotfix => "hotfix",
            Self::Product => "product",
        }
    }
}

impl ReleaseTarget {
    /// The arguments that name the target.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![self.kind.as_str().to_owned(), self.name.clone()]
    }
}

impl fmt::Display for ReleaseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// The maximum number of remarks.
const MAX_REMARKS: usize = 10;

/// Finds the targets whose manifests a pull request adds or changes.
pub(super) fn find(source: &ReleaseSource) -> Result<ChangedTargets> {
    let release = source.repository.release();
    let changed = source.changed_paths()?;
    let mut targets = BTreeSet::new();
    let mut add = |kind, name: String| targets.insert(ReleaseTarget { kind, name });
    for plugin in inventory::plugins(release) {
        if changed.contains(plugin.source.path()) {
            add(TargetKind::Plugin, plugin.name);
        }
    }
    let hotfixes = inventory::hotfixes(release);
    let packages: BTreeSet<&str> = hotfixes.iter().map(|hotfix| &*hotfix.package).collect();
    for hotfix in &hotfixes {
        if changed.contains(hotfix.source.path()) {
            let directory = hotfix.package.rsplit('/').next().unwrap_or_default();
            let same = packages.iter().filter(|other| other.rsplit('/').next() == Some(directory));
            // The name of a directory that exists twice would be ambiguous.
            let name = if same.count() > 1 { &hotfix.package } else { directory };
            add(TargetKind::Hotfix, name.to_owned());
        }
    }
    for product in release.products() {
        if changed.contains(product.document.path()) {
            let version = product.manifest.version.as_ref();
            add(TargetKind::Product, version.map_or(&product.stem, |text| &text.value).clone());
        }
    }
    let removed = changed.iter().filter(|path| source.repository.tree.kind(path).is_none());
    let removed = removed.take(MAX_REMARKS).cloned();
    let mut remarks: Vec<Statement> = removed.map(Statement::RemovedFile).collect();
    if targets.is_empty() {
        remarks.push(Statement::NoManifestChanged);
    }
    Ok(ChangedTargets { targets: targets.into_iter().collect(), remarks })
}
