use proptest::prelude::*;

use super::repository::{Repository, repositories};
use crate::tree::Tree;

/// One way to break a release repository. Each gives exactly one finding of its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mutation {
    /// A key stands twice.
    DuplicateKey,
    /// A file stands where nothing is released from.
    MisplacedFile,
    /// A field is missing.
    MissingField,
    /// A field is misspelt.
    UnknownField,
    /// A number stands where text belongs.
    WrongType,
    /// A file is no YAML.
    BrokenSyntax,
    /// A plugin's name is another one than its file's.
    PluginName,
    /// A plugin's version has no `v`.
    PluginVersion,
    /// A plugin's image has another tag than its version.
    PluginTag,
    /// Two plugins claim one port.
    SamePort,
    /// Two plugins claim one slot.
    SameSlot,
    /// A hotfix is of a day that does not exist.
    HotfixDate,
    /// A hotfix stands under another product version.
    HotfixBase,
    /// A hotfix is in a namespace that nobody knows.
    HotfixNamespace,
    /// A hotfix's version is another one in its values.
    HotfixVersion,
    /// A hotfix names a registry's host.
    HotfixHost,
    /// A container has no image.
    NoImage,
    /// Two addons claim one node port.
    SameNodePort,
    /// A template variable has no quotes.
    UnquotedTemplate,
    /// A template variable is misspelt.
    UnknownTemplate,
    /// An image of an addon is in no list.
    UnlistedImage,
    /// An image of a list is used by no addon.
    UnusedImage,
    /// A line of an image list has no tag.
    BrokenLine,
    /// A line of an image list stands twice.
    SameLine,
}

impl Mutation {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::DuplicateKey,
        Self::MisplacedFile,
        Self::MissingField,
        Self::UnknownField,
        Self::WrongType,
        Self::BrokenSyntax,
        Self::PluginName,
        Self::PluginVersion,
        Self::PluginTag,
        Self::SamePort,
        Self::SameSlot,
        Self::HotfixDate,
        Self::HotfixBase,
        Self::HotfixNamespace,
        Self::HotfixVersion,
        Self::HotfixHost,
        Self::NoImage,
        Self::SameNodePort,
        Self::UnquotedTemplate,
        Self::UnknownTemplate,
        Self::UnlistedImage,
        Self::UnusedImage,
        Self::BrokenLine,
        Self::SameLine,
    ];

    /// The code of the rule that finds it.
    pub fn code(self) -> &'static str {
        match self {
            Self::DuplicateKey => "duplicate-key",
            Self::MisplacedFile => "file-misplaced",
            Self::MissingField => "missing-field",
            Self::UnknownField => "unknown-field",
            Self::WrongType => "wrong-type",
            Self::BrokenSyntax => "yaml-syntax",
            Self::PluginName => "plugin-name-mismatch",
            Self::PluginVersion => "plugin-version-format",
            Self::PluginTag => "plugin-image-reference",
            Self::SamePort => "port-conflict",
            Self::SameSlot => "slot-conflict",
            Self::HotfixDate => "hotfix-version-format",
            Self::HotfixBase => "hotfix-base-mismatch",
            Self::HotfixNamespace => "hotfix-namespace",
            Self::HotfixVersion => "hotfix-version-mismatch",
            Self::HotfixHost => "hotfix-image-reference",
            Self::NoImage => "container-without-image",
            Self::SameNodePort => "node-port-conflict",
            Self::UnquotedTemplate => "unquoted-template",
            Self::UnknownTemplate => "template-variable",
            Self::UnlistedImage => "image-not-listed",
            Self::UnusedImage => "image-not-used",
            Self::BrokenLine => "image-list-syntax",
            Self::SameLine => "duplicate-image",
        }
    }

    /// The files of a repository with this flaw, and no other.
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
            | Self::SameSlot => self.break_plugin(repository, &mut tree),
            Self::HotfixDate
            | Self::HotfixBase
            | Self::HotfixNamespace
            | Self::HotfixVersion
            | Self::HotfixHost => self.break_hotfix(repository, &mut tree),
            Self::NoImage | Self::SameNodePort | Self::UnquotedTemplate | Self::UnknownTemplate => {
                self.break_addon(repository, &mut tree)
            }
            Self::UnlistedImage | Self::UnusedImage | Self::BrokenLine | Self::SameLine => {
                self.break_list(repository, &mut tree);
            }
            Self::MisplacedFile => tree.insert("release-plugins/below/other.yaml", "a: 1\n"),
        }
        tree
    }

    fn break_plugin(self, repository: &Repository, tree: &mut Tree) {
        // The last one, because a conflict is shown at the later file.
        let [other, .., plugin] = &repository.plugins[..] else { return };
        let (text, name, version) = (plugin.text(), &plugin.name, &plugin.version);
        let replace = |from: &str, to: &str| text.replacen(from, to, 1);
        let port = format!("port: {}", plugin.port);
        let broken = match self {
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
        tree.insert(plugin.path(), broken);
    }

    fn break_hotfix(self, repository: &Repository, tree: &mut Tree) {
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
                let host = format!("'harbor.caicloud.xyz/release/{}:", hotfix.addon.name);
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

    fn break_addon(self, repository: &Repository, tree: &mut Tree) {
        let [other, .., addon] = &repository.addons[..] else { return };
        let text = addon.text(&addon.version);
        let image = format!("image: '[[ registry_release ]]/{}:{}'", addon.name, addon.version);
        let quoted = "value: '[[ registry_release ]]'";
        let broken = match self {
            Self::NoImage => {
                // The list would hold an image that nobody uses.
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
        tree.insert(addon.path(), broken);
    }

    fn break_list(self, repository: &Repository, tree: &mut Tree) {
        let list = repository.list();
        let Some(last) = list.lines().last() else { return };
        let broken = match self {
            Self::UnlistedImage => list.replacen(&format!("{last}\n"), "", 1),
            Self::UnusedImage => format!("{list}release/nobody-uses-this:v1.0.0\n"),
            Self::BrokenLine => format!("{list}library/php/7.1-apache\n"),
            _ => format!("{list}{last}\n"),
        };
        tree.insert("images-lists/platform.list", broken);
    }
}

/// The files of repositories that are broken in one way, and the way.
pub fn mutated_repositories() -> impl Strategy<Value = (Tree, Mutation)> {
    (repositories(), prop::sample::select(Mutation::ALL))
        .prop_map(|(repository, flaw)| (flaw.apply_to(&repository), flaw))
}
