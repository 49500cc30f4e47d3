//! What changed between two states of a release repository.

use super::{HotfixFile, PluginFile, Release};
use crate::release::AddonFile;

/// What the change began from.
#[derive(Debug)]
pub(crate) struct Change<'p> {
    pub(crate) base: Box<Release<'p>>,
    /// The paths that differ, ordered; also those that are gone.
    pub(crate) paths: Vec<&'p str>,
}

impl Change<'_> {
    /// The same plugin before the change.
    pub(crate) fn plugin(&self, plugin: &PluginFile) -> Option<&PluginFile> {
        let same = |old: &&PluginFile| old.document.path() == plugin.document.path();
        self.base.plugins.iter().find(same).filter(|_| self.touches(plugin.document.path()))
    }

    /// The same hotfix before the change.
    pub(crate) fn hotfix(&self, hotfix: &HotfixFile) -> Option<&HotfixFile> {
        let same = |old: &&HotfixFile| old.document.path() == hotfix.document.path();
        self.base.hotfixes.iter().find(same).filter(|_| self.touches(hotfix.document.path()))
    }

    /// The same addon before the change.
    pub(crate) fn addon(&self, addon: &AddonFile) -> Option<&AddonFile> {
        let same = |old: &&AddonFile| old.document.path() == addon.document.path();
        self.base.addons.iter().find(same).filter(|_| self.touches(addon.document.path()))
    }

    /// Whether the change touches a path.
    pub(crate) fn touches(&self, path: &str) -> bool {
        self.paths.binary_search(&path).is_ok()
    }

    /// Whether a path is new.
    pub(crate) fn adds(&self, path: &str) -> bool {
        self.touches(path) && !self.base.tree.contains(path)
    }
}
