use proptest::prelude::*;

use super::repository::{Repository, repositories};
use crate::named_enum::named_enum;
use crate::tree::Tree;

named_enum! {
    /// An error to add to a valid release repository, which gives exactly one finding.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum Mutation {
        /// A key is duplicated.
        DuplicateKey => "duplicate-key",
        /// A file is misplaced in a release directory.
        MisplacedFile => "file-misplaced",
        /// A field is missing.
        MissingField => "missing-field",
        /// A field is misspelled.
        UnknownField => "unknown-field",
        /// A text field has a number.
        WrongType => "wrong-type",
        /// A file is not valid YAML.
        BrokenSyntax => "yaml-syntax",
        /// A plugin's name differs from its file name.
        PluginName => "plugin-name-mismatch",
        /// A plugin's version has no `v`.
        PluginVersion => "plugin-version-format",
        /// The tag of a plugin's image differs from the version.
        PluginTag => "plugin-image-reference",
        /// Two plugins use the same port.
        SamePort => "port-conflict",
        /// Two plugins use the same slot.
        SameSlot => "slot-conflict",
        /// The date of a hotfix does not exist.
        HotfixDate => "hotfix-version-format",
        /// A hotfix is in the directory of another product version.
        HotfixBase => "hotfix-base-mismatch",
        /// The namespace of a hotfix is unknown.
        HotfixNamespace => "hotfix-namespace",
        /// The version in a hotfix's path differs from its values.
        HotfixVersion => "hotfix-version-mismatch",
        /// An image of a hotfix has a registry host.
        HotfixHost => "hotfix-image-reference",
        /// A container has no image.
        NoImage => "container-without-image",
        /// Two addons use the same node port.
        SameNodePort => "node-port-conflict",
        /// A template variable is not quoted.
        UnquotedTemplate => "unquoted-template",
        /// A template variable is misspelled.
        UnknownTemplate => "template-variable",
        /// An image of an addon is not in an image list.
        UnlistedImage => "image-not-listed",
        /// No addon uses an image of a list.
        UnusedImage => "image-not-used",
        /// A line of an image list has no tag.
        BrokenLine => "image-list-syntax",
        /// A line of an image list is duplicated.
        SameLine => "duplicate-image",
    }

    /// Returns the code of the rule that reports the error.
    pub fn code;
}

impl Mutation {
    /// Returns the files of a repository with this error.
    pub fn apply_to(self, repository: &Repository) -> Tree {
        let mut tree = repository.tree();
        match self {
            Self::DuplicateKey
            | Self::MissingField
            | Self::UnknownField
            | Self::WrongType
            | Self::BrokenSyntax
            | Self::PluginName
            | Self::PluginVersion
            | Self::PluginTag
            | Self::SamePort
            | Self::SameSlot => self.mutate_plugin(repository, &mut tree),
            Self::HotfixDate
            | Self::HotfixBase
            | Self::HotfixNamespace
            | Self::HotfixVersion
            | Self::HotfixHost => self.mutate_hotfix(repository, &mut tree),
            Self::NoImage | Self::SameNodePort | Self::UnquotedTemplate | Self::UnknownTemplate => {
                self.mutate_addon(repository, &mut tree)
            }
            Self::UnlistedImage | Self::UnusedImage | Self::BrokenLine | Self::SameLine => {
                self.mutate_list(repository, &mut tree);
            }
            Self::MisplacedFile => tree.insert("release-plugins/below/other.yaml", "a: 1\n"),
        }
        tree
    }

