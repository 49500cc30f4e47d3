//! Addon values: `values.yaml` of a component of the product, and of a hotfix for it.

mod shape;

use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) use shape::SHAPE;

/// Addon values, as far as they could be read. Fields that are missing or of a wrong type are
/// `None`; the rules report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddonValues {
    /// `_config._metadata.name`.
    pub name: Option<Spanned<String>>,
    /// `_config._metadata.version`.
    pub version: Option<Spanned<String>>,
    /// `_config._metadata.namespace`.
    pub namespace: Option<Spanned<String>>,
    /// `_config._metadata.description`.
    pub description: Option<Spanned<String>>,
    /// The containers of all controllers, init containers included.
    pub containers: Vec<Container>,
    /// The node ports of all services.
    pub node_ports: Vec<NodePort>,
}

/// A container of an addon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Path, as `_config.controllers[0].containers[0]`.
    pub path: String,
    /// Whether it is an init container.
    pub init: bool,
    /// `image`.
    pub image: Option<Spanned<String>>,
    /// The container itself: its first key.
    pub span: Span,
    /// `ports[].hostPort`; 0 claims nothing.
    pub host_ports: Vec<Spanned<u16>>,
}

/// A node port that a service claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePort {
    /// The service's name.
    pub service: String,
    /// The port.
    pub port: Spanned<u16>,
}

impl AddonValues {
    /// Reads what can be read of a document.
    pub fn read(root: &Node) -> Self {
        let metadata = |key| Node::spanned_text(root.at(&["_config", "_metadata", key]));
        let mut addon = Self {
            name: metadata("name"),
            version: metadata("version"),
            namespace: metadata("namespace"),
            description: metadata("description"),
            ..Self::default()
        };
        let controllers = root.at(&["_config", "controllers"]).map(Node::items);
        for (index, controller) in controllers.unwrap_or_default().iter().enumerate() {
            let path = format!("_config.controllers[{index}]");
            addon.read_containers(controller, &path, "containers");
            addon.read_containers(controller, &path, "initContainers");
            addon.read_services(controller);
        }
        addon
    }

    fn read_containers(&mut self, controller: &Node, path: &str, key: &str) {
        let containers = controller.get(key).map(Node::items).unwrap_or_default();
        for (index, container) in containers.iter().enumerate() {
            let ports = container.get("ports").map(Node::items).unwrap_or_default();
            self.containers.push(Container {
                path: format!("{path}.{key}[{index}]"),
                init: key == "initContainers",
                image: Node::spanned_text(container.get("image")),
                span: container.entries().first().map_or(container.span, |entry| entry.key.span),
                host_ports: ports
                    .iter()
                    .filter_map(|p| Node::spanned_port(p.get("hostPort")))
                    .collect(),
            });
        }
    }

    fn read_services(&mut self, controller: &Node) {
        for service in controller.get("services").map(Node::items).unwrap_or_default() {
            let name = service.get("name").and_then(Node::text).unwrap_or_default();
            let ports = service.get("ports").map(Node::items).unwrap_or_default();
            let claimed =
                ports.iter().filter_map(|port_| Node::spanned_port(port_.get("nodePort")));
            self.node_ports.extend(claimed.map(|port| NodePort { service: name.to_owned(), port }));
        }
    }
}
