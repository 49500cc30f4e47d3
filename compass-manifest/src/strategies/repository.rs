use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::{dates, names, plugin_versions};
use crate::tree::Tree;

/// A valid release repository.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Repository {
    /// The plugins, at least two.
    pub plugins: Vec<Plugin>,
    /// The addons, at least two.
    pub addons: Vec<Addon>,
    /// The hotfixes of the addons, at least one.
    pub hotfixes: Vec<Hotfix>,
}

/// A plugin manifest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plugin {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The port.
    pub port: u16,
}

/// The values of an addon.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Addon {
    /// The name.
    pub name: String,
    /// The version, which is also the tag of the image.
    pub version: String,
    /// The namespace.
    pub namespace: &'static str,
    /// The node port of the service.
    pub node_port: u16,
}

/// A hotfix.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hotfix {
    /// The patched addon.
    pub addon: Addon,
    /// The HOTFIXVERSION, for product `v2.7.0`.
    pub version: String,
}

impl Repository {
    /// Returns the files.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for plugin in &self.plugins {
            tree.insert(plugin.path(), plugin.text());
        }
        for addon in &self.addons {
            tree.insert(addon.path(), addon.text(&addon.version));
        }
        for hotfix in &self.hotfixes {
            tree.insert(hotfix.path(), hotfix.text());
        }
        tree.insert("images-lists/platform.list", self.list());
        tree
    }

    /// Returns the image list of the addons.
    pub fn list(&self) -> String {
        let mut list = String::from("# images of the platform\n");
        for addon in &self.addons {
            let _ = writeln!(list, "release/{}:{}", addon.name, addon.version);
        }
        list
    }
}

impl Plugin {
    /// Returns the path of the manifest.
    pub fn path(&self) -> String {
        format!("release-plugins/{}.yaml", self.name)
    }

    /// Returns the manifest.
    pub fn text(&self) -> String {
        let Self { name, version, port } = self;
        format!(
            "# 插件 {name}\nmetadata:\n  name: {name}\n  alias: 插件\nspec:\n  version: {version} # \
             released\n  service:\n    port: {port}\n    image: \
             \"harbor.example/release/compass-plugins-{name}:{version}\"\n  modules:\n  - \
             name: {name}\n    slots: [system.{name}]\n"
        )
    }
}

impl Addon {
    /// Returns the path of the values.
    pub fn path(&self) -> String {
        format!("addons/{}/group/{}/values.yaml", self.namespace, self.name)
    }

    /// Returns the values with a version.
    pub fn text(&self, version: &str) -> String {
        let Self { name, namespace, node_port, .. } = self;
        format!(
            "_config:\n  _metadata:\n    name: {name}\n    version: {version}\n    namespace: \
             {namespace}\n  controllers:\n  - type: Deployment\n    containers:\n    - image: '[[ \
             registry_release ]]/{name}:{version}'\n      env:\n      - name: REGISTRY\n        \
             value: '[[ registry_release ]]'\n    services:\n    - name: {name}\n      type: \
             NodePort\n      ports:\n      - protocol: TCP\n        port: 80\n        nodePort: \
             {node_port}\n"
        )
    }
}

impl Hotfix {
    /// Returns the path of the values.
    pub fn path(&self) -> String {
        self.path_as(&self.version, self.addon.namespace, "v2.7.0")
    }

    pub(super) fn path_as(&self, version: &str, namespace: &str, base: &str) -> String {
        let name = &self.addon.name;
        format!("release-hotfixes/{base}/{name}-{version}/{namespace}/group/{name}/values.yaml")
    }

    /// Returns the values.
    pub fn text(&self) -> String {
        self.addon.text(&self.version)
    }
}

/// Generates valid release repositories.
pub fn repositories() -> impl Strategy<Value = Repository> {
    let plugins = prop::collection::btree_map(names(), plugin_versions(), 2..5);
    let addons = prop::collection::btree_map(names(), (plugin_versions(), any::<bool>()), 2..5);
    let hotfixes = prop::collection::btree_map((0..4_usize, dates()), 1..50_u32, 1..4);
    (plugins, addons, hotfixes).prop_map(|(plugins, addons, hotfixes)| {
        let addons = numbered(30_000, addons, |port, name, (version, system)| Addon {
            name,
            version,
            namespace: if system { "kube-system" } else { "default" },
            node_port: port,
        });
        let hotfixes = hotfixes.into_iter().map(|((addon, date), patch)| Hotfix {
            addon: addons[addon % addons.len()].clone(),
            version: format!("v2.7.0-{date}-p{patch}"),
        });
        let distinct: BTreeMap<_, _> = hotfixes.map(|hotfix| (hotfix.path(), hotfix)).collect();
        Repository {
            plugins: numbered(8_000, plugins, |port, name, version| Plugin { name, version, port }),
            hotfixes: distinct.into_values().collect(),
            addons,
        }
    })
}

/// Creates an item for each name, with consecutive ports.
fn numbered<V, T>(
    first: u16,
    named: BTreeMap<String, V>,
    make: impl Fn(u16, String, V) -> T,
) -> Vec<T> {
    let ports = first..;
    named.into_iter().zip(ports).map(|((name, value), port)| make(port, name, value)).collect()
}
