//! Describes a change between two states of a release repository.

use super::{HotfixFile, PluginFile, ReleaseRepository};
use crate::repository::AddonFile;

/// A change: its base, and the paths that it touches.
#[derive(Debug)]
pub(crate) struct Change<'r> {
    pub(crate) base: &'r ReleaseRepository,
    /// The paths of changed, added and deleted files, ordered.
    pub(crate) paths: Vec<&'r str>,
}

impl Change<'_> {
    /// Returns the state of a changed plugin at the base.
    ///
    /// The plugin is found by its path, otherwise by its name. Returns `None` if the plugin is new
    /// or unchanged.
    pub(crate) fn plugin(&self, plugin: &PluginFile) -> Option<&PluginFile> {
        let path = plugin.document.path();
        let same_file = |old: &&PluginFile| old.document.path() == path;
        let plugins = self.base.plugins.iter();
        let old = plugins.clone().find(same_file);
        let old = old.or_else(|| plugins.clone().find(|old| old.is_same_plugin(plugin)));
        old.filter(|_| self.touches(path))
    }

    /// Returns the state of a changed hotfix at the base.
    ///
    /// The hotfix is found by its path, otherwise by addon and version. Returns `None` if the
    /// hotfix is new or unchanged.
    pub(crate) fn hotfix(&self, hotfix: &HotfixFile) -> Option<&HotfixFile> {
        let path = hotfix.document.path();
        let same_file = |old: &&HotfixFile| old.document.path() == path;
        let moved = |old: &&HotfixFile| {
            self.touches(old.document.path())
                && old.addon().is_some()
                && old.addon() == hotfix.addon()
                && old.path.base == hotfix.path.base
                && old.path.version.is_some()
                && old.path.version == hotfix.path.version
        };
        let hotfixes = self.base.hotfixes.iter();
        let old = hotfixes.clone().find(same_file).or_else(|| hotfixes.clone().find(moved));
        old.filter(|_| self.touches(path))
    }

    /// Returns the state of a changed addon at the base.
    ///
    /// Returns `None` if the addon is new or unchanged.
    pub(crate) fn addon(&self, addon: &AddonFile) -> Option<&AddonFile> {
        let same = |old: &&AddonFile| old.document.path() == addon.document.path();
        self.base.addons.iter().find(same).filter(|_| self.touches(addon.document.path()))
    }

    /// Returns whether the change touches a path.
    pub(crate) fn touches(&self, path: &str) -> bool {
        self.paths.binary_search(&path).is_ok()
    }

    /// Returns whether the change adds a path.
    pub(crate) fn adds(&self, path: &str) -> bool {
        self.touches(path) && !self.base.tree.contains(path)
    }
}
