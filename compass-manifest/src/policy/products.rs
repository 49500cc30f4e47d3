use super::pattern::Pattern;
use super::value::{TEXTS, ValueError, directories, one_or_more, value_error};
use crate::escape::quote;
use crate::schema::{Table, optional};
use crate::tree::below_any;
use crate::version::ProductVersion;
use crate::yaml::Node;

/// The settings for products and their addons.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProductPolicy {
    /// The directories of the product manifests.
    pub directories: Vec<String>,
    /// The released product versions, in addition to those of manifests and git tags.
    pub versions: Vec<ProductVersion>,
    /// The directories of the addons.
    pub addons: Vec<String>,
    /// The directories whose addons replace addons of the same name.
    pub overlays: Vec<String>,
    /// The image lists.
    pub image_lists: Vec<Pattern>,
    /// The image lists that contain only images of addons.
    pub addon_lists: Vec<Pattern>,
    /// The files that name the addons of an installation.
    pub descriptors: Vec<Pattern>,
    /// The files that name the git repository and tag of each addon.
    pub chart_lists: Vec<Pattern>,
}

impl Default for ProductPolicy {
    fn default() -> Self {
        Self {
            directories: vec!["release-products".to_owned()],
            versions: Vec::new(),
            addons: vec!["addons".to_owned()],
            overlays: Vec::new(),
            image_lists: vec![Pattern::of("images-lists/*.list")],
            addon_lists: vec![Pattern::of("*")],
            descriptors: Vec::new(),
            chart_lists: Vec::new(),
        }
    }
}

impl ProductPolicy {
    /// Returns whether a file is in an overlay directory.
    pub(crate) fn is_overlay(&self, path: &str) -> bool {
        below_any(path, &self.overlays).is_some()
    }
}

pub(super) const FIELDS: Table<ProductPolicy, ValueError> = Table(&[
    optional("directory", TEXTS)
        .try_set(|it, node| directories(node).map(|all| it.directories = all)),
    optional("versions", TEXTS).try_set(|it, node| versions(node).map(|all| it.versions = all)),
    optional("addons", TEXTS).try_set(|it, node| directories(node).map(|all| it.addons = all)),
    optional("overlays", TEXTS).try_set(|it, node| directories(node).map(|all| it.overlays = all)),
    optional("image_lists", TEXTS)
        .try_set(|it, node| Pattern::paths(node).map(|all| it.image_lists = all)),
    optional("addon_lists", TEXTS)
        .try_set(|it, node| Pattern::paths(node).map(|all| it.addon_lists = all)),
    optional("descriptors", TEXTS)
        .try_set(|it, node| Pattern::paths(node).map(|all| it.descriptors = all)),
    optional("chart_lists", TEXTS)
        .try_set(|it, node| Pattern::paths(node).map(|all| it.chart_lists = all)),
]);

fn versions(node: &Node) -> Result<Vec<ProductVersion>, ValueError> {
    let version = |node: &Node| {
        let text = node.text().unwrap_or_default();
        text.parse().map_err(|_| {
            let message = format!("{} is not a product version", quote(text));
            value_error(node.span, message, "write it like `v2.7.0`")
        })
    };
    one_or_more(node).iter().map(version).collect()
}
