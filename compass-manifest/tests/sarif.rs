//! Tests the content of SARIF logs.
#![allow(clippy::unwrap_used)]

use compass_manifest::strategies::mutated_repositories;
use compass_manifest::{Policy, check, check_change, render, rules};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sarif_result_has_rule_and_location((tree, flaw) in mutated_repositories()) {
        let report = check_change(&tree, &tree, &Policy::default());
        let log = render::sarif(&report, "1.0.0");
        let run = &log["runs"][0];
        prop_assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), rules::ALL.len());
        let results = run["results"].as_array().unwrap();
        prop_assert_eq!(results.len(), 1);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            prop_assert_eq!(rules::ALL[index].code, flaw.code());
            prop_assert_eq!(&result["ruleId"], flaw.code());
            prop_assert_eq!(&result["baselineState"], "unchanged");
            let place = &result["locations"][0]["physicalLocation"];
            prop_assert_eq!(&place["artifactLocation"]["uri"], &report.findings()[0].location.file);
            prop_assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
            prop_assert!(place["region"]["startColumn"].as_u64().unwrap() >= 1);
        }
    }
}

#[test]
fn sarif_suppressed_finding_has_reason() {
    let policy = "version: 1\nallow: [{code: plugin-name-mismatch, reason: old name}]\n";
    let source = compass_manifest::source::SourceFile::new(".compass.yaml", policy);
    let policy = Policy::parse(&source).unwrap();
    let tree = [(
        "release-plugins/gpu.yaml",
        "metadata: {name: cpu}\nspec:\n  version: v0.1.0\n  service:\n    port: 1\n    image: \
         harbor.example/release/compass-plugins-gpu:v0.1.0\n  modules: []\n",
    )];
    let report = check(&tree.into_iter().collect(), &policy);
    assert!(report.findings().is_empty(), "{:?}", report.findings());
    let log = render::sarif(&report, "1.0.0");
    assert_eq!(log["runs"][0]["results"][0]["suppressions"][0]["justification"], "old name");
}

#[test]
fn sarif_paths_begin_at_git_root() {
    let tree = [("release-plugins/a.yaml", "a: 1\n")].into_iter().collect();
    let report = check(&tree, &Policy::default()).in_directory("deploy/release");
    let log = render::sarif(&report, "1.0.0");
    let location = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let uri = &location["artifactLocation"]["uri"];
    assert_eq!(uri, "deploy/release/release-plugins/a.yaml");
    let root = &log["runs"][0]["originalUriBaseIds"]["SRCROOT"]["description"]["text"];
    assert_eq!(root, "The root of the git repository.");
}
