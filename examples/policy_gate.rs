//! A gate for pull requests: checks a change of a release repository that exists only in memory, as a bot receives
//! it from a forge's API, with the built-in rules and a rule of its own.
//!
//! `cargo run -p compass-examples --example policy_gate`

use compass_manifest::render::{self, Style};
use compass_manifest::rule::{FindingSink, Rule, RuleContext};
use compass_manifest::{Check, Policy, ReleaseRepository, Tree};

static PORT_RANGE: Rule = Rule::new("port-range", "plugins have ports from 9000", port_range);

fn port_range(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for plugin in context.repository().plugins() {
        if let Some(port) = plugin.manifest.port.as_ref().filter(|port| port.value < 9000) {
            sink.add(&plugin.document.source, port.span, "the port is too low", "use 9000 or more");
        }
    }
}

/// Returns the path and the manifest of a plugin.
fn plugin(name: &str, version: &str, port: u16) -> (String, String) {
    let manifest = format!(
        "metadata: {{name: {name}}}
spec:
  version: {version}
  service:
    port: {port}
    image: registry.example/release/compass-plugins-{name}:{version}
  modules: [{{name: {name}, slots: [cluster.{name}]}}]
"
    );
    (format!("release-plugins/{name}.yaml"), manifest)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = b"version: 1\nregistries: {release: registry.example/release}\n";
    let policy = Policy::default().overlay(".compass.yaml", policy)?;
    let base: Tree =
        [plugin("gpu", "v0.1.0", 9001), plugin("logs", "v1.0.0", 9002)].into_iter().collect();
    let before = ReleaseRepository::load(base.clone(), policy.clone());

    for (version, port, expected) in [
        ("v0.1.1", 9001, ""),
        ("v0.1.0", 9002, "port-conflict"), // The port belongs to the other plugin.
        ("v0.1.1", 80, "port-range"),
    ] {
        let mut head = base.clone();
        let (path, manifest) = plugin("gpu", version, port);
        head.insert(path, manifest);
        let after = ReleaseRepository::load(head, policy.clone());
        let report = Check::new(&after).with_base(&before).with_rules(&[&PORT_RANGE]).run();
        assert_eq!(report.passes(), expected.is_empty());
        println!("{version}, port {port}:\n{}", render::text(&report, Style::Plain));
        assert!(report.findings().iter().any(|one| one.code == expected) != report.passes());
    }
    Ok(())
}
