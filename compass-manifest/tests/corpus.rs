//! Checks the findings of the rules about a real release repository.
//!
//! The corpus is not part of this project. The variable `COMPASS_CORPUS` names its directory; by
//! default, it is next to the checkout. If the directory does not exist, the tests are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use compass_manifest::source::SourceFile;
use compass_manifest::{
    Check, Policy, ReleaseRepository, Report, Tree, check, check_change, inventory,
};
use serde_json::Value;

const RELEASES: [&str; 3] = ["v2.7.0", "v2.7.1-GA", "v2.7.2"];

/// The rules without findings in the corpus.
///
/// The history has no anchors, octal numbers, links or duplicate files.
const NEVER: [&str; 5] = [
    "ambiguous-number",
    "duplicate-manifest",
    "invisible-character",
    "not-regular-file",
    "yaml-syntax",
];

fn corpus() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    #[allow(clippy::disallowed_methods, reason = "a test may look around")]
    let path = std::env::var_os("COMPASS_CORPUS").map_or_else(default, PathBuf::from);
    if path.join("expectations.json").exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no corpus at {}", path.display());
    None
}

fn load(tree: &Tree, policy: &Policy) -> ReleaseRepository {
    ReleaseRepository::load(tree.clone(), policy.clone())
}

fn policy() -> Policy {
    let text = include_str!("corpus/compass.yaml");
    Policy::parse(&SourceFile::new(".compass.yaml", text)).unwrap()
}

fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                tree.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    tree
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Returns `code file` of every finding.
fn said(report: &Report) -> BTreeSet<String> {
    let all = report.findings().iter();
    all.map(|finding| format!("{} {}", finding.code, finding.location.file)).collect()
}

#[test]
fn corpus_images_match_list() {
    let Some(corpus) = corpus() else { return };
    let expectations = json(corpus.join("expectations.json"));
    for release in RELEASES {
        let mut expected = Vec::new();
        for kind in ["addons", "hotfixes"] {
            for file in expectations[release][kind].as_array().unwrap() {
                let facts = file.get("facts").unwrap_or(file);
                for image in facts["images"].as_array().unwrap() {
                    let part = |key| text(image, key);
                    expected.push(format!(
                        "{} {} {}/{}:{}",
                        text(file, "path"),
                        part("position"),
                        part("project"),
                        part("repository"),
                        part("tag")
                    ));
                }
            }
        }
        for file in expectations[release]["plugins"].as_array().unwrap() {
            let facts = &file["facts"];
            expected.push(format!(
                "{} spec.service.image {}/{}:{}",
                text(file, "path"),
                text(facts, "project"),
                text(facts, "repository"),
                text(facts, "tag")
            ));
        }
        let found = inventory::images(&load(&read(&corpus.join(release)), &policy()));
        let mut found: Vec<_> = found
            .iter()
            .map(|image| {
                let listed = image.image_use.image.as_ref().unwrap().list_entry();
                format!("{} {} {listed}", image.file, image.image_use.path)
            })
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{release}");
    }
}

#[test]
fn corpus_hotfix_paths_are_parsed() {
    let Some(corpus) = corpus() else { return };
    let expectations = json(corpus.join("expectations.json"));
    for release in RELEASES {
        let hotfixes = inventory::hotfixes(&load(&read(&corpus.join(release)), &policy()));
        let expected = expectations[release]["hotfixes"].as_array().unwrap();
        assert_eq!(hotfixes.len(), expected.len());
        for expected in expected {
            let path = text(expected, "path");
            let hotfix = hotfixes.iter().find(|hotfix| hotfix.source.path() == path).unwrap();
            let package = hotfix.package.rsplit('/').next().unwrap();
            assert_eq!(package, text(expected, "package"), "{path}");
            assert_eq!(hotfix.base.as_deref(), expected["product_version"].as_str(), "{path}");
            assert_eq!(hotfix.date.as_deref(), expected["date"].as_str(), "{path}");
            assert_eq!(hotfix.namespace.as_deref(), expected["namespace_dir"].as_str(), "{path}");
            let version = hotfix.values.version.as_ref().map(|version| version.value.as_str());
            assert_eq!(version, expected["facts"]["version"].as_str(), "{path}");
            let addon = hotfix.addon.as_deref().unwrap();
            assert!(package.contains(addon) && !addon.contains("-v"), "{path}: {addon}");
        }
    }
}

