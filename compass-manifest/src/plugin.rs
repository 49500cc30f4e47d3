//! Plugin manifests: `release-plugins/<plugin>.yaml`.

use crate::shape::{Field, Shape, optional, required};
use crate::source::Spanned;
use crate::yaml::Node;

/// A plugin manifest, as far as it could be read. Fields that are missing or of a wrong type are
/// `None`; the rules report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginManifest {
    /// `metadata.name`.
    pub name: Option<Spanned<String>>,
    /// `spec.version`.
    pub version: Option<Spanned<String>>,
    /// `spec.service.image`.
    pub image: Option<Spanned<String>>,
    /// `spec.service.port`.
    pub port: Option<Spanned<u16>>,
    /// `spec.modules`.
    pub modules: Vec<Module>,
}

/// A module of a plugin: something that the plugin shows in the product's user interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// `name`.
    pub name: Option<Spanned<String>>,
    /// `slots`: the places it shows itself in.
    pub slots: Vec<Spanned<String>>,
}

impl PluginManifest {
    /// Reads what can be read of a document.
    pub fn read(root: &Node) -> Self {
        let list = |path: &[&str]| root.at(path).map(Node::items).unwrap_or_default();
        Self {
            name: Node::spanned_text(root.at(&["metadata", "name"])),
            version: Node::spanned_text(root.at(&["spec", "version"])),
            image: Node::spanned_text(root.at(&["spec", "service", "image"])),
            port: Node::spanned_port(root.at(&["spec", "service", "port"])),
            modules: list(&["spec", "modules"]).iter().map(Module::read).collect(),
        }
    }
}

impl Module {
    fn read(node: &Node) -> Self {
        let slots = node.get("slots").map(Node::items).unwrap_or_default();
        Self {
            name: Node::spanned_text(node.get("name")),
            slots: slots.iter().filter_map(|slot| Node::spanned_text(Some(slot))).collect(),
        }
    }
}

/// What the plugin centre's API takes.
pub(crate) const SHAPE: Shape = Shape::Fields(&[
    optional("apiVersion", Shape::Text),
    optional("kind", Shape::Text),
    required("metadata", Shape::Fields(METADATA)),
    required("spec", Shape::Fields(SPEC)),
]);

const METADATA: &[Field] = &[
    required("name", Shape::Text),
    optional("alias", Shape::Text),
    optional("description", Shape::Text),
    optional("labels", Shape::MapOf(&Shape::Text)),
    optional("annotations", Shape::MapOf(&Shape::Text)),
];

const SPEC: &[Field] = &[
    optional("class", Shape::Text),
    required("version", Shape::Text),
    optional("compassRequirement", Shape::Text),
    optional("description", Shape::Text),
    optional("note", Shape::Text),
    optional("author", Shape::Text),
    required("service", Shape::Fields(SERVICE)),
    required("modules", Shape::List(&Shape::Fields(MODULE))),
];

const SERVICE: &[Field] = &[
    required("port", Shape::Port),
    optional("nodePort", Shape::PortOrZero),
    required("image", Shape::Text),
    optional("configs", Shape::Fields(CONFIGS)),
    optional("security", Shape::Fields(SECURITY)),
    optional("resources", Shape::Fields(RESOURCES)),
];

const CONFIGS: &[Field] = &[
    optional("envs", Shape::List(&Shape::Fields(ENV))),
    optional("files", Shape::List(&Shape::Any)),
];

const ENV: &[Field] = &[
    required("name", Shape::Text),
    optional("value", Shape::Text),
    optional("description", Shape::Text),
];

const SECURITY: &[Field] = &[
    optional("privileged", Shape::Boolean),
    optional("clusterAccessible", Shape::Boolean),
    optional("apiAccessible", Shape::Boolean),
    optional("cauth", Shape::Boolean),
];

const RESOURCES: &[Field] = &[
    optional("limits", Shape::MapOf(&Shape::Scalar)),
    optional("requests", Shape::MapOf(&Shape::Scalar)),
];

const MODULE: &[Field] = &[
    required("name", Shape::Text),
    optional("alias", Shape::MapOf(&Shape::Text)),
    optional("icon", Shape::Text),
    optional("sources", Shape::List(&Shape::Text)),
    required("slots", Shape::List(&Shape::Text)),
];
