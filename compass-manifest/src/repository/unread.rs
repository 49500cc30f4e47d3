//! Determines the files whose content is needed to load a repository.

use super::{FileKind, ProductFile, ReleaseRepository};
use crate::policy::{POLICY_FILE, Policy};
use crate::tree::{EntryKind, Tree};

/// Returns the files without content that the rules need, ordered by path.
///
/// A product manifest names image lists, so its content may make further files necessary. Callers
/// add contents with [`Tree::insert`], and repeat the call until it returns nothing.
///
/// ```
/// use compass_manifest::{Policy, Tree, files_to_read};
///
/// let mut tree = Tree::new();
/// for path in ["release-products/v2.7.0.yaml", "lists/extra.txt", "docs/x.yaml"] {
///     tree.insert_unread(path, "");
/// }
/// let policy = Policy::default();
/// assert_eq!(files_to_read(&tree, &policy), ["release-products/v2.7.0.yaml"]);
///
/// let product = "metadata: {name: x}\nspec: {version: v2.7.0, imageLists: [lists/extra.txt]}\n";
/// tree.insert("release-products/v2.7.0.yaml", product);
/// assert_eq!(files_to_read(&tree, &policy), ["lists/extra.txt"]);
///
/// tree.insert("lists/extra.txt", "library/redis:7.2\n");
/// assert!(files_to_read(&tree, &policy).is_empty());
/// ```
pub fn files_to_read(tree: &Tree, policy: &Policy) -> Vec<String> {
    let products = ReleaseRepository::products_of(tree, policy);
    unread(tree, |path| is_needed(path, policy, &products))
}

/// Returns the files without content that product packages need, ordered by path.
///
/// Callers mark the Git LFS pointers among them ([`is_lfs_pointer`](crate::is_lfs_pointer)) as
/// [`EntryKind::LfsPointer`]. The rules do not read the content of these files.
pub fn unread_packed_files(tree: &Tree, policy: &Policy) -> Vec<String> {
    let products = ReleaseRepository::products_of(tree, policy);
    unread(tree, |path| products.iter().any(|product| product.manifest.packs(path)))
}

fn unread(tree: &Tree, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let files = tree.entries().filter(|(_, kind)| *kind == EntryKind::File);
    let unread = files.map(|(path, _)| path).filter(|path| tree.get(path).is_none());
    unread.filter(|path| is_wanted(path)).map(str::to_owned).collect()
}

fn is_needed(path: &str, policy: &Policy, products: &[ProductFile]) -> bool {
    match FileKind::of(path, policy, products) {
        _ if path == POLICY_FILE => true,
        FileKind::Unexpected | FileKind::Other => false,
        // The kind includes hidden files such as `.gitkeep`, whose content no rule needs.
        FileKind::Readme => !path.rsplit('/').next().unwrap_or(path).starts_with('.'),
        _ => true,
    }
}