/// Returns the expected findings of each release, in the format `code file` or `code file text`.
fn must_say(expectations: &Value) -> Vec<(&'static str, String)> {
    let mut must = Vec::new();
    for plugin in expectations["plugins"].as_array().unwrap() {
        for verdict in plugin["verdicts"].as_array().unwrap() {
            if text(verdict, "verdict") == "violation" {
                let code = match text(verdict, "rule") {
                    "plugin-version-format" => "plugin-version-format",
                    "plugin-name-is-file-stem" => "plugin-name-mismatch",
                    _ => "plugin-image-reference",
                };
                must.push((code, text(plugin, "path").to_owned()));
            }
        }
    }
    for hotfix in expectations["hotfixes"].as_array().unwrap() {
        for verdict in hotfix["verdicts"].as_array().unwrap() {
            let code = match (text(verdict, "rule"), text(verdict, "verdict")) {
                ("package-version" | "version-equals-an-image-tag", "mismatch") => {
                    "hotfix-version-mismatch"
                }
                ("description-version", "stale") => "stale-description",
                ("package-prefix", "violation") => "hotfix-path",
                ("yaml-duplicate-key", "violation") => "duplicate-key",
                ("namespace", "violation") => "hotfix-namespace",
                _ => continue,
            };
            must.push((code, text(hotfix, "path").to_owned()));
        }
    }
    for readme in expectations["hotfix_placeholder_readmes"].as_array().unwrap() {
        must.push(("placeholder-left", readme.as_str().unwrap().to_owned()));
    }
    for row in expectations["descriptors"].as_array().unwrap() {
        if row[1] == "UNKNOWN addon" {
            must.push(("unknown-addon", row[0].as_str().unwrap().to_owned()));
        }
    }
    must
}

