//! Reads plugin manifests: `release-plugins/<plugin>.yaml`.

use crate::schema::{Field, Schema, optional, required};
use crate::source::Spanned;
use crate::yaml::Node;

/// The fields of a plugin manifest that Compass uses.
///
/// Missing fields and fields of a wrong type are `None`; the rules report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
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

/// A module of a plugin: a part of the product's user interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Module {
    /// `name`.
    pub name: Option<Spanned<String>>,
    /// `slots`: the positions in the user interface.
    pub slots: Vec<Spanned<String>>,
}

impl PluginManifest {
    /// Reads the fields of a document that have a valid type.
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

/// The schema of the plugin centre's API.
pub(crate) const SCHEMA: Schema = Schema::Fields(&[
    optional("apiVersion", Schema::Text),
    optional("kind", Schema::Text),
    required("metadata", Schema::Fields(METADATA)),
    required("spec", Schema::Fields(SPEC)),
]);

const METADATA: &[Field] = &[
    required("name", Schema::Text),
    optional("alias", Schema::Text),
    optional("description", Schema::Text),
    optional("labels", Schema::MapOf(&Schema::Text)),
    optional("annotations", Schema::MapOf(&Schema::Text)),
];

const SPEC: &[Field] = &[
    optional("class", Schema::Text),
    required("version", Schema::Text),
    optional("compassRequirement", Schema::Text),
    optional("description", Schema::Text),
    optional("note", Schema::Text),
    optional("author", Schema::Text),
    required("service", Schema::Fields(SERVICE)),
    required("modules", Schema::List(&Schema::Fields(MODULE))),
];

const SERVICE: &[Field] = &[
    required("port", Schema::Port),
    optional("nodePort", Schema::PortOrZero),
    required("image", Schema::Text),
    optional("configs", Schema::Fields(CONFIGS)),
    optional("security", Schema::Fields(SECURITY)),
    optional("resources", Schema::Fields(RESOURCES)),
];

const CONFIGS: &[Field] = &[
    optional("envs", Schema::List(&Schema::Fields(ENV))),
    optional("files", Schema::List(&Schema::Any)),
];

const ENV: &[Field] = &[
    required("name", Schema::Text),
    optional("value", Schema::Text),
    optional("description", Schema::Text),
];

const SECURITY: &[Field] = &[
    optional("privileged", Schema::Boolean),
    optional("clusterAccessible", Schema::Boolean),
    optional("apiAccessible", Schema::Boolean),
    optional("cauth", Schema::Boolean),
];

const RESOURCES: &[Field] = &[
    optional("limits", Schema::MapOf(&Schema::Scalar)),
    optional("requests", Schema::MapOf(&Schema::Scalar)),
];

const MODULE: &[Field] = &[
    required("name", Schema::Text),
    optional("alias", Schema::MapOf(&Schema::Text)),
    optional("icon", Schema::Text),
    optional("sources", Schema::List(&Schema::Text)),
    required("slots", Schema::List(&Schema::Text)),
];
