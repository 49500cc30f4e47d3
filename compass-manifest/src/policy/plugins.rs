use super::pattern::Pattern;
use super::value::{TEXTS, ValueError, directories, flag};
use crate::schema::Schema::{Boolean, List, Port};
use crate::schema::{Table, optional};
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

pub(super) const FIELDS: Table<PluginPolicy, ValueError> = Table(&[
    optional("directory", TEXTS)
        .try_set(|it, node| directories(node).map(|all| it.directories = all)),
    optional("prerelease", Boolean).set(|it, node| it.prerelease = flag(node)),
    optional("shared_slots", TEXTS)
        .try_set(|it, node| Pattern::list(node).map(|all| it.shared_slots = all)),
    optional("shared_ports", List(&Port)).set(|it, node| {
        let texts = node.items().iter().filter_map(Node::text);
        it.shared_ports = texts.filter_map(decimal).collect();
    }),
]);
