//! Reads addon values: the `values.yaml` of an addon or of a hotfix.

mod schema;

use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) use schema::SCHEMA;

/// The fields of addon values that Compass uses.
///
/// Missing fields and fields of a wrong type are `None`; the rules report them.
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
    /// The containers of all controllers, including init containers.
    pub containers: Vec<Container>,
    /// The node ports of all services.
    pub node_ports: Vec<NodePort>,
}

/// A container of an addon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The path, such as `_config.controllers[0].containers[0]`.
    pub path: String,
    /// Whether the container is an init container.
    pub init: bool,
    /// `image`.
    pub image: Option<Spanned<String>>,
    /// The span of the container's first key.
    pub span: Span,
    /// `ports[].hostPort`, except 0.
    pub host_ports: Vec<HostPort>,
}

/// A host port of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The protocol. A container may use one port with several protocols.
    pub protocol: String,
    /// The port.
    pub port: Spanned<u16>,
}

/// A node port of a service, for one or more protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePort {
    /// The service's name.
    pub service: String,
    /// The port.
    pub port: Spanned<u16>,
}

impl AddonValues {
    /// Reads the fields of a document that have a valid type.
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
                host_ports: claims(ports, "hostPort")
                    .map(|(protocol, port)| HostPort { protocol, port })
                    .collect(),
            });
        }
    }

    fn read_services(&mut self, controller: &Node) {
        for service in controller.get("services").map(Node::items).unwrap_or_default() {
            let name = service.get("name").and_then(Node::text).unwrap_or_default();
            let ports = service.get("ports").map(Node::items).unwrap_or_default();
            let mut claimed: Vec<(String, Spanned<u16>)> = Vec::new();
            for (protocol, port) in claims(ports, "nodePort") {
                let mut same = claimed.iter().filter(|(_, other)| other.value == port.value);
                // Kubernetes permits one port for several protocols of a service, which DNS
                // services use.
                let is_shared = same.clone().count() > 0 && same.all(|(one, _)| *one != protocol);
                if !is_shared {
                    let service = name.to_owned();
                    self.node_ports.push(NodePort { service, port: port.clone() });
                }
                claimed.push((protocol, port));
            }
        }
    }
}

/// Iterates over the ports in the field `key` of a list of ports, with their protocols.
fn claims(ports: &[Node], key: &str) -> impl Iterator<Item = (String, Spanned<u16>)> {
    ports.iter().filter_map(move |port| {
        let protocol = port.get("protocol").filter(|protocol| !protocol.is_null());
        let protocol = protocol.and_then(Node::text).unwrap_or("TCP").to_uppercase();
        Some((protocol, Node::spanned_port(port.get(key))?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    #[test]
    fn read_service_shares_port_between_protocols() {
        let service = |ports: &str| format!("- {{name: dns, ports: [{ports}]}}\n");
        let claimed = |services: &str| {
            let root =
                parse(&format!("_config:\n controllers:\n - services:\n{services}")).unwrap();
            AddonValues::read(&root).node_ports.len()
        };
        let (tcp, udp) = ("{protocol: TCP, nodePort: 30053}", "{protocol: UDP, nodePort: 30053}");
        for (ports, expected) in [
            (format!("{tcp}, {udp}"), 1),
            (format!("{{nodePort: 30053}}, {udp}"), 1),
            (format!("{udp}, {udp}"), 2),
            (format!("{{nodePort: 30053}}, {tcp}"), 2),
            (format!("{tcp}, {udp}, {tcp}"), 2),
            ("{protocol: UDP, nodePort: 0}".to_owned(), 0),
        ] {
            assert_eq!(claimed(&format!("   {}", service(&ports))), expected, "{ports}");
        }
        let two = format!("   {}   {}", service(tcp), service(udp));
        assert_eq!(claimed(&two), 2);
    }
}
