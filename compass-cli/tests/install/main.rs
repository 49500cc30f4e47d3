//! `compass install` at a site: preflight, rendered YAML, hand-over, receipts and rollback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod center;
mod faults;
mod hand_over;
mod hostile;
mod killed;
mod kubectl;
#[path = "../machine/mod.rs"]
mod machine;
mod registry;
mod transfers;
#[path = "../packaging/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use compass_registry::testing::SampleImage;
use serde_json::Value;

use center::{Behaviour, PluginCenter, TOKEN};
use world::{Ran, World, ran};

const SECRET: &str = "hunter2-'\"$[[ x ]]";

/// A world with two versions of the plugin `gpu`, and a site.
struct Site {
    world: World,
    place: String,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let place = format!("{}/site", world.registry.host());
        world.push("gpu", &SampleImage::with_layers(vec![b"layer".to_vec()]));
        world.write("password", &format!("{SECRET}\n"));
        Self { world, place }
    }

    /// Packages a version of the plugin. Its manifest uses the variables `host` and `password`.
    fn package(&self, version: &str) -> String {
        let host = self.world.registry.host();
        let manifest = format!(
            "metadata:\n  name: gpu\nspec:\n  version: {version}\n  compassRequirement: \">=v2.7.2\"\n  \
             service:\n    port: 9001\n    image: {host}/release/gpu:v1 # the image\n    configs:\n      \
             envs:\n      - name: A\n        value: 'http://[[ host ]]:80'\n      - name: B\n        \
             value: '[[ password ]]'\n  modules: [{{name: gpu, slots: [system.gpu]}}]\n"
        );
        self.world.write("repo/release-plugins/gpu.yaml", &manifest);
        let packaged = self.world.package("gpu", &["-o", "out", "--no-check", "a test"]);
        assert_eq!(packaged.code, 0, "{}", packaged.error);
        format!("out/compass-plugins-gpu-{version}.tar.gz")
    }

    fn install(&self, bundle: &str, more: &[&str]) -> Ran {
        ran(&mut self.install_command(bundle, more))
    }

    fn install_command(&self, bundle: &str, more: &[&str]) -> Command {
        let site: [&str; 6] =
            ["install", bundle, "--registry", &self.place, "--receipts", "receipts"];
        self.command(&[&site[..], more].concat())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.env("COMPASS_PLUGIN_CENTER_TOKEN", TOKEN);
        command
    }

    fn installed(&self) -> Value {
        let listed = self.run(&["installed", "--receipts", "receipts", "--format", "json"]);
        let listed: Value = serde_json::from_slice(&listed.out).unwrap();
        listed["installed"].clone()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.world.path(path)).unwrap()
    }

    /// Whether the site's registry has the image.
    fn has_image(&self) -> bool {
        self.world.write("list", "site/gpu:v1\n");
        let place = ["--from", &self.place, "--to", &self.place];
        let listed = self.run(&[&["sync", "--list", "list", "--dry-run"][..], &place].concat());
        listed.code == 0
    }
}

const VALUES: [&str; 4] = ["--set", "host=10.0.0.1", "--set-file", "password=password"];

#[test]
fn install_output_has_rendered_yaml() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    let installed = site.install(&bundle, &[&VALUES[..], &["--output", "yaml"]].concat());
    assert_eq!(installed.code, 0, "{}", installed.error);
    let rendered = site.read("yaml/plugin-gpu/gpu.yaml");
    assert!(
        rendered.contains(&format!("image: {}/gpu:v1 # the image\n", site.place)),
        "{rendered}"
    );
    assert!(rendered.contains("value: 'http://10.0.0.1:80'\n"), "{rendered}");
    assert!(rendered.contains("value: 'hunter2-''\"$[[ x ]]'\n"), "{rendered}");
    assert!(site.has_image());
    let listed = site.installed();
    assert_eq!((&listed[0]["kind"], &listed[0]["name"]), (&"plugin".into(), &"gpu".into()));
    assert_eq!(listed[0]["version"], "v1.0.0");
    assert!(listed[0]["images"][0]["reference"].as_str().unwrap().ends_with("/site/gpu:v1"));
}

