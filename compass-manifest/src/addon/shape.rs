//! The fields that addon values may have, after the addon template's own lint schema.

use crate::shape::{Field, Shape, optional, required};

pub(crate) const SHAPE: Shape =
    Shape::Fields(&[required("_config", Shape::Fields(&[METADATA, CONTROLLERS]))]);

const METADATA: Field = required(
    "_metadata",
    Shape::Fields(&[
        required("name", Shape::Scalar),
        required("version", Shape::Text),
        optional("namespace", Shape::Text),
        optional("description", Shape::Scalar),
        optional("template", Shape::MapOf(&Shape::Scalar)),
        optional("creationTime", Shape::Scalar),
        optional("source", Shape::Scalar),
        optional("revision", Shape::Scalar),
        optional("class", Shape::Scalar),
    ]),
);

const CONTROLLERS: Field = required("controllers", Shape::List(&Shape::Fields(CONTROLLER)));

const CONTROLLER: &[Field] = &[
    required("type", Shape::Text),
    optional("controller", Shape::Fields(SETTINGS)),
    optional("schedule", Shape::Fields(SCHEDULE)),
    optional("pod", Shape::Fields(POD)),
    optional("initContainers", Shape::List(&Shape::Fields(CONTAINER))),
    required("containers", Shape::List(&Shape::Fields(CONTAINER))),
    optional("volumes", Shape::List(&Shape::Fields(VOLUME))),
    optional("services", Shape::List(&Shape::Fields(SERVICE))),
    optional("configs", Shape::List(&Shape::Fields(CONFIG))),
    optional("secrets", Shape::List(&Shape::Fields(SECRET))),
];

const SETTINGS: &[Field] = &[
    optional("replica", Shape::Scalar),
    optional("strategy", Shape::Fields(STRATEGY)),
    optional("ready", Shape::Scalar),
    optional("name", Shape::Scalar),
    optional("domain", Shape::Scalar),
    optional("parallelism", Shape::Scalar),
    optional("completions", Shape::Scalar),
    optional("active", Shape::Scalar),
    optional("rule", Shape::Scalar),
    optional("deadline", Shape::Scalar),
    optional("policy", Shape::Scalar),
    optional("suspend", Shape::Boolean),
    optional("history", Shape::MapOf(&Shape::Scalar)),
    optional("annotations", Shape::List(&PAIR)),
];

const STRATEGY: &[Field] =
    &[optional("unavailable", Shape::Scalar), optional("surge", Shape::Scalar)];

const PAIR: Shape =
    Shape::Fields(&[required("key", Shape::Scalar), optional("value", Shape::Scalar)]);

const SCHEDULE: &[Field] = &[
    optional("scheduler", Shape::Scalar),
    optional("labels", Shape::MapOf(&Shape::Scalar)),
    optional("affinity", Shape::MapOf(&Shape::Any)),
    optional("antiaffinity", Shape::MapOf(&Shape::Any)),
    optional("tolerations", Shape::List(&Shape::MapOf(&Shape::Scalar))),
];

const POD: &[Field] = &[
    optional("restart", Shape::Text),
    optional("dns", Shape::Text),
    optional("hostname", Shape::Scalar),
    optional("subdomain", Shape::Scalar),
    optional("termination", Shape::Scalar),
    optional("serviceAccountName", Shape::Scalar),
    optional("host", Shape::MapOf(&Shape::Boolean)),
    optional("annotations", Shape::List(&PAIR)),
];

const CONTAINER: &[Field] = &[
    optional("name", Shape::Scalar),
    // `container-without-image` says it better than `missing-field`.
    optional("image", Shape::Text),
    optional("imagePullPolicy", Shape::Text),
    optional("tty", Shape::Boolean),
    optional("command", Shape::List(&Shape::Scalar)),
    optional("args", Shape::List(&Shape::Scalar)),
    optional("workingDir", Shape::Scalar),
    optional("securityContext", Shape::Fields(SECURITY)),
    optional("ports", Shape::List(&Shape::Fields(PORT))),
    optional("envFrom", Shape::List(&Shape::MapOf(&Shape::Scalar))),
    optional("downwardPrefix", Shape::Scalar),
    optional("env", Shape::List(&Shape::Fields(ENV))),
    optional("resources", Shape::Fields(RESOURCES)),
    optional("mounts", Shape::List(&Shape::Fields(MOUNT))),
    optional("probe", Shape::Fields(PROBES)),
    optional("lifecycle", Shape::MapOf(&Shape::Any)),
];

const SECURITY: &[Field] = &[
    optional("privileged", Shape::Boolean),
    optional("capabilities", Shape::MapOf(&Shape::List(&Shape::Scalar))),
];

const PORT: &[Field] = &[
    optional("protocol", Shape::Text),
    optional("port", Shape::Scalar),
    optional("hostPort", Shape::Scalar),
];

const ENV: &[Field] = &[
    required("name", Shape::Scalar),
    optional("value", Shape::ScalarOrNothing),
    optional("from", Shape::MapOf(&Shape::Scalar)),
];

const RESOURCES: &[Field] = &[
    optional("limits", Shape::MapOf(&Shape::Scalar)),
    optional("requests", Shape::MapOf(&Shape::Scalar)),
];

const MOUNT: &[Field] = &[
    required("name", Shape::Scalar),
    required("path", Shape::Scalar),
    optional("readonly", Shape::Boolean),
    optional("subpath", Shape::Scalar),
    optional("propagation", Shape::Text),
];

const PROBES: &[Field] =
    &[optional("liveness", Shape::Fields(PROBE)), optional("readiness", Shape::Fields(PROBE))];

const PROBE: &[Field] = &[
    optional("handler", Shape::MapOf(&Shape::Any)),
    optional("delay", Shape::Scalar),
    optional("timeout", Shape::Scalar),
    optional("period", Shape::Scalar),
    optional("threshold", Shape::MapOf(&Shape::Scalar)),
];

const VOLUME: &[Field] = &[
    required("name", Shape::Scalar),
    optional("type", Shape::Text),
    optional("source", Shape::Fields(VOLUME_SOURCE)),
    optional("storage", Shape::MapOf(&Shape::Scalar)),
];

const VOLUME_SOURCE: &[Field] = &[
    optional("class", Shape::Scalar),
    optional("modes", Shape::List(&Shape::Scalar)),
    optional("target", Shape::Scalar),
    optional("readonly", Shape::Boolean),
    optional("medium", Shape::ScalarOrNothing),
    optional("items", Shape::List(&Shape::MapOf(&Shape::Scalar))),
    optional("default", Shape::Scalar),
    optional("optional", Shape::Boolean),
    optional("path", Shape::Scalar),
];

const SERVICE: &[Field] = &[
    required("name", Shape::Scalar),
    optional("type", Shape::Text),
    optional("export", Shape::Boolean),
    optional("ports", Shape::List(&Shape::Fields(SERVICE_PORT))),
    optional("annotations", Shape::List(&PAIR)),
];

const SERVICE_PORT: &[Field] = &[
    optional("name", Shape::Scalar),
    optional("protocol", Shape::Text),
    optional("targetPort", Shape::Scalar),
    optional("port", Shape::Scalar),
    optional("nodePort", Shape::PortOrZero),
];

const CONFIG: &[Field] = &[required("name", Shape::Scalar), optional("data", Shape::List(&DATA))];

const SECRET: &[Field] = &[
    required("name", Shape::Scalar),
    optional("type", Shape::Text),
    optional("data", Shape::List(&DATA)),
];

const DATA: Shape =
    Shape::Fields(&[required("key", Shape::Scalar), optional("value", Shape::ScalarOrNothing)]);
