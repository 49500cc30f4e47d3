//! Checks every rule on its fixtures in `tests/rules/<code>/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};

use compass_manifest::finding::Severity;
use compass_manifest::render::{self, Style};
use compass_manifest::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use compass_manifest::source::SourceFile;
use compass_manifest::{
    Check, EntryKind, Policy, ReleaseRepository, Report, Tree, check, check_change, rules,
};

fn fixtures(code: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules").join(code)
}

fn read(root: &Path, directory: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(directory).expect("the fixture exists") {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        if kind.is_symlink() {
            tree.insert_entry(name, EntryKind::Link, "");
        } else if kind.is_dir() {
            read(root, &path, tree);
        } else {
            tree.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Checks the fixture `<name>/`; if `<name>-base/` exists, checks the change from it.
fn check_fixture(code: &str, name: &str) -> Report {
    let tree = |name: &str| {
        let (root, mut tree) = (fixtures(code).join(name), Tree::new());
        read(&root, &root, &mut tree);
        tree
    };
    let head = tree(name);
    let policy = head.get(".compass.yaml").map_or_else(Policy::default, |bytes| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Policy::parse(&SourceFile::new(".compass.yaml", text)).unwrap()
    });
    let base = format!("{name}-base");
    if fixtures(code).join(&base).exists() {
        check_change(&tree(&base), &head, &policy)
    } else {
        check(&head, &policy)
    }
}

#[test]
fn rule_codes_match_files_and_order() {
    let codes: Vec<_> = rules::ALL.iter().map(|rule| rule.code).collect();
    assert!(codes.is_sorted(), "{codes:?}");
    for code in codes {
        let file = format!("src/rules/{}.rs", code.replace('-', "_"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        assert!(text.contains(&format!("\"{code}\",")), "{}", path.display());
        assert_eq!(rules::find(code).map(|rule| rule.code), Some(code));
    }
}

#[test]
fn rule_docs_have_all_sections() {
    for rule in rules::ALL {
        let RuleDocs { what, why, example, fix } = rule.docs;
        assert!([what, why, example, fix].iter().all(|text| !text.is_empty()), "{}", rule.code);
        assert!(!rule.summary.is_empty() && !rule.summary.ends_with('.'), "{}", rule.code);
    }
}

#[test]
fn failing_fixture_gives_one_finding() {
    for rule in rules::ALL {
        let report = check_fixture(rule.code, "fail");
        let codes: Vec<_> = report.findings().iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [rule.code]);
        let severity = report.findings()[0].severity;
        assert_eq!(severity, rule.severity, "{}", rule.code);
    }
}

#[test]
fn passing_fixture_gives_no_finding() {
    for rule in rules::ALL {
        let report = check_fixture(rule.code, "pass");
        assert!(report.findings().is_empty(), "{}: {:?}", rule.code, report.findings());
    }
}

#[test]
fn findings_show_the_source_line_without_colour() {
    let texts: Vec<_> = rules::ALL
        .iter()
        .map(|rule| render::text(&check_fixture(rule.code, "fail"), Style::Plain))
        .collect();
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn findings_are_data_for_programs() {
    let report = check_fixture("slot-conflict", "fail");
    insta::assert_snapshot!(serde_json::to_string_pretty(&render::json(&report)).unwrap());
}

#[test]
fn report_and_policy_are_send_sync() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Report>();
    shared::<Policy>();
    shared::<Tree>();
}

static PORT_RANGE: Rule = Rule::new("port-range", "plugins have ports from 9000", port_range)
    .with_severity(Severity::Warning)
    .with_blocks_packaging(BlocksPackaging::Always);

fn port_range(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for plugin in context.repository().plugins() {
        if let Some(port) = plugin.manifest.port.as_ref().filter(|port| port.value < 9000) {
            sink.add(&plugin.document.source, port.span, "the port is too low", "");
        }
    }
}

/// Checks a plugin with [`PORT_RANGE`], and returns its findings.
fn check_port_range(policy: &str, comment: &str) -> Report {
    let text = format!("spec: {{service: {{port: 80}}}} {comment}\n");
    let tree = [("release-plugins/gpu.yaml", text)].into_iter().collect();
    let source = SourceFile::new(".compass.yaml", format!("version: 1\n{policy}"));
    let policy = Policy::parse(&source).unwrap();
    rules::verify_policy(&policy, &[&PORT_RANGE]).unwrap();
    Check::new(&ReleaseRepository::load(tree, policy)).with_rules(&[&PORT_RANGE]).run()
}

#[test]
fn own_rule_reports_and_follows_policy() {
    let severity = |report: &Report| {
        let found = report.findings().iter().find(|finding| finding.code == "port-range");
        found.map(|finding| (finding.severity, finding.blocks_packaging))
    };
    let report = check_port_range("", "");
    assert_eq!(severity(&report), Some((Severity::Warning, BlocksPackaging::Always)));
    let log = render::sarif(&report, "1.0.0");
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.last().unwrap()["id"], "port-range");
    let policy = "rules: {port-range: error}\n";
    assert_eq!(severity(&check_port_range(policy, "")).unwrap().0, Severity::Error);
    for (policy, comment) in [
        ("rules: {port-range: off}\n", ""),
        ("allow: [{code: port-range, reason: legacy}]\n", ""),
        ("", "# compass:allow port-range legacy"),
    ] {
        let report = check_port_range(policy, comment);
        assert_eq!(severity(&report), None, "{policy}");
        assert!(report.findings().iter().all(|finding| finding.code != "unused-allowance"));
    }
}
