//! Compares `docs/*.schema.json` with the declared fields, and the schemas with the validation.
//!
//! `COMPASS_BLESS=1 cargo test -p compass-manifest --test editor_schemas` generates the files, with the
//! descriptions of `docs/manifests.md` and of the example in `docs/policy.md`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use compass_manifest::strategies::{mutated_repositories, repositories};
use compass_manifest::yaml::{self, Node, NodeKind, ScalarType};
use compass_manifest::{Policy, Tree, check, json_schema};
use proptest::prelude::*;
use serde_json::{Value, json};

const MANIFESTS: &str = include_str!("../../docs/manifests.md");
const POLICY: &str = include_str!("../../docs/policy.md");

/// The schemas by the names of their files.
fn schemas() -> [(&'static str, Value); 4] {
    let described = |schema, texts| described(schema, &texts);
    [
        ("plugin.schema.json", described(json_schema::plugin(), table("Plugin"))),
        ("addon.schema.json", described(json_schema::addon(), table("Addon"))),
        ("product.schema.json", described(json_schema::product(), table("Product"))),
        ("policy.schema.json", described(json_schema::policy(), comments(POLICY))),
    ]
}

#[test]
fn schema_files_are_up_to_date() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, schema) in schemas() {
        let (path, text) = (directory.join(name), format!("{schema:#}\n"));
        if std::env::var_os("COMPASS_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let existing = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            existing == text,
            "docs/{name} is out of date: run `COMPASS_BLESS=1 cargo test -p compass-manifest --test editor_schemas`"
        );
    }
}

#[test]
fn schema_accepts_documented_examples() {
    let tree = examples(MANIFESTS);
    let report = check(&tree, &Policy::default());
    for (path, bytes) in tree.files().filter(|(path, _)| is_yaml(path)) {
        assert_eq!(disagreement(path, bytes, &report), None, "{path}");
    }
    let example = POLICY.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let policy = to_json(&yaml::parse(example).unwrap());
    assert_eq!(errors(&json_schema::policy(), &policy), Vec::<String>::new());
}

