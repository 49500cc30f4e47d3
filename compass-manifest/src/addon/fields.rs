//! The fields of addon values, from the lint schema of the addon template.

use super::{AddonValues, Container, HostPort, NodePort};
use crate::schema::{Schema, Table, infallible, optional, required, required_group};
use crate::source::Spanned;
use crate::yaml::Node;

/// The fields of a controller that are read.
#[derive(Default)]
struct Controller {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    node_ports: Vec<NodePort>,
}

/// The fields of a service that are read.
#[derive(Default)]
struct Service {
    name: String,
    ports: Vec<Port>,
}

/// The fields of a port that are read. The port is a host port or a node port.
#[derive(Default)]
struct Port {
    protocol: Option<String>,
    port: Option<Spanned<u16>>,
}

pub(crate) const FIELDS: Table<AddonValues> = Table(&[required_group("_config", &CONFIG)]);

const CONFIG: Table<AddonValues> = Table(&[
    required_group("_metadata", &METADATA),
    required("controllers", Schema::List(&Schema::Fields(&CONTROLLER))).set(set_controllers),
]);

const METADATA: Table<AddonValues> = Table(&[
    required("name", Schema::Scalar).set(|it, node| it.name = node.spanned_text()),
    required("version", Schema::Text).set(|it, node| it.version = node.spanned_text()),
    optional("namespace", Schema::Text).set(|it, node| it.namespace = node.spanned_text()),
    optional("description", Schema::Scalar).set(|it, node| it.description = node.spanned_text()),
    optional("template", Schema::MapOf(&Schema::Scalar)),
    optional("creationTime", Schema::Scalar),
    optional("source", Schema::Scalar),
    optional("revision", Schema::Scalar),
    optional("class", Schema::Scalar),
]);

const CONTAINERS: &str = "containers";
const INIT_CONTAINERS: &str = "initContainers";

const CONTROLLER: Table<Controller> = Table(&[
    required("type", Schema::Text),
    optional("controller", Schema::Fields(&SETTINGS)),
    optional("schedule", Schema::Fields(&SCHEDULE)),
    optional("pod", Schema::Fields(&POD)),
    optional(INIT_CONTAINERS, Schema::List(&Schema::Fields(&CONTAINER)))
        .set(|it, node| it.init_containers = containers(node, INIT_CONTAINERS)),
    required(CONTAINERS, Schema::List(&Schema::Fields(&CONTAINER)))
        .set(|it, node| it.containers = containers(node, CONTAINERS)),
    optional("volumes", Schema::List(&Schema::Fields(&VOLUME))),
    optional("services", Schema::List(&Schema::Fields(&SERVICE))).set(|it, node| {
        let services = infallible(SERVICE.items(node));
        it.node_ports = services.into_iter().flat_map(Service::node_ports).collect();
    }),
    optional("configs", Schema::List(&Schema::Fields(&CONFIG_MAP))),
    optional("secrets", Schema::List(&Schema::Fields(&SECRET))),
]);

const SETTINGS: Table = Table(&[
    optional("replica", Schema::Scalar),
    optional("strategy", Schema::Fields(&STRATEGY)),
    optional("ready", Schema::Scalar),
    optional("name", Schema::Scalar),
    optional("domain", Schema::Scalar),
    optional("parallelism", Schema::Scalar),
    optional("completions", Schema::Scalar),
    optional("active", Schema::Scalar),
    optional("rule", Schema::Scalar),
    optional("deadline", Schema::Scalar),
    optional("policy", Schema::Scalar),
    optional("suspend", Schema::Boolean),
    optional("history", Schema::MapOf(&Schema::Scalar)),
    optional("annotations", Schema::List(&Schema::Fields(&PAIR))),
]);

const STRATEGY: Table =
    Table(&[optional("unavailable", Schema::Scalar), optional("surge", Schema::Scalar)]);

const PAIR: Table = Table(&[required("key", Schema::Scalar), optional("value", Schema::Scalar)]);