#[test]
fn install_unset_variables_push_nothing() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    let refused = site.install(&bundle, &["--output", "yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.error);
    for expected in
        ["gpu.yaml:12:24: `host` has no value", "gpu.yaml:14:17: `password` has no value"]
    {
        assert!(refused.error.contains(expected), "{}", refused.error);
    }
    assert!(refused.error.contains("nothing was pushed"), "{}", refused.error);
    assert!(!site.world.path("yaml").exists());
    assert_eq!(site.installed().as_array().unwrap().len(), 0);
    assert!(!site.has_image());
}

#[test]
fn install_without_hand_over_tells_what_is_left() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    let installed = site.install(&bundle, &[]);
    assert_eq!(installed.code, 0, "{}", installed.error);
    assert!(installed.error.contains("left to do: hand over gpu.yaml"), "{}", installed.error);
}

#[test]
fn install_values_are_merged_by_precedence() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    site.world.write("values.yaml", "host: from-file # c\npassword: 1.10\n");
    let arguments = [
        "install",
        &bundle,
        "--registry",
        &site.place,
        "--receipts",
        "receipts",
        "--output",
        "yaml",
        "--values",
        "values.yaml",
    ];
    let mut command = site.world.command(&arguments);
    let installed = ran(command.env("COMPASS_VALUE_HOST", "from-env"));
    assert_eq!(installed.code, 0, "{}", installed.error);
    let rendered = site.read("yaml/plugin-gpu/gpu.yaml");
    assert!(
        rendered.contains("http://from-file:80") && rendered.contains("value: '1.10'"),
        "{rendered}"
    );
    let set = [&arguments[..], &["--set", "host=a=b", "--set", "unknown=1"]].concat();
    let installed = site.run(&set);
    assert_eq!(installed.code, 0, "{}", installed.error);
    assert!(installed.error.contains("uses the variable `unknown`"), "{}", installed.error);
    assert!(site.read("yaml/plugin-gpu/gpu.yaml").contains("http://a=b:80"));
}

