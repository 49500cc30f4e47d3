//! Finds the addon that a hotfix patches.

use super::BumpError;
use crate::repository::{AddonFile, ReleaseRepository};
use crate::tree::below;
use crate::version::ProductVersion;

/// The directories of an addon: `<namespace>/<group>/<leaf>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddonPath {
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) leaf: String,
}

/// Returns the product versions of the product manifests and of the policy, sorted.
pub fn known_product_versions(repository: &ReleaseRepository) -> Vec<ProductVersion> {
    let manifests = repository.products.iter().filter_map(|product| product.stem.parse().ok());
    let configured = repository.policy.products.versions.iter().cloned();
    let mut known: Vec<_> = manifests.chain(configured).collect();
    known.sort();
    known
}

/// Finds the addon of a product version by its name, otherwise by its path.
pub(super) fn find<'r>(
    repository: &'r ReleaseRepository,
    name: &str,
    base: &ProductVersion,
) -> Result<&'r AddonFile, BumpError> {
    let addons = product_addons(repository, base);
    let matching = |matches: &dyn Fn(&AddonFile) -> bool| -> Vec<&'r AddonFile> {
        addons.iter().copied().filter(|addon| matches(addon)).collect()
    };
    let path_is = |addon: &AddonFile, matches: fn(&AddonPath, &str) -> bool| {
        AddonPath::of(repository, addon).is_some_and(|path| matches(&path, name))
    };
    let found = [
        matching(&|addon| addon.values.name.as_ref().is_some_and(|own| own.value == name)),
        matching(&|addon| path_is(addon, |path, name| path.grouped_name() == name)),
        matching(&|addon| path_is(addon, |path, name| path.leaf == name)),
        matching(&|addon| path_is(addon, |path, name| path.to_path() == name)),
    ];
    match found.iter().find(|found| !found.is_empty()).map(Vec::as_slice) {
        Some([addon]) => Ok(addon),
        Some(several) => Err(BumpError::AmbiguousAddon {
            addon: name.to_owned(),
            candidates: several.iter().map(|addon| addon.document.path().to_owned()).collect(),
        }),
        None => {
            let mut known: Vec<_> = addons.iter().map(|addon| addon.name().to_owned()).collect();
            known.sort_unstable();
            known.dedup();
            Err(BumpError::UnknownAddon { addon: name.to_owned(), base: base.clone(), known })
        }
    }
}

/// Returns the addons that a hotfix of a product version may patch.
///
/// They are in the directory that the manifest of the product version names; if it names none, all
/// addons are returned. Overlays belong to one customer, so hotfixes do not patch them.
fn product_addons<'r>(
    repository: &'r ReleaseRepository,
    base: &ProductVersion,
) -> Vec<&'r AddonFile> {
    let is_base = |stem: &str| {
        stem.parse::<ProductVersion>().is_ok_and(|version| version.is_same_release(base))
    };
    let product = repository.products.iter().find(|product| is_base(&product.stem));
    let directory = product.and_then(|product| product.manifest.addons_directory());
    let inside = |addon: &&AddonFile| {
        directory.is_none_or(|directory| below(addon.document.path(), directory).is_some())
    };
    repository.addons.iter().filter(|addon| !addon.overlay).filter(inside).collect()
}

impl AddonPath {
    /// Splits the path of an addon.
    ///
    /// If the path has no namespace, the namespace comes from the values. A path in the older
    /// layout, `<group>/<group>-<addon>.yaml`, never has one.
    pub(super) fn of(repository: &ReleaseRepository, addon: &AddonFile) -> Option<Self> {
        let path = addon.document.path();
        let directories = repository.policy.products.addons.iter().map(String::as_str);
        let mut directories = directories.chain([repository.addon_directory(addon)]);
        let rest = directories.find_map(|directory| below(path, directory)).unwrap_or(path);
        let elements: Vec<&str> = rest.split('/').collect();
        let written = || addon.values.namespace.as_ref().map(|namespace| namespace.value.as_str());
        let (namespace, group, leaf) = match elements[..] {
            [.., namespace, group, leaf, "values.yaml"] => (namespace, group, leaf),
            [group, leaf, "values.yaml"] => (written()?, group, leaf),
            [.., group, file] if file != "values.yaml" => {
                let (stem, _) = file.rsplit_once('.')?;
                let leaf = stem.strip_prefix(group).and_then(|rest| rest.strip_prefix('-'));
                (written()?, group, leaf.unwrap_or(stem))
            }
            _ => return None,
        };
        // The namespace may come from the values, which are untrusted, and becomes the name of a
        // directory.
        let is_safe = [namespace, group, leaf].into_iter().all(is_directory_name);
        is_safe.then(|| Self {
            namespace: namespace.to_owned(),
            group: group.to_owned(),
            leaf: leaf.to_owned(),
        })
    }

    pub(super) fn grouped_name(&self) -> String {
        format!("{}-{}", self.group, self.leaf)
    }

    pub(super) fn to_path(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.group, self.leaf)
    }

    /// Returns whether the rule `hotfix-path` accepts a name for a package of the addon.
    pub(super) fn accepts_name(&self, name: &str) -> bool {
        name == self.leaf || name == self.grouped_name()
    }
}

fn is_directory_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0']) && name.trim() == name
}
