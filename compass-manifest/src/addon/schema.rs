//! The schema of addon values, from the lint schema of the addon template.

use crate::schema::{Field, Schema, optional, required};

pub(crate) const SCHEMA: Schema =
    Schema::Fields(&[required("_config", Schema::Fields(&[METADATA, CONTROLLERS]))]);

const METADATA: Field = required(
    "_metadata",
    Schema::Fields(&[
        required("name", Schema::Scalar),
        required("version", Schema::Text),
        optional("namespace", Schema::Text),
        optional("description", Schema::Scalar),
        optional("template", Schema::MapOf(&Schema::Scalar)),
        optional("creationTime", Schema::Scalar),
        optional("source", Schema::Scalar),
        optional("revision", Schema::Scalar),
        optional("class", Schema::Scalar),
    ]),
);

const CONTROLLERS: Field = required("controllers", Schema::List(&Schema::Fields(CONTROLLER)));

const CONTROLLER: &[Field] = &[
    required("type", Schema::Text),
    optional("controller", Schema::Fields(SETTINGS)),
    optional("schedule", Schema::Fields(SCHEDULE)),
    optional("pod", Schema::Fields(POD)),
    optional("initContainers", Schema::List(&Schema::Fields(CONTAINER))),
    required("containers", Schema::List(&Schema::Fields(CONTAINER))),
    optional("volumes", Schema::List(&Schema::Fields(VOLUME))),
    optional("services", Schema::List(&Schema::Fields(SERVICE))),
    optional("configs", Schema::List(&Schema::Fields(CONFIG))),
    optional("secrets", Schema::List(&Schema::Fields(SECRET))),
];

const SETTINGS: &[Field] = &[
    optional("replica", Schema::Scalar),
    optional("strategy", Schema::Fields(STRATEGY)),
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
    optional("annotations", Schema::List(&PAIR)),
];

const STRATEGY: &[Field] =
    &[optional("unavailable", Schema::Scalar), optional("surge", Schema::Scalar)];

const PAIR: Schema =
    Schema::Fields(&[required("key", Schema::Scalar), optional("value", Schema::Scalar)]);

const SCHEDULE: &[Field] = &[
    optional("scheduler", Schema::Scalar),
    optional("labels", Schema::MapOf(&Schema::Scalar)),
    optional("affinity", Schema::MapOf(&Schema::Any)),
    optional("antiaffinity", Schema::MapOf(&Schema::Any)),
    optional("tolerations", Schema::List(&Schema::MapOf(&Schema::Scalar))),
];

const POD: &[Field] = &[
    optional("restart", Schema::Text),
    optional("dns", Schema::Text),
    optional("hostname", Schema::Scalar),
    optional("subdomain", Schema::Scalar),
    optional("termination", Schema::Scalar),
    optional("serviceAccountName", Schema::Scalar),
    optional("host", Schema::MapOf(&Schema::Boolean)),
    optional("annotations", Schema::List(&PAIR)),
];

const CONTAINER: &[Field] = &[
    optional("name", Schema::Scalar),
    // Optional, because `container-without-image` reports a missing image instead of
    // `missing-field`.
    optional("image", Schema::Text),
    optional("imagePullPolicy", Schema::Text),
    optional("tty", Schema::Boolean),
    optional("command", Schema::List(&Schema::Scalar)),
    optional("args", Schema::List(&Schema::Scalar)),
    optional("workingDir", Schema::Scalar),
    optional("securityContext", Schema::Fields(SECURITY)),
    optional("ports", Schema::List(&Schema::Fields(PORT))),
    optional("envFrom", Schema::List(&Schema::MapOf(&Schema::Scalar))),
    optional("downwardPrefix", Schema::Scalar),
    optional("env", Schema::List(&Schema::Fields(ENV))),
    optional("resources", Schema::Fields(RESOURCES)),
    optional("mounts", Schema::List(&Schema::Fields(MOUNT))),
    optional("probe", Schema::Fields(PROBES)),
    optional("lifecycle", Schema::MapOf(&Schema::Any)),
];

const SECURITY: &[Field] = &[
    optional("privileged", Schema::Boolean),
    optional("capabilities", Schema::MapOf(&Schema::List(&Schema::Scalar))),
];

const PORT: &[Field] = &[
    optional("protocol", Schema::Text),
    optional("port", Schema::Scalar),
    optional("hostPort", Schema::Scalar),
];

const ENV: &[Field] = &[
    required("name", Schema::Scalar),
    optional("value", Schema::ScalarOrNothing),
    optional("from", Schema::MapOf(&Schema::Scalar)),
];

const RESOURCES: &[Field] = &[
    optional("limits", Schema::MapOf(&Schema::Scalar)),
    optional("requests", Schema::MapOf(&Schema::Scalar)),
];

const MOUNT: &[Field] = &[
    required("name", Schema::Scalar),
    required("path", Schema::Scalar),
    optional("readonly", Schema::Boolean),
    optional("subpath", Schema::Scalar),
    optional("propagation", Schema::Text),
];

const PROBES: &[Field] =
    &[optional("liveness", Schema::Fields(PROBE)), optional("readiness", Schema::Fields(PROBE))];

const PROBE: &[Field] = &[
    optional("handler", Schema::MapOf(&Schema::Any)),
    optional("delay", Schema::Scalar),
    optional("timeout", Schema::Scalar),
    optional("period", Schema::Scalar),
    optional("threshold", Schema::MapOf(&Schema::Scalar)),
];

const VOLUME: &[Field] = &[
    required("name", Schema::Scalar),
    optional("type", Schema::Text),
    optional("source", Schema::Fields(VOLUME_SOURCE)),
    optional("storage", Schema::MapOf(&Schema::Scalar)),
];

const VOLUME_SOURCE: &[Field] = &[
    optional("class", Schema::Scalar),
    optional("modes", Schema::List(&Schema::Scalar)),
    optional("target", Schema::Scalar),
    optional("readonly", Schema::Boolean),
    optional("medium", Schema::ScalarOrNothing),
    optional("items", Schema::List(&Schema::MapOf(&Schema::Scalar))),
    optional("default", Schema::Scalar),
    optional("optional", Schema::Boolean),
    optional("path", Schema::Scalar),
];

const SERVICE: &[Field] = &[
    required("name", Schema::Scalar),
    optional("type", Schema::Text),
    optional("export", Schema::Boolean),
    optional("ports", Schema::List(&Schema::Fields(SERVICE_PORT))),
    optional("annotations", Schema::List(&PAIR)),
];

const SERVICE_PORT: &[Field] = &[
    optional("name", Schema::Scalar),
    optional("protocol", Schema::Text),
    optional("targetPort", Schema::Scalar),
    optional("port", Schema::Scalar),
    optional("nodePort", Schema::PortOrZero),
];

const CONFIG: &[Field] = &[required("name", Schema::Scalar), optional("data", Schema::List(&DATA))];

const SECRET: &[Field] = &[
    required("name", Schema::Scalar),
    optional("type", Schema::Text),
    optional("data", Schema::List(&DATA)),
];

const DATA: Schema =
    Schema::Fields(&[required("key", Schema::Scalar), optional("value", Schema::ScalarOrNothing)]);