    fn mutate_plugin(self, repository: &Repository, tree: &mut Tree) {
        // Mutate the last plugin, because a conflict is reported at the later file.
        let [other, .., plugin] = &repository.plugins[..] else { return };
        let (text, name, version) = (plugin.text(), &plugin.name, &plugin.version);
        let replace = |from: &str, to: &str| text.replacen(from, to, 1);
        let port = format!("port: {}", plugin.port);
        let mutated = match self {
            Self::DuplicateKey => replace("  alias: 插件\n", "  alias: 插件\n  alias: 另\n"),
            Self::MissingField => replace(&format!("    slots: [system.{name}]\n"), ""),
            Self::UnknownField => replace("  alias: 插件", "  aliass: 插件"),
            Self::WrongType => replace("alias: 插件", "alias: 1"),
            Self::BrokenSyntax => replace("spec:\n", " spec: {\n"),
            Self::PluginName => replace(&format!("name: {name}"), &format!("name: {name}-x")),
            Self::PluginVersion => text.replace(version, version.trim_start_matches('v')),
            Self::PluginTag => replace(&format!("{version}\""), &format!("{version}-x\"")),
            Self::SamePort => replace(&port, &format!("port: {}", other.port)),
            _ => replace(&format!("system.{name}]"), &format!("system.{}]", other.name)),
        };
        tree.insert(plugin.path(), mutated);
    }

    fn mutate_hotfix(self, repository: &Repository, tree: &mut Tree) {
        let [.., hotfix] = &repository.hotfixes[..] else { return };
        let (version, namespace) = (&hotfix.version, hotfix.addon.namespace);
        let own = format!("'[[ registry_release ]]/{}:", hotfix.addon.name);
        let (path, text) = match self {
            Self::HotfixDate => {
                let wrong = "v2.7.0-20180631-p1";
                (hotfix.path_as(wrong, namespace, "v2.7.0"), hotfix.addon.text(wrong))
            }
            Self::HotfixBase => (hotfix.path_as(version, namespace, "v2.7.1"), hotfix.text()),
            Self::HotfixNamespace => {
                let text = hotfix.text().replacen(&format!("    namespace: {namespace}\n"), "", 1);
                (hotfix.path_as(version, "kube", "v2.7.0"), text)
            }
            Self::HotfixVersion => {
                let tag = format!("{own}{version}'");
                (hotfix.path(), hotfix.text().replacen(&tag, &format!("{own}v1.0.0-x'"), 1))
            }
            _ => {
                let host = format!("'harbor.example/release/{}:", hotfix.addon.name);
                (hotfix.path(), hotfix.text().replacen(&own, &host, 1))
            }
        };
        let mut others = Tree::new();
        for (path, bytes) in tree.files().filter(|(path, _)| *path != hotfix.path()) {
            others.insert(path, bytes);
        }
        *tree = others;
        tree.insert(path, text);
    }

    fn mutate_addon(self, repository: &Repository, tree: &mut Tree) {
        let [other, .., addon] = &repository.addons[..] else { return };
        let text = addon.text(&addon.version);
        let image = format!("image: '[[ registry_release ]]/{}:{}'", addon.name, addon.version);
        let quoted = "value: '[[ registry_release ]]'";
        let mutated = match self {
            Self::NoImage => {
                // Remove the image from the list too, which otherwise would contain an unused
                // image.
                let line = format!("release/{}:{}\n", addon.name, addon.version);
                tree.insert("images-lists/platform.list", repository.list().replacen(&line, "", 1));
                text.replacen(&image, "name: main", 1)
            }
            Self::SameNodePort => {
                let port = |port: u16| format!("nodePort: {port}");
                text.replacen(&port(addon.node_port), &port(other.node_port), 1)
            }
            Self::UnquotedTemplate => text.replacen(quoted, "value: [[ registry_release ]]", 1),
            _ => text.replacen(quoted, "value: '[[ registry_relase ]]'", 1),
        };
        tree.insert(addon.path(), mutated);
    }

    fn mutate_list(self, repository: &Repository, tree: &mut Tree) {
        let list = repository.list();
        let Some(last) = list.lines().last() else { return };
        let mutated = match self {
            Self::UnlistedImage => list.replacen(&format!("{last}\n"), "", 1),
            Self::UnusedImage => format!("{list}release/unused-image:v1.0.0\n"),
            Self::BrokenLine => format!("{list}library/php/7.1-apache\n"),
            _ => format!("{list}{last}\n"),
        };
        tree.insert("images-lists/platform.list", mutated);
    }
}

/// Generates the files of a repository with one error, together with the error.
pub fn mutated_repositories() -> impl Strategy<Value = (Tree, Mutation)> {
    (repositories(), prop::sample::select(Mutation::ALL))
        .prop_map(|(repository, mutation)| (mutation.apply_to(&repository), mutation))
}