#[test]
fn corpus_releases_have_expected_findings() {
    let Some(corpus) = corpus() else { return };
    let expectations = json(corpus.join("expectations.json"));
    for release in RELEASES {
        let expectations = &expectations[release];
        let report = check(&read(&corpus.join(release)), &policy());
        let said = said(&report);
        let must: BTreeSet<String> =
            must_say(expectations).iter().map(|(code, file)| format!("{code} {file}")).collect();
        let missing: Vec<_> = must.difference(&said).collect();
        assert!(missing.is_empty(), "{release}: missing findings: {missing:#?}");

        let stale = expectations["addons"].as_array().unwrap().iter().filter(|addon| {
            let verdicts = addon["verdicts"].as_array().into_iter().flatten();
            verdicts.into_iter().any(|one| text(one, "rule") == "description-version")
        });
        let stale: BTreeSet<String> =
            stale.map(|addon| format!("stale-description {}", text(addon, "path"))).collect();
        let said_stale = said.iter().filter(|one| one.starts_with("stale-description addons/"));
        let beyond: Vec<_> = said_stale.filter(|one| !stale.contains(*one)).collect();
        assert!(beyond.is_empty(), "{release}: unexpected findings: {beyond:#?}");

        // The other findings must be about descriptions or image lists.
        let advice = ["stale-description", "image-not-listed", "image-not-used"];
        let beyond: Vec<_> = said
            .difference(&must)
            .filter(|one| !advice.iter().any(|code| one.starts_with(&format!("{code} "))))
            .collect();
        assert!(beyond.is_empty(), "{release}: unexpected findings: {beyond:#?}");

        let mut unlisted = BTreeSet::new();
        let mut unused = BTreeSet::new();
        for finding in report.findings() {
            let image = finding.message.split('`').nth(1).unwrap_or_default();
            match finding.code {
                "image-not-listed" => drop(unlisted.insert(image)),
                "image-not-used" => drop(unused.insert(image)),
                _ => {}
            }
        }
        let listed = |key: &str| -> BTreeSet<&str> {
            expectations[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
        };
        assert_eq!(unlisted, listed("addon_images_missing_from_lists"), "{release}");
        assert_eq!(unused, listed("platform_list_images_unused"), "{release}");
    }
}

#[test]
fn corpus_hotfixes_compared_with_product() {
    let Some(corpus) = corpus() else { return };
    let (ga, policy) = (read(&corpus.join("v2.7.1-GA")), policy());
    let head = read(&corpus.join("v2.7.2"));
    let report = Check::new(&load(&head, &policy)).with_product("2.7.1", &load(&ga, &policy)).run();
    let changed: BTreeSet<_> = report
        .findings()
        .iter()
        .filter(|finding| finding.code == "hotfix-field-changed")
        .map(|finding| finding.location.file.as_str())
        .collect();
    assert!(changed.iter().all(|file| file.contains("/2.7.1/")), "{changed:?}");
}

#[test]
fn corpus_changes_have_expected_findings() {
    let Some(corpus) = corpus() else { return };
    let policy = policy();
    let index = json(corpus.join("history/index.json"));
    for change in index.as_array().unwrap() {
        let directory = corpus.join(text(change, "dir"));
        let (base, head) = (read(&directory.join("before")), read(&directory.join("after")));
        let report = check_change(&base, &head, &policy);
        let name = text(change, "dir");
        let new: Vec<String> = report
            .findings()
            .iter()
            .filter(|finding| !finding.preexisting)
            .map(|finding| {
                format!("{} {}: {}", finding.code, finding.location.file, finding.message)
            })
            .collect();
        let says = |code: &str, part: &str| {
            new.iter().any(|one| one.starts_with(&format!("{code} ")) && one.contains(part))
        };
        for code in NEVER {
            assert!(!says(code, ""), "{name}: {new:#?}");
        }
        for expected in change["expect"].as_array().unwrap() {
            let path = text(expected, "path");
            match (text(expected, "rule"), text(expected, "verdict")) {
                ("pull-request-scope", "ok") => {
                    assert!(!says("change-scope", ""), "{name}: {new:#?}");
                }
                ("plugin-version-increment", _) => {
                    assert!(!says("plugin-version-not-increased", path), "{name}: {new:#?}");
                }
                ("plugin-version-format", "violation") => {
                    assert!(says("plugin-version-format", path), "{name}: {new:#?}");
                }
                ("plugin-image-repository" | "plugin-image-tag", "violation") => {
                    assert!(says("plugin-image-reference", path), "{name}: {new:#?}");
                }
                ("history-note", _) => assert_note(change, expected, &says, &new),
                _ => {}
            }
        }
    }
}

/// Asserts that the findings of a change contain the mistakes that were recorded for it by hand.
fn assert_note(
    change: &Value,
    expected: &Value,
    says: &dyn Fn(&str, &str) -> bool,
    new: &[String],
) {
    let name = text(change, "dir");
    let detail = text(expected, "detail");
    let introduced: &[(&str, &str)] = match change["n"].as_u64().unwrap() {
        1 => &[("addon-version-not-increased", "from `v1.4.1` to `v1.3.1`")],
        35 => &[("chart-tag", "`test` is not a version")],
        37 => &[("node-port-conflict", "30069")],
        39 => &[("image-list-syntax", "library/php/7.1-apache")],
        40 => &[("chart-tag", "from `v3.3.0-beta.5` to `v3.3.0-alpha.5`")],
        42 => &[("unquoted-template", "compassWebEndpoint")],
        47 => &[
            ("addon-version-not-increased", "cargo-admin.yaml"),
            ("addon-version-not-increased", "cargo-auth-controller.yaml"),
        ],
        48 => &[("addon-version-not-increased", "app-admin.yaml")],
        _ => &[],
    };
    for (code, part) in introduced {
        assert!(says(code, part), "{name}: {detail}: {new:#?}");
    }
    if text(expected, "kind") == "repairs" && introduced.is_empty() {
        for code in ["image-list-syntax", "node-port-conflict", "unquoted-template"] {
            assert!(!says(code, ""), "{name}: {detail}: {new:#?}");
        }
    }
}
