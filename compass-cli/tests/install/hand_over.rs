//! The hand-over to a plugin center.

use std::path::Path;

use super::center::{Behaviour, PluginCenter};
use super::world::ran;
use super::{Site, VALUES};

#[test]
fn install_plugin_center_creates_and_updates() {
    let site = Site::new();
    let center = PluginCenter::start(Behaviour::FailsOnce);
    let arguments = [&VALUES[..], &["--plugin-center", &center.url]].concat();
    for version in ["v1.0.0", "v1.1.0"] {
        let bundle = site.package(version);
        let installed = site.install(&bundle, &arguments);
        assert_eq!(installed.code, 0, "{}", installed.error);
        assert!(center.plugin("gpu").unwrap().contains(&format!("version: {version}")));
    }
    assert_eq!(center.changes(), ["POST /plugins", "POST /plugins", "PUT /plugins/gpu"]);
}

#[test]
fn install_plugin_center_faults_are_reported() {
    for (behaviour, code, expected) in [
        (Behaviour::Fails, 3, "it answered 500: the database is down"),
        (Behaviour::HalfAnswer, 3, "cannot use the plugin center"),
        (Behaviour::Forgets, 3, "reports no plugin of that name"),
        (Behaviour::LosesAnswer, 0, ""),
    ] {
        let site = Site::new();
        let center = PluginCenter::start(behaviour);
        let bundle = site.package("v1.0.0");
        let ran = site.install(&bundle, &[&VALUES[..], &["--plugin-center", &center.url]].concat());
        assert_eq!(ran.code, code, "{behaviour:?}: {}", ran.error);
        assert!(ran.error.contains(expected), "{behaviour:?}: {}", ran.error);
        let installed = site.installed().as_array().unwrap().len();
        assert_eq!(installed, usize::from(code == 0), "{behaviour:?}");
    }
}

#[test]
fn install_plugin_center_wrong_token_pushes_nothing() {
    let site = Site::new();
    let center = PluginCenter::start(Behaviour::Works);
    let bundle = site.package("v1.0.0");
    let arguments = [
        &["install", &bundle, "--registry", &site.place, "--receipts", "r"],
        &["--plugin-center", &center.url][..],
        &VALUES[..],
    ];
    let mut command = site.world.command(&arguments.concat());
    let refused = ran(command.env("COMPASS_PLUGIN_CENTER_TOKEN", "wrong"));
    assert_eq!(refused.code, 3, "{}", refused.error);
    assert!(refused.error.contains("it answered 401"), "{}", refused.error);
    assert!(!Path::new(&site.world.path("r/plugin")).exists());
}
