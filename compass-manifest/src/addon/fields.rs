//! The fields of addon values, from the lint schema of the addon template.

use super::{AddonValues, Container, HostPort, NodePort};
use crate::schema::Schema::{
    Any, Boolean, Fields, List, MapOf, PortOrZero, Scalar, ScalarOrNothing, Text,
};
use crate::schema::{Table, infallible, optional, required, required_group};
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
    required("controllers", List(&Fields(&CONTROLLER))).set(set_controllers),
]);

const METADATA: Table<AddonValues> = Table(&[
    required("name", Scalar).set(|it, node| it.name = node.spanned_text()),
    required("version", Text).set(|it, node| it.version = node.spanned_text()),
    optional("namespace", Text).set(|it, node| it.namespace = node.spanned_text()),
    optional("description", Scalar).set(|it, node| it.description = node.spanned_text()),
    optional("template", MapOf(&Scalar)),
    optional("creationTime", Scalar),
    optional("source", Scalar),
    optional("revision", Scalar),
    optional("class", Scalar),
]);

const CONTAINERS: &str = "containers";
const INIT_CONTAINERS: &str = "initContainers";

const CONTROLLER: Table<Controller> = Table(&[
    required("type", Text),
    optional("controller", Fields(&SETTINGS)),
    optional("schedule", Fields(&SCHEDULE)),
    optional("pod", Fields(&POD)),
    optional(INIT_CONTAINERS, List(&Fields(&CONTAINER)))
        .set(|it, node| it.init_containers = containers(node, INIT_CONTAINERS)),
    required(CONTAINERS, List(&Fields(&CONTAINER)))
        .set(|it, node| it.containers = containers(node, CONTAINERS)),
    optional("volumes", List(&Fields(&VOLUME))),
    optional("services", List(&Fields(&SERVICE))).set(|it, node| {
        let services = infallible(SERVICE.items(node));
        it.node_ports = services.into_iter().flat_map(Service::node_ports).collect();
    }),
    optional("configs", List(&Fields(&CONFIG_MAP))),
    optional("secrets", List(&Fields(&SECRET))),
]);

const SETTINGS: Table = Table(&[
    optional("replica", Scalar),
    optional("strategy", Fields(&STRATEGY)),
    optional("ready", Scalar),
    optional("name", Scalar),
    optional("domain", Scalar),
    optional("parallelism", Scalar),
    optional("completions", Scalar),
    optional("active", Scalar),
    optional("rule", Scalar),
    optional("deadline", Scalar),
    optional("policy", Scalar),
    optional("suspend", Boolean),
    optional("history", MapOf(&Scalar)),
    optional("annotations", List(&Fields(&PAIR))),
]);

const STRATEGY: Table = Table(&[optional("unavailable", Scalar), optional("surge", Scalar)]);

const PAIR: Table = Table(&[required("key", Scalar), optional("value", Scalar)]);

const SCHEDULE: Table = Table(&[
    optional("scheduler", Scalar),
    optional("labels", MapOf(&Scalar)),
    optional("affinity", MapOf(&Any)),
    optional("antiaffinity", MapOf(&Any)),
    optional("tolerations", List(&MapOf(&Scalar))),
]);

const POD: Table = Table(&[
    optional("restart", Text),
    optional("dns", Text),
    optional("hostname", Scalar),
    optional("subdomain", Scalar),
    optional("termination", Scalar),
    optional("serviceAccountName", Scalar),
    optional("host", MapOf(&Boolean)),
    optional("annotations", List(&Fields(&PAIR))),
]);

const CONTAINER: Table<Container> = Table(&[
    optional("name", Scalar),
    // Optional, because `container-without-image` reports a missing image instead of
    // `missing-field`.
    optional("image", Text).set(|it, node| it.image = node.spanned_text()),
    optional("imagePullPolicy", Text),
    optional("tty", Boolean),
    optional("command", List(&Scalar)),
    optional("args", List(&Scalar)),
    optional("workingDir", Scalar),
    optional("securityContext", Fields(&SECURITY)),
    optional("ports", List(&Fields(&PORT))).set(|it, node| {
        let ports = infallible(PORT.items(node)).into_iter();
        it.host_ports = ports.filter_map(Port::host_port).collect();
    }),
    optional("envFrom", List(&MapOf(&Scalar))),
    optional("downwardPrefix", Scalar),
    optional("env", List(&Fields(&ENV))),
    optional("resources", Fields(&RESOURCES)),
    optional("mounts", List(&Fields(&MOUNT))),
    optional("probe", Fields(&PROBES)),
    optional("lifecycle", MapOf(&Any)),
]);

const SECURITY: Table =
    Table(&[optional("privileged", Boolean), optional("capabilities", MapOf(&List(&Scalar)))]);

const PORT: Table<Port> = Table(&[
    optional("protocol", Text).set(Port::set_protocol),
    optional("port", Scalar),
    optional("hostPort", Scalar).set(|it, node| it.port = node.spanned_port()),
]);

const ENV: Table = Table(&[
    required("name", Scalar),
    optional("value", ScalarOrNothing),
    optional("from", MapOf(&Scalar)),
]);

const RESOURCES: Table =
    Table(&[optional("limits", MapOf(&Scalar)), optional("requests", MapOf(&Scalar))]);

const MOUNT: Table = Table(&[
    required("name", Scalar),
    required("path", Scalar),
    optional("readonly", Boolean),
    optional("subpath", Scalar),
    optional("propagation", Text),
]);

const PROBES: Table =
    Table(&[optional("liveness", Fields(&PROBE)), optional("readiness", Fields(&PROBE))]);

const PROBE: Table = Table(&[
    optional("handler", MapOf(&Any)),
    optional("delay", Scalar),
    optional("timeout", Scalar),
    optional("period", Scalar),
    optional("threshold", MapOf(&Scalar)),
]);

const VOLUME: Table = Table(&[
    required("name", Scalar),
    optional("type", Text),
    optional("source", Fields(&VOLUME_SOURCE)),
    optional("storage", MapOf(&Scalar)),
]);

const VOLUME_SOURCE: Table = Table(&[
    optional("class", Scalar),
    optional("modes", List(&Scalar)),
    optional("target", Scalar),
    optional("readonly", Boolean),
    optional("medium", ScalarOrNothing),
    optional("items", List(&MapOf(&Scalar))),
    optional("default", Scalar),
    optional("optional", Boolean),
    optional("path", Scalar),
]);

const SERVICE: Table<Service> = Table(&[
    required("name", Scalar)
        .set(|it, node| node.text().unwrap_or_default().clone_into(&mut it.name)),
    optional("type", Text),
    optional("export", Boolean),
    optional("ports", List(&Fields(&SERVICE_PORT)))
        .set(|it, node| it.ports = infallible(SERVICE_PORT.items(node))),
    optional("annotations", List(&Fields(&PAIR))),
]);

const SERVICE_PORT: Table<Port> = Table(&[
    optional("name", Scalar),
    optional("protocol", Text).set(Port::set_protocol),
    optional("targetPort", Scalar),
    optional("port", Scalar),
    optional("nodePort", PortOrZero).set(|it, node| it.port = node.spanned_port()),
]);

const CONFIG_MAP: Table =
    Table(&[required("name", Scalar), optional("data", List(&Fields(&DATA)))]);

const SECRET: Table = Table(&[
    required("name", Scalar),
    optional("type", Text),
    optional("data", List(&Fields(&DATA))),
]);

const DATA: Table = Table(&[required("key", Scalar), optional("value", ScalarOrNothing)]);

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
        span: node.head_span(),
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
