//! Loads a release repository, which is the input of rules, inventory and bumps.

mod change;
mod document;
mod file_kind;
mod files;
mod hotfix_path;
mod load;
mod unread;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::policy::Policy;
use crate::product::ProductManifest;
use crate::tree::Tree;

pub(crate) use change::Change;
pub use document::Document;
pub(crate) use file_kind::FileKind;
pub(crate) use files::ValuesFile;
pub use files::{AddonFile, HotfixFile, ListFile, PluginFile, ProductFile};
pub(crate) use hotfix_path::HotfixPath;
use load::LoadedFile;
pub use unread::{files_to_read, unread_packed_files};

/// A release repository with its files parsed.
///
/// A command loads the repository once, and then uses it for the rules
/// ([`Check`](crate::Check)), the [`inventory`](crate::inventory) and [`bump`](crate::bump). Files
/// that cannot be parsed are kept with their errors, which the rules report.
///
/// ```
/// use compass_manifest::{Check, Policy, ReleaseRepository, Tree, inventory};
///
/// let tree: Tree = [("release-plugins/gpu.yaml", "metadata: {name: cpu}\nspec: {}\n")]
///     .into_iter()
///     .collect();
/// let repository = ReleaseRepository::load(tree, Policy::default());
/// assert_eq!(inventory::plugins(&repository)[0].name, "gpu");
/// assert!(!Check::new(&repository).run().passes());
/// ```
#[derive(Debug)]
pub struct ReleaseRepository {
    pub(crate) policy: Arc<Policy>,
    pub(crate) tree: Tree,
    pub(crate) plugins: Vec<PluginFile>,
    pub(crate) hotfixes: Vec<HotfixFile>,
    pub(crate) addons: Vec<AddonFile>,
    pub(crate) products: Vec<ProductFile>,
    pub(crate) lists: Vec<ListFile>,
    /// Files that name the addons of an installation.
    pub(crate) descriptors: Vec<Document>,
    /// Files that name the git repository and tag of each addon.
    pub(crate) charts: Vec<Document>,
    pub(crate) readmes: Vec<Document>,
    /// Files in a release directory whose kind is [`FileKind::Unexpected`].
    pub(crate) unexpected_files: Vec<String>,
}

impl ReleaseRepository {
    /// Parses the files of `tree`, which `policy` classifies, on all processors.
    ///
    /// Files without content ([`Tree::insert_unread`]) are not parsed;
    /// [`files_to_read`] names those that must have it.
    pub fn load(tree: Tree, policy: impl Into<Arc<Policy>>) -> Self {
        let policy = policy.into();
        let mut repository = Self {
            products: Self::products_of(&tree, &policy),
            policy,
            tree,
            plugins: Vec::new(),
            hotfixes: Vec::new(),
            addons: Vec::new(),
            lists: Vec::new(),
            descriptors: Vec::new(),
            charts: Vec::new(),
            readmes: Vec::new(),
            unexpected_files: Vec::new(),
        };
        for file in load::load_all(&repository.tree, &repository.policy, &repository.products) {
            repository.add(file);
        }
        repository
    }

    /// Parses the same files again with another policy.
    pub(crate) fn reload(&self, policy: &Arc<Policy>) -> Self {
        Self::load(self.tree.clone(), Arc::clone(policy))
    }

    /// Returns the files, parsed or not.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the policy that classified the files.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the plugin manifests, ordered by path.
    pub fn plugins(&self) -> &[PluginFile] {
        &self.plugins
    }

    /// Returns the values of the hotfixes, ordered by path.
    pub fn hotfixes(&self) -> &[HotfixFile] {
        &self.hotfixes
    }

    /// Returns the values of the addons, ordered by path.
    pub fn addons(&self) -> &[AddonFile] {
        &self.addons
    }

    /// Returns the product manifests, ordered by path.
    pub fn products(&self) -> &[ProductFile] {
        &self.products
    }

    /// Returns the image lists, ordered by path.
    pub fn image_lists(&self) -> &[ListFile] {
        &self.lists
    }

