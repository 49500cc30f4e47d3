//! Rendered files of the example repository, handed to `kubectl`.

use std::path::Path;

use compass_registry::testing::SampleImage;
use serde_json::Value;

use super::Site;
use super::machine::has;

/// Returns the path of `kubectl`; `None` if it is missing and `COMPASS_INTEROP` does not require it.
fn kubectl() -> Option<String> {
    let program = std::env::var("COMPASS_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    has(&program, &["version", "--client"]).then_some(program)
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Packages the product of the example repository, with a Kubernetes object beside its addons.
fn example_product(site: &Site) -> String {
    let (world, host) = (&site.world, site.world.registry.host());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/release");
    copy(&example, &world.path("example"));
    world.write(
        "example/.compass.yaml",
        &format!(
            "version: 1\nregistries:\n  release: '{host}/release'\n  projects: {{release: {{source: \
             release, release: release}}, library: {{source: library, release: release}}}}\n"
        ),
    );
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '[[ name ]]'} # the object\ndata:\n  \
                text: \"[[ text ]]\"\n  block: |\n    [[ text ]]\n  plain: x [[ text ]]\n";
    world.write("example/addons/default/objects/map/map.yaml", text);
    for (name, tag) in [("console-web", "v3.1.53"), ("coredns", "1.11.3")] {
        world.push_tag(name, tag, &SampleImage::with_layers(vec![name.into()]));
    }
    let arguments =
        ["package", "product", "v2.7.0", "--repo", "example", "-o", "out", "--no-check", "a test"];
    let packaged = world.run(&arguments);
    assert_eq!(packaged.code, 0, "{}", packaged.error);
    "out/compass-v2.7.0.tar.gz".to_owned()
}

/// A value that is hard to write in YAML.
const TEXT: &str = "y: 'n' # \"0x1\"\n  - [[ z ]]\t~: é😀";

#[test]
fn install_rendered_examples_are_read_by_kubectl() {
    let Some(kubectl) = kubectl() else { return };
    let site = Site::new();
    let bundle = example_product(&site);
    site.world.write("text", &format!("{TEXT}\n"));
    // Neither subcommand needs a cluster.
    let apply = format!(
        "case $COMPASS_FILE in
           */map.yaml) '{kubectl}' label --local -f {{}} site=a -o json > object.json;;
           *) name=$(basename $(dirname $COMPASS_FILE))
              '{kubectl}' create configmap $name --from-file=values.yaml={{}} --dry-run=client -o json \
         > $name.json;;
         esac"
    );
    let values = ["--set", "name=map", "--set-file", "text=text"];
    let ran = site.install(&bundle, &[&values[..], &["--apply", &apply]].concat());
    assert_eq!(ran.code, 0, "{}", ran.error);
    let ran = site.install(&bundle, &[&values[..], &["--output", "yaml"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.error);

    let json = |file: &str| -> Value { serde_json::from_str(&site.read(file)).unwrap() };
    for (addon, path) in [("web", "default/console/web"), ("coredns", "kube-system/dns/coredns")] {
        let file = site.read(&format!("yaml/product-compass/addons/{path}/values.yaml"));
        assert_eq!(json(&format!("{addon}.json"))["data"]["values.yaml"], file);
    }
    let object = json("object.json");
    assert_eq!(object["metadata"]["name"], "map");
    assert_eq!(object["data"]["text"], TEXT);
    assert_eq!(object["data"]["block"], format!("{TEXT}\n"));
    assert_eq!(object["data"]["plain"], format!("x {TEXT}"));
}