#[test]
fn install_secrets_appear_nowhere() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    let center = PluginCenter::start(Behaviour::FailsOnce);
    let echoing = [Behaviour::EchoesToken, Behaviour::EchoesBody].map(PluginCenter::start);
    for more in [
        &["--plugin-center", &center.url][..],
        &["--plugin-center", &echoing[0].url],
        &["--plugin-center", &echoing[1].url],
        &["--dry-run", "--output", "yaml"],
        &["--output", "yaml"],
        &["--apply", "false {}"],
        &["--output", "yaml", "--format", "json"],
    ] {
        let ran = site.install(&bundle, &[&VALUES[..], &["-vvv"], more].concat());
        let shown = String::from_utf8_lossy(&ran.out).into_owned() + &ran.error;
        for secret in ["hunter2", "cm9ib3Q6aHVudGVyMg==", TOKEN] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(!more.contains(&"--plugin-center") || shown.contains("plugin center"), "{shown}");
    }
    assert!(center.plugin("gpu").unwrap().contains("hunter2"));
    assert!(echoing.iter().all(|center| center.echoes() > 0));
    // The journal of an unfinished hand-over is beside the receipts.
    let bundle = product(&site, "release/gpu:v1\n");
    let unfinished = ["--apply", "! grep -q 'name: two' {}", "-vvv"];
    assert_eq!(site.install(&bundle, &unfinished).code, 3);
    assert!(site.world.path("receipts/product/compass/unfinished.json").is_file());
    for directory in ["receipts/plugin/gpu", "receipts/product/compass"] {
        for file in std::fs::read_dir(site.world.path(directory)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    let mode =
        std::fs::metadata(site.world.path("yaml/plugin-gpu/gpu.yaml")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn install_product_requirement_is_checked() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    let refused = site.install(&bundle, &["--product-version", "v2.7.1"]);
    assert_eq!(refused.code, 1, "{}", refused.error);
    let expected =
        "gpu.yaml:5: the plugin requires product version >=v2.7.2, and the site has v2.7.1";
    assert!(refused.error.contains(expected), "{}", refused.error);
    let accepted = site.install(&bundle, &["--product-version", "2.8.0"]);
    assert_eq!(accepted.code, 0, "{}", accepted.error);
}

#[test]
fn install_dry_run_shows_differences() {
    let site = Site::new();
    let first = site.package("v1.0.0");
    let arguments = [&VALUES[..], &["--output", "yaml"]].concat();
    let planned = site.install(&first, &[&arguments[..], &["--dry-run"]].concat());
    let shown = String::from_utf8_lossy(&planned.out).into_owned();
    assert_eq!(planned.code, 0, "{}", planned.error);
    assert!(shown.contains("to copy") && shown.contains("new: plugin gpu"), "{shown}");
    assert!(!site.world.path("yaml").exists() && site.installed().as_array().unwrap().is_empty());
    assert_eq!(site.install(&first, &arguments).code, 0);
    let second = site.package("v1.1.0");
    let planned = site.install(&second, &[&arguments[..], &["--dry-run"]].concat());
    let shown = String::from_utf8_lossy(&planned.out).into_owned();
    assert!(shown.contains("(present)"), "{shown}");
    assert!(shown.contains("gpu.yaml: spec.version: `v1.0.0` -> `v1.1.0`"), "{shown}");
}

#[test]
fn install_rollback_hands_over_previous_files() {
    let site = Site::new();
    let arguments = [&VALUES[..], &["--output", "yaml"]].concat();
    for version in ["v1.0.0", "v1.1.0"] {
        let bundle = site.package(version);
        assert_eq!(site.install(&bundle, &arguments).code, 0);
    }
    let rollback = |more: &[&str]| {
        let all =
            ["install", "--rollback", "gpu", "--registry", &site.place, "--receipts", "receipts"];
        site.run(&[&all[..], more].concat())
    };
    let refused = rollback(&["--output", "yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.error);
    assert!(refused.error.contains("`password` has no value"), "{}", refused.error);
    assert!(refused.error.contains("--set-file"), "{}", refused.error);
    let complete = ["--output", "yaml", "--set-file", "password=password"];
    let planned = rollback(&[&complete[..], &["--dry-run"]].concat());
    let shown = String::from_utf8_lossy(&planned.out).into_owned();
    assert!(shown.contains("plugin gpu: would roll back from v1.1.0 to v1.0.0"), "{shown}");
    assert!(shown.contains("gpu.yaml: spec.version: `v1.1.0` -> `v1.0.0`"), "{shown}");
    assert_eq!(site.installed()[0]["version"], "v1.1.0");
    let rolled_back = rollback(&complete);
    assert_eq!(rolled_back.code, 0, "{}", rolled_back.error);
    let rendered = site.read("yaml/plugin-gpu/gpu.yaml");
    assert!(rendered.contains("version: v1.0.0") && rendered.contains("hunter2"), "{rendered}");
    assert_eq!(site.installed()[0]["version"], "v1.0.0");
    let unknown =
        ["install", "--rollback", "cpu", "--registry", &site.place, "--receipts", "receipts"];
    assert!(site.run(&unknown).error.contains("there is no receipt of `cpu`"));
}

/// A product with five addons, each in a directory of its own.
fn product(site: &Site, images: &str) -> String {
    let world = &site.world;
    world.write("repo/images-lists/a.list", images);
    for addon in [
        "default/a/one",
        "default/b/two",
        "default/c/five",
        "kube-system/a/four",
        "kube-system/a/three",
    ] {
        let name = addon.rsplit('/').next().unwrap();
        world.write(
            &format!("repo/addons/{addon}/values.yaml"),
            &format!(
                "_config:\n  _metadata: {{name: {name}, version: v1}}\n  controllers:\n  - type: \
                 Deployment\n    containers:\n    - name: x\n      image: '[[ registry_release ]]/gpu:v1'\n"
            ),
        );
    }
    world.write(
        "repo/release-products/v2.7.0.yaml",
        "metadata: {name: compass}\nspec:\n  version: v2.7.0\n  imageLists: ['images-lists/*.list']\n  \
         addons: addons\n",
    );
    let arguments =
        ["package", "product", "v2.7.0", "--repo", "repo", "-o", "out", "--no-check", "a test"];
    let packaged = world.run(&arguments);
    assert_eq!(packaged.code, 0, "{}", packaged.error);
    "out/compass-v2.7.0.tar.gz".to_owned()
}

#[test]
fn install_damaged_image_does_not_stop_others() {
    let site = Site::new();
    let layer: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[1] ^ 0x5a).collect();
    site.world.push("web", &SampleImage::with_layers(vec![layer.clone()]));
    let bundle = product(&site, "release/gpu:v1\nrelease/web:v1\n");
    let mut bytes = std::fs::read(site.world.path(&bundle)).unwrap();
    let at = bytes.windows(1000).position(|part| part == &layer[10_000..11_000]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(site.world.path("damaged.tar.gz"), bytes).unwrap();
    let ran = site.install("damaged.tar.gz", &["--output", "yaml"]);
    assert_eq!(ran.code, 1, "{}", ran.error);
    assert!(ran.error.contains("damaged.tar.gz is damaged at bytes"), "{}", ran.error);
    let shown = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(shown.contains("/site/gpu:v1 sha256:"), "{shown}");
    assert!(shown.contains("/site/web:v1 was not pushed"), "{shown}");
    assert!(!site.world.path("yaml").exists() && site.installed().as_array().unwrap().is_empty());
    let ran = site.install("damaged.tar.gz", &["--output", "yaml", "--format", "json"]);
    let report = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(report.contains("`compass verify` lists the damage"), "{report}");
    assert!(!report.contains("push the image again"), "the registry is not the cause: {report}");
    let whole = site.install(&bundle, &["--output", "yaml"]);
    assert_eq!(whole.code, 0, "{}", whole.error);
}

#[test]
fn install_unwritable_receipts_push_nothing() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    site.world.write("receipts", "a file");
    let refused = site.install(&bundle, &[]);
    assert_eq!(refused.code, 3, "{}", refused.error);
    assert!(refused.error.contains("receipts"), "{}", refused.error);
    assert!(!site.has_image());
}

#[test]
fn install_apply_stops_at_failure_and_continues() {
    let site = Site::new();
    let bundle = product(&site, "release/gpu:v1\n");
    site.world
        .write("apply.sh", "echo \"$COMPASS_FILE\" >> applied\ncat \"$1\" >> applied\n! grep -q 'name: two' \"$1\" || [ -e fixed ]\n");
    let apply = ["--apply", "sh apply.sh {}"];
    let failed = site.install(&bundle, &apply);
    assert_eq!(failed.code, 3, "{}", failed.error);
    let expected = "cannot apply addons/default/b/two/values.yaml: applied before it: \
                    addons/default/a/one/values.yaml; not applied after it: 3 files";
    assert!(failed.error.contains(expected), "{}", failed.error);
    assert!(site.installed().as_array().unwrap().is_empty());
    site.world.write("fixed", "");
    site.world.write("applied", "");
    let continued = site.install(&bundle, &apply);
    assert_eq!(continued.code, 0, "{}", continued.error);
    let applied = site.read("applied");
    assert!(!applied.contains("name: one") && applied.contains("name: three"), "{applied}");
    let names =
        ["five", "four", "three"].map(|name| applied.find(&format!("name: {name}")).unwrap());
    assert!(names.is_sorted(), "{applied}");
    assert!(applied.contains("addons/kube-system/a/four/values.yaml\n"), "{applied}");
    assert!(applied.contains(&format!("image: '{}/gpu:v1'", site.place)), "{applied}");
    assert_eq!(site.installed()[0]["kind"], "product");
}

#[test]
fn install_two_at_once_both_finish() {
    let site = Site::new();
    let bundle = site.package("v1.0.0");
    let arguments = [&VALUES[..], &["--apply", "sleep 1; test -s {}"]].concat();
    std::thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| site.install(&bundle, &arguments)));
        for ran in both {
            let ran = ran.join().unwrap();
            assert_eq!(ran.code, 0, "{}", ran.error);
        }
    });
    assert!(site.world.path("receipts/plugin/gpu/000002.json").exists());
}
