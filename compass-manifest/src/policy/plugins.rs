use super::pattern::Pattern;
use super::value::{ValueError, directories, flag};
use crate::yaml::{Node, decimal};

/// The settings for plugins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PluginPolicy {
    /// The directories of the plugin manifests; the first is for new manifests.
    pub directories: Vec<String>,
    /// Whether pre-releases may be released.
    pub prerelease: bool,
    /// The slots that plugins may share.
    pub shared_slots: Vec<Pattern>,
    /// The ports that plugins may share.
    pub shared_ports: Vec<u16>,
}

impl Default for PluginPolicy {
    fn default() -> Self {
        Self {
            directories: vec!["release-plugins".to_owned()],
            prerelease: false,
            shared_slots: Vec::new(),
            shared_ports: Vec::new(),
        }
    }
}

impl PluginPolicy {
    pub(super) fn read(&mut self, node: &Node) -> Result<(), ValueError> {
        if let Some(directory) = node.get("directory") {
            self.directories = directories(directory)?;
        }
        if node.get("prerelease").is_some() {
            self.prerelease = flag(node.get("prerelease"));
        }
        if let Some(slots) = node.get("shared_slots") {
            self.shared_slots = Pattern::list(slots)?;
        }
        if let Some(ports) = node.get("shared_ports") {
            let texts = ports.items().iter().filter_map(Node::text);
            self.shared_ports = texts.filter_map(decimal).collect();
        }
        Ok(())
    }
}
