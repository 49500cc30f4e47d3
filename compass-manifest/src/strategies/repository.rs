use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::{dates, names, plugin_versions};
use crate::tree::Tree;

/// A release repository that breaks no rule of the written process.
#[derive(Debug, Clone)]
pub struct Repository {
    /// The plugins; never empty.
    pub plugins: Vec<Plugin>,
    /// The addons; never empty.
    pub addons: Vec<Addon>,
    /// The hotfixes, each for one of the addons; never empty.
    pub hotfixes: Vec<Hotfix>,
}

/// A plugin manifest.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its port.
    pub port: u16,
}

/// The values of an addon.
#[derive(Debug, Clone)]
pub struct Addon {
    /// Its name.
    pub name: String,
    /// Its version, which is its image's tag.
    pub version: String,
    /// Its namespace.
    pub namespace: &'static str,
    /// The node port of its service.
    pub node_port: u16,
}

/// A hotfix.
#[derive(Debug, Clone)]
pub struct Hotfix {
    /// The addon that it patches.
    pub addon: Addon,
    /// Its HOTFIXVERSION, for product `v2.7.0`.
    pub version: String,
}

impl Repository {
    /// The files.
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

    /// The image list that the addons need.
    pub fn list(&self) -> String {
        let mut list = String::from("# images of the platform\n");
        for addon in &self.addons {
            let _ = writeln!(list, "release/{}:{}", addon.name, addon.version);
        }
        list
    }
}

impl Plugin {
    /// The path of its manifest.
    pub fn path(&self) -> String {
        format!("release-plugins/{}.yaml", self.name)
    }

    /// Its manifest.
    pub fn text(&self) -> String {
        let Self { name, version, port } = self;
        format!(
            "# 插件 {name}\nmetadata:\n  name: {name}\n  alias: 插件\nspec:\n  version: {version} # \
             released\n  service:\n    port: {port}\n    image: \
             \"harbor.caicloud.xyz/release/compass-plugins-{name}:{version}\"\n  modules:\n  - \
             name: {name}\n    slots: [system.{name}]\n"
        )
    }
}

impl Addon {
    /// The path of its values.
    pub fn path(&self) -> String {
        format!("addons/{}/group/{}/values.yaml", self.namespace, self.name)
    }

    /// Its values, with a version.
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
    /// The path of its values.
    pub fn path(&self) -> String {
        self.path_as(&self.version, self.addon.namespace, "v2.7.0")
    }

    pub(super) fn path_as(&self, version: &str, namespace: &str, base: &str) -> String {
        let name = &self.addon.name;
        format!("release-hotfixes/{base}/{name}-{version}/{namespace}/group/{name}/values.yaml")
    }

    /// Its values.
    pub fn text(&self) -> String {
        self.addon.text(&self.version)
    }
}

/// Release repositories that break no rule of the written process.
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

/// Makes one of each, with ports from a first one on.
fn numbered<V, T>(
    first: u16,
    named: BTreeMap<String, V>,
    make: impl Fn(u16, String, V) -> T,
) -> Vec<T> {
    let ports = first..;
    named.into_iter().zip(ports).map(|((name, value), port)| make(port, name, value)).collect()
}
