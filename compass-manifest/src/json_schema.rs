//! JSON Schemas of release manifests and policies, for editors.
//!
//! They come from the declarations that the validation uses. A schema accepts every file that the
//! validation accepts, apart from merge keys, which editors expand themselves.

use serde_json::{Map, Value, json};

use crate::schema::{Key, Keys, Schema};
use crate::{addon, plugin, policy, product};

/// Returns the schema of plugin manifests.
///
/// ```
/// let schema = compass_manifest::json_schema::plugin();
/// assert_eq!(schema["properties"]["spec"]["properties"]["version"]["type"], "string");
/// ```
pub fn plugin() -> Value {
    document("plugin manifest", Schema::Fields(&plugin::FIELDS))
}

/// Returns the schema of addon values, which hotfixes have as well.
pub fn addon() -> Value {
    document("addon values", Schema::Fields(&addon::FIELDS))
}

/// Returns the schema of product manifests.
pub fn product() -> Value {
    document("product manifest", Schema::Fields(&product::FIELDS))
}

/// Returns the schema of `.compass.yaml`.
pub fn policy() -> Value {
    document("policy of a release repository", policy::SCHEMA)
}

fn document(title: &str, fields: Schema) -> Value {
    let mut schema = of(fields);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

fn of(schema: Schema) -> Value {
    match schema {
        Schema::Any => json!({}),
        Schema::Text => json!({"type": "string"}),
        Schema::Boolean => json!({"type": "boolean"}),
        Schema::Port => json!({"type": "integer", "minimum": 1, "maximum": u16::MAX}),
        Schema::PortOrZero => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX}),
        Schema::Scalar => json!({"type": ["string", "number", "boolean"]}),
        Schema::ScalarOrNothing => json!({"type": ["string", "number", "boolean", "null"]}),
        Schema::OneOf(texts) => json!({"enum": texts}),
        Schema::List(item) => json!({"type": "array", "items": of(*item)}),
        Schema::OneOrMore(item) => json!({"anyOf": [of(*item), of(Schema::List(item))]}),
        Schema::MapOf(value) => json!({"type": "object", "additionalProperties": of(*value)}),
        Schema::Fields(fields) => mapping(fields),
    }
}

fn mapping(fields: &dyn Keys) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|key| (key.name.to_owned(), value_of(key))).collect();
    let required: Vec<&str> =
        fields.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Returns the schema of a field. An optional collection may be empty, which is null.
fn value_of(key: &Key) -> Value {
    let mut schema = of(key.schema);
    if key.accepts_null_collection() {
        let kind = schema["type"].take();
        schema["type"] = json!([kind, "null"]);
    }
    schema
}