    /// Returns whether the policy or a product manifest names the file as an image list.
    pub fn is_image_list(&self, path: &str) -> bool {
        self.kind_of(path) == FileKind::ImageList
    }

    /// Returns the product manifests of a tree.
    ///
    /// They are parsed before the other files, because they name addon directories and image lists.
    pub(crate) fn products_of(tree: &Tree, policy: &Policy) -> Vec<ProductFile> {
        let files = tree.files();
        let products =
            files.filter(|(path, _)| FileKind::of(path, policy, &[]) == FileKind::Product);
        products.map(|(path, bytes)| ProductFile::read(path, bytes)).collect()
    }

    fn add(&mut self, file: LoadedFile) {
        match file {
            LoadedFile::Plugin(file) => self.plugins.push(file),
            LoadedFile::Hotfix(file) => self.hotfixes.push(file),
            LoadedFile::Addon(file) => self.addons.push(file),
            LoadedFile::List(file) => self.lists.push(file),
            LoadedFile::Descriptor(document) => self.descriptors.push(document),
            LoadedFile::Charts(document) => self.charts.push(document),
            LoadedFile::Readme(document) => self.readmes.push(document),
            LoadedFile::Unexpected(path) => self.unexpected_files.push(path),
        }
    }

    /// Returns the kind of a file of this repository, by its path.
    pub(crate) fn kind_of(&self, path: &str) -> FileKind {
        FileKind::of(path, &self.policy, &self.products)
    }

    /// Returns the addon directory of a product manifest that contains an addon.
    ///
    /// Returns an empty path if no product manifest names a directory that contains the addon.
    pub(crate) fn addon_directory<'r>(&'r self, addon: &AddonFile) -> &'r str {
        let path = addon.document.path();
        let mut manifests = self.products.iter().map(|product| &product.manifest);
        let manifest = manifests.find(|manifest| manifest.path_in_addons(path).is_some());
        manifest.and_then(ProductManifest::addons_directory).unwrap_or_default()
    }

    /// Returns whether the repository is small.
    ///
    /// For a small repository, a second thread costs more than it saves.
    pub(crate) fn is_small(&self) -> bool {
        self.sources().count() < 2 * load::FILES_PER_CHUNK
    }

    /// Returns all YAML documents.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> {
        let plugins = self.plugins.iter().map(|file| &file.document);
        let products = self.products.iter().map(|file| &file.document);
        let others = self.descriptors.iter().chain(&self.charts);
        plugins.chain(self.addon_documents()).chain(products).chain(others)
    }

    /// Returns the documents of addons and hotfixes.
    pub(crate) fn addon_documents(&self) -> impl Iterator<Item = &Document> {
        let hotfixes = self.hotfixes.iter().map(|file| &file.document);
        hotfixes.chain(self.addons.iter().map(|file| &file.document))
    }

    /// Returns the values of hotfixes and addons, with their documents.
    pub(crate) fn values_files(&self) -> impl Iterator<Item = ValuesFile<'_>> {
        let hotfixes = self.hotfixes.iter().map(HotfixFile::values_file);
        hotfixes.chain(self.addons.iter().map(AddonFile::values_file))
    }

    /// Returns every document that a finding may point into.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Document> {
        let lists = self.lists.iter().map(|list| &list.document);
        self.documents().chain(lists).chain(&self.readmes)
    }

    /// Returns the addons that are installed.
    ///
    /// An addon in an overlay directory replaces the addon of the same name.
    pub(crate) fn installed_addons(&self) -> Vec<&AddonFile> {
        let overlays = self.addons.iter().filter(|addon| addon.overlay);
        let named = overlays.filter_map(|addon| addon.values.name.as_ref());
        let replacing: BTreeSet<&str> = named.map(|name| name.value.as_str()).collect();
        let replaced = |addon: &AddonFile| {
            let name = addon.values.name.as_ref();
            !addon.overlay && name.is_some_and(|name| replacing.contains(name.value.as_str()))
        };
        self.addons.iter().filter(|addon| !replaced(addon)).collect()
    }
}
