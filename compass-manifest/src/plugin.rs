//! Reads plugin manifests: `release-plugins/<plugin>.yaml`.

use crate::schema::{Schema, Table, infallible, optional, required, required_group};
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
        infallible(FIELDS.value(root))
    }
}

/// The fields of the plugin centre's API.
pub(crate) const FIELDS: Table<PluginManifest> = Table(&[
    optional("apiVersion", Schema::Text),
    optional("kind", Schema::Text),
    required_group("metadata", &METADATA),
    required_group("spec", &SPEC),
]);

const METADATA: Table<PluginManifest> = Table(&[
    required("name", Schema::Text).set(|it, node| it.name = node.spanned_text()),
    optional("alias", Schema::Text),
    optional("description", Schema::Text),
    optional("labels", Schema::MapOf(&Schema::Text)),
    optional("annotations", Schema::MapOf(&Schema::Text)),
]);

const SPEC: Table<PluginManifest> = Table(&[
    optional("class", Schema::Text),
    required("version", Schema::Text).set(|it, node| it.version = node.spanned_text()),
    optional("compassRequirement", Schema::Text),
    optional("description", Schema::Text),
    optional("note", Schema::Text),
    optional("author", Schema::Text),
    required_group("service", &SERVICE),
    required("modules", Schema::List(&Schema::Fields(&MODULE)))
        .set(|it, node| it.modules = infallible(MODULE.items(node))),
]);

const SERVICE: Table<PluginManifest> = Table(&[
    required("port", Schema::Port).set(|it, node| it.port = node.spanned_port()),
    optional("nodePort", Schema::PortOrZero),
    required("image", Schema::Text).set(|it, node| it.image = node.spanned_text()),
    optional("configs", Schema::Fields(&CONFIGS)),
    optional("security", Schema::Fields(&SECURITY)),
    optional("resources", Schema::Fields(&RESOURCES)),
]);

const CONFIGS: Table = Table(&[
    optional("envs", Schema::List(&Schema::Fields(&ENV))),
    optional("files", Schema::List(&Schema::Any)),
]);

const ENV: Table = Table(&[
    required("name", Schema::Text),
    optional("value", Schema::Text),
    optional("description", Schema::Text),
]);

const SECURITY: Table = Table(&[
    optional("privileged", Schema::Boolean),
    optional("clusterAccessible", Schema::Boolean),
    optional("apiAccessible", Schema::Boolean),
    optional("cauth", Schema::Boolean),
]);

const RESOURCES: Table = Table(&[
    optional("limits", Schema::MapOf(&Schema::Scalar)),
    optional("requests", Schema::MapOf(&Schema::Scalar)),
]);

const MODULE: Table<Module> = Table(&[
    required("name", Schema::Text).set(|it, node| it.name = node.spanned_text()),
    optional("alias", Schema::MapOf(&Schema::Text)),
    optional("icon", Schema::Text),
    optional("sources", Schema::List(&Schema::Text)),
    required("slots", Schema::List(&Schema::Text))
        .set(|it, node| it.slots = node.items().iter().filter_map(Node::spanned_text).collect()),
]);
