use super::value::flag;
use crate::yaml::Node;

/// What one pull request may touch besides the plugin or hotfix that it releases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopePolicy {
    /// The image lists may come along.
    pub image_lists: bool,
    /// Several hotfixes of one date may come together.
    pub hotfixes_together: bool,
}

impl ScopePolicy {
    pub(super) fn read(&mut self, node: &Node) {
        self.image_lists = flag(node.get("image_lists"));
        self.hotfixes_together = flag(node.get("hotfixes_together"));
    }
}