const SCHEDULE: Table = Table(&[
    optional("scheduler", Schema::Scalar),
    optional("labels", Schema::MapOf(&Schema::Scalar)),
    optional("affinity", Schema::MapOf(&Schema::Any)),
    optional("antiaffinity", Schema::MapOf(&Schema::Any)),
    optional("tolerations", Schema::List(&Schema::MapOf(&Schema::Scalar))),
]);

const POD: Table = Table(&[
    optional("restart", Schema::Text),
    optional("dns", Schema::Text),
    optional("hostname", Schema::Scalar),
    optional("subdomain", Schema::Scalar),
    optional("termination", Schema::Scalar),
    optional("serviceAccountName", Schema::Scalar),
    optional("host", Schema::MapOf(&Schema::Boolean)),
    optional("annotations", Schema::List(&Schema::Fields(&PAIR))),
]);

const CONTAINER: Table<Container> = Table(&[
    optional("name", Schema::Scalar),
    // Optional, because `container-without-image` reports a missing image instead of
    // `missing-field`.
    optional("image", Schema::Text).set(|it, node| it.image = node.spanned_text()),
    optional("imagePullPolicy", Schema::Text),
    optional("tty", Schema::Boolean),
    optional("command", Schema::List(&Schema::Scalar)),
    optional("args", Schema::List(&Schema::Scalar)),
    optional("workingDir", Schema::Scalar),
    optional("securityContext", Schema::Fields(&SECURITY)),
    optional("ports", Schema::List(&Schema::Fields(&PORT))).set(|it, node| {
        let ports = infallible(PORT.items(node)).into_iter();
        it.host_ports = ports.filter_map(Port::host_port).collect();
    }),
    optional("envFrom", Schema::List(&Schema::MapOf(&Schema::Scalar))),
    optional("downwardPrefix", Schema::Scalar),
    optional("env", Schema::List(&Schema::Fields(&ENV))),
    optional("resources", Schema::Fields(&RESOURCES)),
    optional("mounts", Schema::List(&Schema::Fields(&MOUNT))),
    optional("probe", Schema::Fields(&PROBES)),
    optional("lifecycle", Schema::MapOf(&Schema::Any)),
]);

const SECURITY: Table = Table(&[
    optional("privileged", Schema::Boolean),
    optional("capabilities", Schema::MapOf(&Schema::List(&Schema::Scalar))),
]);

const PORT: Table<Port> = Table(&[
    optional("protocol", Schema::Text).set(Port::set_protocol),
    optional("port", Schema::Scalar),
    optional("hostPort", Schema::Scalar).set(|it, node| it.port = node.spanned_port()),
]);

const ENV: Table = Table(&[
    required("name", Schema::Scalar),
    optional("value", Schema::ScalarOrNothing),
    optional("from", Schema::MapOf(&Schema::Scalar)),
]);

const RESOURCES: Table = Table(&[
    optional("limits", Schema::MapOf(&Schema::Scalar)),
    optional("requests", Schema::MapOf(&Schema::Scalar)),
]);

const MOUNT: Table = Table(&[
    required("name", Schema::Scalar),
    required("path", Schema::Scalar),
    optional("readonly", Schema::Boolean),
    optional("subpath", Schema::Scalar),
    optional("propagation", Schema::Text),
]);

const PROBES: Table = Table(&[
    optional("liveness", Schema::Fields(&PROBE)),
    optional("readiness", Schema::Fields(&PROBE)),
]);

const PROBE: Table = Table(&[
    optional("handler", Schema::MapOf(&Schema::Any)),
    optional("delay", Schema::Scalar),
    optional("timeout", Schema::Scalar),
    optional("period", Schema::Scalar),
    optional("threshold", Schema::MapOf(&Schema::Scalar)),
]);

const VOLUME: Table = Table(&[
    required("name", Schema::Scalar),
    optional("type", Schema::Text),
    optional("source", Schema::Fields(&VOLUME_SOURCE)),
    optional("storage", Schema::MapOf(&Schema::Scalar)),
]);

