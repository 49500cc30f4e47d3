//! A gate for pull requests: checks a change of a release repository that exists only in memory, as a bot receives
//! it from a forge's API.
//!
//! `cargo run -p compass-examples --example policy_gate`

use compass_manifest::render::{self, Style};
use compass_manifest::source::SourceFile;
use compass_manifest::{Policy, Tree, check_change};

const POLICY: &str = "version: 1\nregistries: {release: registry.example/release}\n";

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

/// Returns the findings as text if the change must not be merged.
fn gate(base: &Tree, head: &Tree, policy: &Policy) -> Result<(), String> {
    let report = check_change(base, head, policy);
    match report.passes() {
        true => Ok(()),
        false => Err(render::text(&report, Style::Plain)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::parse(&SourceFile::new(".compass.yaml", POLICY))?;
    let base: Tree =
        [plugin("gpu", "v0.1.0", 9001), plugin("logs", "v1.0.0", 9002)].into_iter().collect();

    let mut good = base.clone();
    let (path, manifest) = plugin("gpu", "v0.1.1", 9001);
    good.insert(path, manifest);
    gate(&base, &good, &policy)?;
    println!("gpu v0.1.1: merged");

    // The port belongs to the other plugin, and the version has not increased.
    let mut bad = base.clone();
    let (path, manifest) = plugin("gpu", "v0.1.0", 9002);
    bad.insert(path, manifest);
    match gate(&base, &bad, &policy) {
        Ok(()) => Err("the gate has merged a conflict".into()),
        Err(findings) => {
            println!("gpu with the port of logs: refused\n\n{findings}");
            Ok(())
        }
    }
}
