//! The addon that a hotfix begins from.

use super::BumpError;
use crate::policy::Policy;
use crate::repository::{AddonFile, ReleaseRepository};
use crate::tree::{Tree, below};
use crate::version::ProductVersion;

/// The place of an addon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddonPlace {
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) leaf: String,
}

/// The product versions that a repository knows, ordered: those of its product manifests, and those
/// that the policy names. Versions of components are none, however they are written.
pub fn known_product_versions(tree: &Tree, policy: &Policy) -> Vec<ProductVersion> {
    let products = ReleaseRepository::products_of(tree, policy);
    let manifests = products.iter().filter_map(|product| product.stem.parse().ok());
    let mut known: Vec<_> = manifests.chain(policy.products.versions.iter().cloned()).collect();
    known.sort();
    known
}

/// The addon of a product version that has a name.
pub(super) fn find<'r>(
    release: &'r ReleaseRepository<'_>,
    name: &str,
    base: &ProductVersion,
) -> Result<&'r AddonFile, BumpError> {
    let addons = of_product(release, base);
    let by = |matches: &dyn Fn(&AddonFile) -> bool| -> Vec<&'r AddonFile> {
        addons.iter().copied().filter(|addon| matches(addon)).collect()
    };
    let place = |addon: &AddonFile| AddonPlace::of(release, addon);
    let named = |addon: &AddonFile| addon.values.name.as_ref().is_some_and(|n| n.value == name);
    let grouped = |addon: &AddonFile| place(addon).is_some_and(|place| place.grouped() == name);
    let leaf = |addon: &AddonFile| place(addon).is_some_and(|place| place.leaf == name);
    let path = |addon: &AddonFile| place(addon).is_some_and(|place| place.path() == name);
    let found = [by(&named), by(&grouped), by(&leaf), by(&path)];
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

/// The addons of a product version: those in the directory that its manifest names, otherwise all.
/// What an overlay puts over them belongs to one customer, and is nothing to begin from.
fn of_product<'r>(release: &'r ReleaseRepository<'_>, base: &ProductVersion) -> Vec<&'r AddonFile> {
    let is_base = |stem: &str| {
        stem.parse::<ProductVersion>().is_ok_and(|version| version.is_same_release(base))
    };
    let product = release.products.iter().find(|product| is_base(&product.stem));
    let directory = product.and_then(|product| product.manifest.addons_directory());
    let inside = |addon: &&AddonFile| {
        directory.is_none_or(|directory| below(addon.document.path(), directory).is_some())
    };
    release.addons.iter().filter(|addon| !addon.overlay).filter(inside).collect()
}

impl AddonPlace {
    /// What the addon's path says; the namespace may stand in its values instead. In the older
    /// layout, `<group>/<group>-<addon>.yaml`, it always does.
    pub(super) fn of(release: &ReleaseRepository<'_>, addon: &AddonFile) -> Option<Self> {
        let path = addon.document.path();
        let directories = release.policy.products.addons.iter().map(String::as_str);
        let mut directories = directories.chain([release.addon_directory(addon)]);
        let rest = directories.find_map(|directory| below(path, directory)).unwrap_or(path);
        let steps: Vec<&str> = rest.split('/').collect();
        let written = || addon.values.namespace.as_ref().map(|namespace| namespace.value.as_str());
        let (namespace, group, leaf) = match steps[..] {
            [.., namespace, group, leaf, "values.yaml"] => (namespace, group, leaf),
            [group, leaf, "values.yaml"] => (written()?, group, leaf),
            [.., group, file] if file != "values.yaml" => {
                let (stem, _) = file.rsplit_once('.')?;
                let leaf = stem.strip_prefix(group).and_then(|rest| rest.strip_prefix('-'));
                (written()?, group, leaf.unwrap_or(stem))
            }
            _ => return None,
        };
        // The values are anybody's text, and this becomes a path.
        let plain = [namespace, group, leaf].into_iter().all(is_directory_name);
        plain.then(|| Self {
            namespace: namespace.to_owned(),
            group: group.to_owned(),
            leaf: leaf.to_owned(),
        })
    }

    pub(super) fn grouped(&self) -> String {
        format!("{}-{}", self.group, self.leaf)
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.group, self.leaf)
    }

    /// Whether a package of this name is for the addon, as the rule `hotfix-path` has it.
    pub(super) fn may_be_named(&self, name: &str) -> bool {
        name == self.leaf || name == self.grouped()
    }
}

fn is_directory_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0']) && name.trim() == name
}