const VOLUME_SOURCE: Table = Table(&[
    optional("class", Schema::Scalar),
    optional("modes", Schema::List(&Schema::Scalar)),
    optional("target", Schema::Scalar),
    optional("readonly", Schema::Boolean),
    optional("medium", Schema::ScalarOrNothing),
    optional("items", Schema::List(&Schema::MapOf(&Schema::Scalar))),
    optional("default", Schema::Scalar),
    optional("optional", Schema::Boolean),
    optional("path", Schema::Scalar),
]);

const SERVICE: Table<Service> = Table(&[
    required("name", Schema::Scalar)
        .set(|it, node| node.text().unwrap_or_default().clone_into(&mut it.name)),
    optional("type", Schema::Text),
    optional("export", Schema::Boolean),
    optional("ports", Schema::List(&Schema::Fields(&SERVICE_PORT)))
        .set(|it, node| it.ports = infallible(SERVICE_PORT.items(node))),
    optional("annotations", Schema::List(&Schema::Fields(&PAIR))),
]);

const SERVICE_PORT: Table<Port> = Table(&[
    optional("name", Schema::Scalar),
    optional("protocol", Schema::Text).set(Port::set_protocol),
    optional("targetPort", Schema::Scalar),
    optional("port", Schema::Scalar),
    optional("nodePort", Schema::PortOrZero).set(|it, node| it.port = node.spanned_port()),
]);

const CONFIG_MAP: Table = Table(&[
    required("name", Schema::Scalar),
    optional("data", Schema::List(&Schema::Fields(&DATA))),
]);

const SECRET: Table = Table(&[
    required("name", Schema::Scalar),
    optional("type", Schema::Text),
    optional("data", Schema::List(&Schema::Fields(&DATA))),
]);

const DATA: Table =
    Table(&[required("key", Schema::Scalar), optional("value", Schema::ScalarOrNothing)]);

fn set_controllers(addon: &mut AddonValues, list: &Node) {
    for (index, controller) in infallible(CONTROLLER.items(list)).into_iter().enumerate() {
        let init_containers = controller.init_containers.into_iter();
        let init_containers =
            init_containers.map(|container| Container { init: true, ..container });
        for mut container in controller.containers.into_iter().chain(init_containers) {
            container.path = format!("_config.controllers[{index}].{}", container.path);
            addon.containers.push(container);
        }
        addon.node_ports.extend(controller.node_ports);
    }
}

/// Reads the containers of a list, with their paths in the controller.
fn containers(list: &Node, key: &str) -> Vec<Container> {
    let read = |(index, node): (usize, &Node)| Container {
        path: format!("{key}[{index}]"),
        span: node.entries().first().map_or(node.span, |entry| entry.key.span),
        ..infallible(CONTAINER.value(node))
    };
    list.items().iter().enumerate().map(read).collect()
}

impl Service {
    /// Returns the node ports, with a port that several protocols share only once.
    ///
    /// Kubernetes permits one port for several protocols of a service, which DNS services use.
    fn node_ports(self) -> Vec<NodePort> {
        let (mut node_ports, mut claimed) = (Vec::new(), Vec::<HostPort>::new());
        for claim in self.ports.into_iter().filter_map(Port::host_port) {
            let mut same = claimed.iter().filter(|other| other.port.value == claim.port.value);
            let is_shared =
                same.clone().count() > 0 && same.all(|one| one.protocol != claim.protocol);
            if !is_shared {
                node_ports.push(NodePort { service: self.name.clone(), port: claim.port.clone() });
            }
            claimed.push(claim);
        }
        node_ports
    }
}

impl Port {
    fn set_protocol(&mut self, node: &Node) {
        self.protocol = node.spanned_text().map(|protocol| protocol.value.to_uppercase());
    }

    /// Returns the port with its protocol; `None` if it is 0 or not a number.
    fn host_port(self) -> Option<HostPort> {
        let protocol = self.protocol.unwrap_or_else(|| "TCP".to_owned());
        Some(HostPort { protocol, port: self.port? })
    }
}