#[test]
fn schema_rejects_wrong_values() {
    for (schema, text) in [
        (json_schema::plugin(), "metadata: {name: gpu}\n"),
        (json_schema::plugin(), "metadata: {name: 1}\nspec: {}\n"),
        (json_schema::addon(), "_config: {_metadata: {name: a, version: v1}, controlers: []}\n"),
        (json_schema::product(), "metadata: {name: a}\nspec: {version: v1, files: [{path: a}]}\n"),
        (json_schema::policy(), "store: oss://releases\n"),
        (json_schema::policy(), "version: 1\nplugins: {shared_slot: []}\n"),
        (json_schema::policy(), "version: 1\nplugins: {shared_ports: [99999]}\n"),
        (json_schema::policy(), "version: 1\nrules: {slot-conflict: fatal}\n"),
        (json_schema::policy(), "version: 1\nhotfixes: {patterns: [{path: x, version: semver}]}\n"),
    ] {
        let document = to_json(&yaml::parse(text).unwrap());
        assert!(!errors(&schema, &document).is_empty(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn schema_agrees_with_validation(
        tree in prop_oneof![
            repositories().prop_map(|repository| repository.tree()),
            mutated_repositories().prop_map(|(tree, _)| tree),
        ]
    ) {
        let report = check(&tree, &Policy::default());
        for (path, bytes) in tree.files().filter(|(path, _)| is_yaml(path)) {
            prop_assert_eq!(disagreement(path, bytes, &report), None, "{}", path);
        }
    }
}

/// The rules that the schemas repeat.
const STRUCTURE: [&str; 3] = ["missing-field", "unknown-field", "wrong-type"];
/// An unquoted `[[ x ]]` is a list, which another rule reports.
const OTHER: [&str; 2] = ["unquoted-template", "duplicate-key"];

/// Returns how the schema of a file and the validation differ.
fn disagreement(path: &str, bytes: &[u8], report: &compass_manifest::Report) -> Option<String> {
    let segments: Vec<&str> = path.split('/').collect();
    let schema = match segments[..] {
        ["release-plugins", _] => json_schema::plugin(),
        ["release-products", _] => json_schema::product(),
        ["addons" | "release-hotfixes", ..] => json_schema::addon(),
        // Another rule reports files at other places, and does not read them.
        _ => return None,
    };
    let root = yaml::parse(std::str::from_utf8(bytes).ok()?).ok()?;
    let rejected = errors(&schema, &to_json(&root));
    let found = |codes: &[&str]| {
        let of_file = |finding: &&compass_manifest::finding::Finding| {
            &*finding.location.file == path && codes.contains(&finding.code)
        };
        report.findings().iter().find(of_file).map(|finding| finding.message.clone())
    };
    match (rejected.first(), found(&STRUCTURE)) {
        (Some(error), None) if found(&OTHER).is_none() => Some(format!("the schema: {error}")),
        (None, Some(message)) => Some(format!("the validation: {message}")),
        _ => None,
    }
}

fn errors(schema: &Value, document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    let error =
        |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    validator.iter_errors(document).map(error).collect()
}

/// Converts a YAML node as an editor reads it, by the core schema of YAML 1.2.
fn to_json(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Sequence(items) => items.iter().map(to_json).collect(),
        NodeKind::Mapping(entries) => {
            let pair = |entry: &yaml::Entry| {
                (entry.key.text().unwrap_or_default().to_owned(), to_json(&entry.value))
            };
            Value::Object(entries.iter().map(pair).collect())
        }
        NodeKind::Scalar(scalar) => match scalar.scalar_type() {
            ScalarType::Text => json!(&*scalar.text),
            ScalarType::Null => Value::Null,
            ScalarType::Boolean => json!(scalar.text.eq_ignore_ascii_case("true")),
            ScalarType::Integer => {
                scalar.text.parse::<i64>().map_or(json!(0), |value| json!(value))
            }
            ScalarType::Float => json!(0.5),
        },
    }
}

/// Returns the example files of a page whose code fence names a file.
fn examples(page: &str) -> Tree {
    let fences = page.split("\n```").skip(1).step_by(2);
    let files = fences.filter_map(|fence| {
        let (info, text) = fence.split_once('\n')?;
        Some((info.split_once(' ')?.1, format!("{text}\n")))
    });
    files.collect()
}

/// Returns the descriptions of fields in the table of a section.
fn table(section: &str) -> BTreeMap<String, String> {
    let start = format!("\n## {section}\n");
    let text = MANIFESTS.split(&start).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let path = cells.next()?.trim_end_matches('`');
        let (kind, description) = (cells.next()?, cells.next()?);
        let joined = if description.is_empty() {
            kind.to_owned()
        } else {
            format!("{description} ({kind})")
        };
        Some((path.to_owned(), joined.replace('`', "")))
    });
    rows.collect()
}

/// Returns the comments behind the keys of the first example of a page.
fn comments(page: &str) -> BTreeMap<String, String> {
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut found = BTreeMap::new();
    for line in example.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some((key, rest)) = line.trim_start().split_once(':') else { continue };
        if key.starts_with(['#', '-', '"']) {
            continue;
        }
        parents.retain(|(column, _)| *column < indent);
        let mut path: Vec<&str> = parents.iter().map(|(_, key)| key.as_str()).collect();
        path.push(key);
        if let Some((_, comment)) = rest.split_once(" # ") {
            found.insert(path.join("."), comment.trim().to_owned());
        }
        parents.push((indent, key.to_owned()));
    }
    found
}

/// Adds descriptions to the fields of a schema.
fn described(mut schema: Value, descriptions: &BTreeMap<String, String>) -> Value {
    for (path, text) in descriptions {
        let steps: Vec<&str> = path.split('.').collect();
        if let Some(field) = field_at(&mut schema, &steps) {
            field["description"] = json!(text);
        }
    }
    schema
}

fn field_at<'s>(schema: &'s mut Value, steps: &[&str]) -> Option<&'s mut Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(schema) };
    let key = step.trim_end_matches("[]");
    let field = schema.get_mut("properties")?.get_mut(key)?;
    match key == *step {
        true => field_at(field, rest),
        false => field_at(field.get_mut("items")?, rest),
    }
}

fn is_yaml(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| ending == "yaml")
}
