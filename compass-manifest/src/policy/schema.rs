//! The schema of the policy.

use crate::schema::{Field, Schema, optional, required};

pub(super) const POLICY: Schema = Schema::Fields(&[
    required("version", Schema::Scalar),
    optional("registries", Schema::Fields(REGISTRIES)),
    optional("store", Schema::Text),
    optional("platforms", Schema::List(&Schema::Text)),
    optional("plugins", Schema::Fields(PLUGINS)),
    optional("hotfixes", Schema::Fields(HOTFIXES)),
    optional("products", Schema::Fields(PRODUCTS)),
    optional("templates", Schema::MapOf(&Schema::Any)),
    // `Scalar` instead of `Text`, because `Text` rejects `off`, which YAML 1.1 parsers read as a
    // boolean.
    optional("rules", Schema::MapOf(&Schema::Scalar)),
    optional("allow", Schema::List(&Schema::Fields(SUPPRESSION))),
    optional("scope", Schema::Fields(SCOPE)),
    optional("review", Schema::Fields(REVIEW)),
]);

const TEXTS: Schema = Schema::OneOrMore(&Schema::Text);

const REGISTRIES: &[Field] = &[
    optional("source", Schema::Text),
    optional("release", Schema::Text),
    optional("projects", Schema::MapOf(&Schema::Fields(PROJECT))),
    optional("hosts", Schema::MapOf(&Schema::Fields(HOST))),
];

const PROJECT: &[Field] = &[required("source", Schema::Text), required("release", Schema::Text)];

const HOST: &[Field] = &[
    optional("plain_http", Schema::Boolean),
    optional("ca", Schema::Text),
    optional("certificate", Schema::Text),
    optional("key", Schema::Text),
];

const PLUGINS: &[Field] = &[
    optional("directory", TEXTS),
    optional("prerelease", Schema::Boolean),
    optional("shared_slots", TEXTS),
    optional("shared_ports", Schema::List(&Schema::Port)),
];

const HOTFIXES: &[Field] = &[
    optional("directory", TEXTS),
    optional("namespaces", Schema::List(&Schema::Text)),
    optional("patterns", Schema::List(&Schema::Fields(PATTERN))),
    optional("placeholders", Schema::List(&Schema::Text)),
];

const PATTERN: &[Field] = &[required("path", Schema::Text), required("version", Schema::Text)];

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

const SUPPRESSION: &[Field] = &[
    required("code", Schema::Text),
    optional("file", Schema::Text),
    optional("plugin", Schema::Text),
    optional("slot", Schema::Text),
    optional("port", Schema::Port),
    required("reason", Schema::Text),
];

const SCOPE: &[Field] =
    &[optional("image_lists", Schema::Boolean), optional("hotfixes_together", Schema::Boolean)];

const REVIEW: &[Field] = &[
    optional("cc", Schema::List(&Schema::Text)),
    optional("kinds", Schema::List(&Schema::Text)),
    optional("roles", Schema::MapOf(&Schema::List(&Schema::Text))),
    optional("queue", Schema::List(&Schema::Fields(STEP))),
];

const STEP: &[Field] = &[
    optional("from", Schema::Text),
    required("to", Schema::Text),
    required("who", Schema::List(&Schema::Text)),
    optional("guards", Schema::List(&Schema::Text)),
];
