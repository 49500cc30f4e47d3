//! A release repository, read as far as it could be: what the rules are given.

mod change;
mod document;
mod file_kind;
mod files;
mod hotfix_path;
mod load;
mod unread;

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::Policy;
use crate::product::ProductManifest;
use crate::tree::Tree;

pub(crate) use change::Change;
pub(crate) use document::Document;
pub(crate) use file_kind::FileKind;
pub(crate) use files::{AddonFile, HotfixFile, ListFile, PluginFile, ProductFile};
use load::ReadFile;
pub use unread::{files_to_read, unread_packed_files};

/// A release repository, read as far as it could be.
#[derive(Debug)]
pub(crate) struct ReleaseRepository<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) tree: &'p Tree,
    pub(crate) plugins: Vec<PluginFile>,
    pub(crate) hotfixes: Vec<HotfixFile>,
    pub(crate) addons: Vec<AddonFile>,
    pub(crate) products: Vec<ProductFile>,
    pub(crate) lists: Vec<ListFile>,
    /// Files that name the addons of an installation.
    pub(crate) descriptors: Vec<Document>,
    /// Files that say where addons are collected from.
    pub(crate) charts: Vec<Document>,
    /// Words for people beside the manifests.
    pub(crate) readmes: Vec<Document>,
    /// Files under a release directory that no kind claims.
    pub(crate) unexpected_files: Vec<String>,
    /// The addons of the product versions that hotfixes are based on, by version.
    pub(crate) base_addons: BTreeMap<String, Vec<AddonFile>>,
    /// What the change began from, where one is judged.
    pub(crate) change: Option<Change<'p>>,
}

impl<'p> ReleaseRepository<'p> {
    pub(crate) fn read(tree: &'p Tree, policy: &'p Policy) -> Self {
        Self::read_kinds(tree, policy, |_| true)
    }

    /// Reads product manifests, and of the other files only those of the wanted kinds.
    pub(crate) fn read_kinds(
        tree: &'p Tree,
        policy: &'p Policy,
        is_wanted: impl Fn(FileKind) -> bool + Sync,
    ) -> Self {
        let mut release = Self {
            policy,
            tree,
            plugins: Vec::new(),
            hotfixes: Vec::new(),
            addons: Vec::new(),
            products: Vec::new(),
            lists: Vec::new(),
            descriptors: Vec::new(),
            charts: Vec::new(),
            readmes: Vec::new(),
            unexpected_files: Vec::new(),
            base_addons: BTreeMap::new(),
            change: None,
        };
        release.products = Self::products_of(tree, policy);
        for file in load::read_all(tree, policy, &release.products, is_wanted) {
            release.take(file);
        }
        release
    }

    /// The product manifests that have been read. They come first: they name addon directories and
    /// image lists.
    pub(crate) fn products_of(tree: &Tree, policy: &Policy) -> Vec<ProductFile> {
        let files = tree.files();
        let products =
            files.filter(|(path, _)| FileKind::of(path, policy, &[]) == FileKind::Product);
        products.map(|(path, bytes)| ProductFile::read(path, bytes)).collect()
    }

    fn take(&mut self, file: ReadFile) {
        match file {
            ReadFile::Plugin(file) => self.plugins.push(file),
            ReadFile::Hotfix(file) => self.hotfixes.push(file),
            ReadFile::Addon(file) => self.addons.push(file),
            ReadFile::List(file) => self.lists.push(file),
            ReadFile::Descriptor(document) => self.descriptors.push(document),
            ReadFile::Charts(document) => self.charts.push(document),
            ReadFile::Readme(document) => self.readmes.push(document),
            ReadFile::Unexpected(path) => self.unexpected_files.push(path),
        }
    }

    /// What a file of this repository is, by its place.
    pub(crate) fn kind_of(&self, path: &str) -> FileKind {
        FileKind::of(path, self.policy, &self.products)
    }

    /// The directory that a product manifest names for its addons, where this addon is in one.
    pub(crate) fn addon_directory<'r>(&'r self, addon: &AddonFile) -> &'r str {
        let path = addon.document.path();
        let mut manifests = self.products.iter().map(|product| &product.manifest);
        let holds = manifests.find(|manifest| manifest.path_in_addons(path).is_some());
        holds.and_then(ProductManifest::addons_directory).unwrap_or_default()
    }

    /// Whether another thread would cost more than it gains.
    pub(crate) fn is_small(&self) -> bool {
        self.sources().count() < 2 * load::FILES_AT_ONCE
    }

    /// All YAML documents.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> {
        let plugins = self.plugins.iter().map(|file| &file.document);
        let products = self.products.iter().map(|file| &file.document);
        let others = self.descriptors.iter().chain(&self.charts);
        plugins.chain(self.addon_documents()).chain(products).chain(others)
    }

    /// The documents of addons and hotfixes.
    pub(crate) fn addon_documents(&self) -> impl Iterator<Item = &Document> {
        let hotfixes = self.hotfixes.iter().map(|file| &file.document);
        hotfixes.chain(self.addons.iter().map(|file| &file.document))
    }

    /// Every document whose text a finding may show.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Document> {
        let lists = self.lists.iter().map(|list| &list.document);
        self.documents().chain(lists).chain(&self.readmes)
    }

    /// The addons that one product installs: those of overlays replace others of the same name.
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
