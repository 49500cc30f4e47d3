//! Reads plugin manifests: `release-plugins/<plugin>.yaml`.

use crate::schema::Schema::{Any, Boolean, Fields, List, MapOf, Port, PortOrZero, Scalar, Text};
use crate::schema::{Table, infallible, optional, required, required_group};
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
    optional("apiVersion", Text),
    optional("kind", Text),
    required_group("metadata", &METADATA),
    required_group("spec", &SPEC),
]);

const METADATA: Table<PluginManifest> = Table(&[
    required("name", Text).set(|it, node| it.name = node.spanned_text()),
    optional("alias", Text),
    optional("description", Text),
    optional("labels", MapOf(&Text)),
    optional("annotations", MapOf(&Text)),
]);

const SPEC: Table<PluginManifest> = Table(&[
    optional("class", Text),
    required("version", Text).set(|it, node| it.version = node.spanned_text()),
    optional("compassRequirement", Text),
    optional("description", Text),
    optional("note", Text),
    optional("author", Text),
    required_group("service", &SERVICE),
    required("modules", List(&Fields(&MODULE)))
        .set(|it, node| it.modules = infallible(MODULE.items(node))),
]);

const SERVICE: Table<PluginManifest> = Table(&[
    required("port", Port).set(|it, node| it.port = node.spanned_port()),
    optional("nodePort", PortOrZero),
    required("image", Text).set(|it, node| it.image = node.spanned_text()),
    optional("configs", Fields(&CONFIGS)),
    optional("security", Fields(&SECURITY)),
    optional("resources", Fields(&RESOURCES)),
]);

const CONFIGS: Table =
    Table(&[optional("envs", List(&Fields(&ENV))), optional("files", List(&Any))]);

const ENV: Table =
    Table(&[required("name", Text), optional("value", Text), optional("description", Text)]);

const SECURITY: Table = Table(&[
    optional("privileged", Boolean),
    optional("clusterAccessible", Boolean),
    optional("apiAccessible", Boolean),
    optional("cauth", Boolean),
]);

const RESOURCES: Table =
    Table(&[optional("limits", MapOf(&Scalar)), optional("requests", MapOf(&Scalar))]);

const MODULE: Table<Module> = Table(&[
    required("name", Text).set(|it, node| it.name = node.spanned_text()),
    optional("alias", MapOf(&Text)),
    optional("icon", Text),
    optional("sources", List(&Text)),
    required("slots", List(&Text))
        .set(|it, node| it.slots = node.items().iter().filter_map(Node::spanned_text).collect()),
]);
