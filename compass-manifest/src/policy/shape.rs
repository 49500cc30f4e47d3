//! The fields that a policy may have.

use crate::shape::{Field, Shape, optional, required};

pub(super) const POLICY: Shape = Shape::Fields(&[
    required("version", Shape::Scalar),
    optional("registries", Shape::Fields(REGISTRIES)),
    optional("store", Shape::Text),
    optional("platforms", Shape::List(&Shape::Text)),
    optional("plugins", Shape::Fields(PLUGINS)),
    optional("hotfixes", Shape::Fields(HOTFIXES)),
    optional("products", Shape::Fields(PRODUCTS)),
    optional("templates", Shape::MapOf(&Shape::Any)),
    // `off` is a boolean to readers of YAML 1.1, and a severity here.
    optional("rules", Shape::MapOf(&Shape::Scalar)),
    optional("allow", Shape::List(&Shape::Fields(ALLOWANCE))),
    optional("scope", Shape::Fields(SCOPE)),
    optional("review", Shape::Fields(REVIEW)),
]);

const TEXTS: Shape = Shape::OneOrMore(&Shape::Text);

const REGISTRIES: &[Field] = &[
    optional("source", Shape::Text),
    optional("release", Shape::Text),
    optional("projects", Shape::MapOf(&Shape::Fields(PROJECT))),
    optional("hosts", Shape::MapOf(&Shape::Fields(HOST))),
];

const PROJECT: &[Field] = &[required("source", Shape::Text), required("release", Shape::Text)];

const HOST: &[Field] = &[
    optional("plain_http", Shape::Boolean),
    optional("ca", Shape::Text),
    optional("certificate", Shape::Text),
    optional("key", Shape::Text),
];

const PLUGINS: &[Field] = &[
    optional("directory", TEXTS),
    optional("prerelease", Shape::Boolean),
    optional("shared_slots", TEXTS),
    optional("shared_ports", Shape::List(&Shape::Port)),
];

const HOTFIXES: &[Field] = &[
    optional("directory", TEXTS),
    optional("namespaces", Shape::List(&Shape::Text)),
    optional("patterns", Shape::List(&Shape::Fields(PATTERN))),
    optional("placeholders", Shape::List(&Shape::Text)),
];

const PATTERN: &[Field] = &[required("path", Shape::Text), required("version", Shape::Text)];

const PRODUCTS: &[Field] = &[
    optional("directory", TEXTS),
    optional("versions", TEXTS),
    optional("addons", TEXTS),
    optional("overlays", TEXTS),
    optional("image_lists", TEXTS),
    optional("addon_lists", TEXTS),
    optional("descriptors", TEXTS),
    optional("chart_lists", TEXTS),
];

const ALLOWANCE: &[Field] = &[
    required("code", Shape::Text),
    optional("file", Shape::Text),
    optional("plugin", Shape::Text),
    optional("slot", Shape::Text),
    optional("port", Shape::Port),
    required("reason", Shape::Text),
];

const SCOPE: &[Field] =
    &[optional("image_lists", Shape::Boolean), optional("hotfixes_together", Shape::Boolean)];

const REVIEW: &[Field] = &[
    optional("cc", Shape::List(&Shape::Text)),
    optional("kinds", Shape::List(&Shape::Text)),
    optional("roles", Shape::MapOf(&Shape::List(&Shape::Text))),
    optional("queue", Shape::List(&Shape::Fields(STEP))),
];

const STEP: &[Field] = &[
    optional("from", Shape::Text),
    required("to", Shape::Text),
    required("who", Shape::List(&Shape::Text)),
    optional("guards", Shape::List(&Shape::Text)),
];
