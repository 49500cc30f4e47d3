//! Reads addon values: the `values.yaml` of an addon or of a hotfix.

mod fields;

use crate::schema::infallible;
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) use fields::FIELDS;

/// The fields of addon values that Compass uses.
///
/// Missing fields and fields of a wrong type are `None`; the rules report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct HostPort {
    /// The protocol. A container may use one port with several protocols.
    pub protocol: String,
    /// The port.
    pub port: Spanned<u16>,
}

/// A node port of a service, for one or more protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodePort {
    /// The service's name.
    pub service: String,
    /// The port.
    pub port: Spanned<u16>,
}

impl AddonValues {
    /// Reads the fields of a document that have a valid type.
    pub fn read(root: &Node) -> Self {
        infallible(FIELDS.value(root))
    }
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
