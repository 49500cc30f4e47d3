//! Checks the page `docs/manifests.md`.
//!
//! The examples on the page must pass the rules, and the page must describe every field.

use crate::repository::Document;
use crate::schema::Schema;
use crate::yaml::Node;
use crate::{Policy, Tree, addon, check, plugin, product};

const PAGE: &str = include_str!("../../docs/manifests.md");

/// Returns the examples of the page whose code fence names a file.
fn examples() -> Tree {
    let fences = PAGE.split("\n```").skip(1).step_by(2);
    let files = fences.filter_map(|fence| {
        let (info, text) = fence.split_once('\n')?;
        let (_, path) = info.split_once(' ')?;
        Some((path, format!("{text}\n")))
    });
    files.collect()
}

/// Collects the paths of all fields of a schema, such as `spec.modules[].name`.
fn fields(schema: &Schema, path: &str, found: &mut Vec<String>) {
    match schema {
        Schema::List(item) | Schema::OneOrMore(item) => fields(item, &format!("{path}[]"), found),
        Schema::Fields(known) => {
            for field in known.iter() {
                let path = match path {
                    "" => field.name.to_owned(),
                    path => format!("{path}.{}", field.name),
                };
                fields(&field.schema, &path, found);
                found.push(path);
            }
        }
        _ => {}
    }
}

fn has(node: &Node, path: &str) -> bool {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let below = |node: &Node| rest.is_empty() || has(node, rest);
    match step.strip_suffix("[]") {
        Some(key) => node.get(key).is_some_and(|list| list.items().iter().any(below)),
        None => node.get(step).is_some_and(below),
    }
}

#[test]
fn documented_examples_pass_all_rules() {
    let tree = examples();
    assert_eq!(tree.paths().count(), 8, "{:?}", tree.paths().collect::<Vec<_>>());
    let mut policy = Policy::default();
    policy.registries.release = "harbor.caicloud.xyz/release".to_owned();
    let report = check(&tree, &policy);
    assert!(report.findings().is_empty(), "{:#?}", report.findings());
}

#[test]
fn documentation_covers_all_fields() {
    let tree = examples();
    // The page describes these pairs of fields once.
    let same = [("initContainers[].", "containers[]."), ("probe.readiness.", "probe.liveness.")];
    for (schema, directory) in [
        (Schema::Fields(&plugin::FIELDS), "release-plugins/"),
        (Schema::Fields(&addon::FIELDS), "addons/"),
        (Schema::Fields(&product::FIELDS), "release-products/"),
    ] {
        let mut paths = Vec::new();
        fields(&schema, "", &mut paths);
        let read = |(path, bytes)| Document::read(path, bytes).root.unwrap();
        let documents: Vec<Node> =
            tree.files().filter(|(path, _)| path.starts_with(directory)).map(read).collect();
        for path in paths {
            let described =
                same.iter().fold(path.clone(), |path, (one, other)| path.replace(one, other));
            assert!(PAGE.contains(&format!("| `{described}` |")), "`{described}` is not described");
            let is_shown = documents.iter().any(|root| has(root, &path));
            assert!(is_shown, "no example of {directory} has `{path}`");
        }
    }
}
