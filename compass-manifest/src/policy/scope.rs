use super::value::flag;
use crate::yaml::Node;

/// The files that a pull request may change together with a plugin or hotfix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopePolicy {
    /// Whether image lists may change too.
    pub image_lists: bool,
    /// Whether one pull request may contain several hotfixes of the same date.
    pub hotfixes_together: bool,
}

impl ScopePolicy {
    pub(super) fn read(&mut self, node: &Node) {
        self.image_lists = flag(node.get("image_lists"));
        self.hotfixes_together = flag(node.get("hotfixes_together"));
    }
}
