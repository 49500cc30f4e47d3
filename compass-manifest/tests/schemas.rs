//! Validates the JSON and SARIF output of `check` by their schemas.
//!
//! The schema of the JSON output is the project's own; the schema of SARIF is that of OASIS.
#![allow(clippy::unwrap_used)]

use compass_manifest::source::SourceFile;
use compass_manifest::strategies::mutated_repositories;
use compass_manifest::{Policy, Report, Tree, check, check_change, render};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

fn json_schema() -> Validator {
    validator(include_str!("../../docs/check.schema.json"))
}

fn sarif_schema() -> Validator {
    validator(include_str!("schemas/sarif-schema-2.1.0.json"))
}

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

/// Returns the schema errors of a document, with their paths.
fn departures(schema: &Validator, document: &Value) -> Vec<String> {
    let errors = schema.iter_errors(document);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn both(report: &Report) -> Vec<String> {
    let mut found = departures(&json_schema(), &render::json(report));
    found.extend(departures(&sarif_schema(), &render::sarif(report, "1.0.0")));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn mutated_repository_report_is_valid((tree, _) in mutated_repositories()) {
        let policy = Policy::default();
        prop_assert_eq!(both(&check(&tree, &policy)), Vec::<String>::new());
        prop_assert_eq!(both(&check_change(&tree, &tree, &policy)), Vec::<String>::new());
    }
}

#[test]
fn empty_report_is_valid() {
    assert_eq!(both(&check(&Tree::new(), &Policy::default())), Vec::<String>::new());
}

#[test]
fn unusual_and_suppressed_findings_are_valid() {
    let policy =
        "version: 1\nallow: [{code: yaml-syntax, file: release-plugins/b.yaml, reason: 原因}]\n";
    let policy = Policy::parse(&SourceFile::new(".compass.yaml", policy)).unwrap();
    let tree: Tree = [
        ("release-plugins/a b #%持.yaml", "metadata: [\u{1b}\n"),
        ("release-plugins/empty.yaml", ""),
        ("release-plugins/b.yaml", "]"),
    ]
    .into_iter()
    .collect();
    let report = check(&tree, &policy);
    assert!(!report.findings().is_empty() && !report.suppressed().is_empty());
    assert_eq!(both(&report), Vec::<String>::new());
}

#[test]
fn schemas_reject_unknown_fields() {
    let report = check(&Tree::new(), &Policy::default());
    let (mut own, mut log) = (render::json(&report), render::sarif(&report, "1.0.0"));
    own["more"] = json!(1);
    assert_eq!(departures(&json_schema(), &own).len(), 1);
    log["runs"][0]["tool"]["driver"]["rules"][0]["level"] = json!("error");
    assert_eq!(departures(&sarif_schema(), &log).len(), 1);
}
