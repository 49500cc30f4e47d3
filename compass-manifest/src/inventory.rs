//! Lists the plugins, hotfixes, products and images of a release repository.

use std::sync::Arc;

use crate::addon::AddonValues;
use crate::image_refs::{ImageUse, resolve_list_entry};
use crate::plugin::PluginManifest;
use crate::policy::Policy;
use crate::product::ProductManifest;
use crate::repository::{Document, HotfixFile, ListFile, ProductFile, ReleaseRepository};
use crate::source::SourceFile;
use crate::version::ProductVersion;
use crate::yaml::SyntaxError;

/// A hotfix: the fields of its path and of its values.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hotfix {
    /// The values file.
    pub source: SourceFile,
    /// The directory of the package, from the repository's root.
    pub package: String,
    /// The addon that the hotfix patches: from the path, otherwise from the values.
    pub addon: Option<String>,
    /// The version of the package: from the path, otherwise from the values.
    pub version: Option<String>,
    /// The product version that the hotfix is for.
    pub base: Option<String>,
    /// The date, in the format `YYYYMMDD`.
    pub date: Option<String>,
    /// The namespace: from the path, otherwise from the values.
    pub namespace: Option<String>,
    /// The values.
    pub values: AddonValues,
    /// The images that the values use, in file order.
    pub images: Vec<FileImage>,
}

/// A plugin: its manifest, and the images that it uses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plugin {
    /// The plugin manifest's file.
    pub source: SourceFile,
    /// The file name without its extension.
    pub name: String,
    /// The plugin manifest.
    pub manifest: PluginManifest,
    /// The images that the manifest uses, in file order.
    pub images: Vec<FileImage>,
}

/// A product: its manifest, and the files and images that it contains.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Product {
    /// The product manifest's file.
    pub source: SourceFile,
    /// The product manifest.
    pub manifest: ProductManifest,
    /// The paths of its image lists.
    pub lists: Vec<String>,
    /// The images of its image lists, then those of the addons in its directory.
    pub images: Vec<FileImage>,
}

/// A use of an image, with its file and line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FileImage {
    /// The file's path.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The field, the reference and the resolved image.
    pub image_use: ImageUse,
}

/// Returns all hotfixes, ordered by path.
///
/// ```
/// use compass_manifest::{Policy, ReleaseRepository, Tree, inventory};
///
/// let tree: Tree = [(
///     "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml",
///     "_config: {_metadata: {name: web, version: v2.7.0-20180605-p1}}\n",
/// )]
/// .into_iter()
/// .collect();
/// let repository = ReleaseRepository::load(tree, Policy::default());
/// let hotfix = &inventory::hotfixes(&repository)[0];
/// assert_eq!(hotfix.addon.as_deref(), Some("web"));
/// assert_eq!(hotfix.namespace.as_deref(), Some("default"));
/// ```
pub fn hotfixes(repository: &ReleaseRepository) -> Vec<Hotfix> {
    repository.hotfixes.iter().map(|file| hotfix(file, &repository.policy)).collect()
}

/// Returns all plugin manifests, ordered by path. Several may have the same name.
///
/// ```
/// use compass_manifest::{Policy, ReleaseRepository, Tree, inventory};
///
/// let text = "\
/// metadata: {name: gpu}
/// spec:
///   version: v0.1.0
///   service:
///     image: harbor.example/release/compass-plugins-gpu:v0.1.0
///     configs:
///       envs: [{name: JOB, value: '--image=harbor.example/release/gpu-job:v0.1.0'}]
/// ";
/// let tree: Tree = [("release-plugins/gpu.yaml", text)].into_iter().collect();
/// let repository = ReleaseRepository::load(tree, Policy::default());
/// let plugins = inventory::plugins(&repository);
/// assert_eq!(plugins[0].name, "gpu");
/// assert_eq!(plugins[0].images.len(), 2);
/// ```
pub fn plugins(repository: &ReleaseRepository) -> Vec<Plugin> {
    let plugins = repository.plugins.iter().map(|file| Plugin {
        images: document_images(&file.document, &repository.policy),
        name: file.stem.clone(),
        manifest: file.manifest.clone(),
        source: file.document.source.clone(),
    });
    plugins.collect()
}

/// Returns the products of a version, ordered by path.
///
/// Several manifests may have the same version.
pub fn products(repository: &ReleaseRepository, version: &ProductVersion) -> Vec<Product> {
    let has_version = |product: &&ProductFile| {
        product.version().is_some_and(|named| named.is_same_release(version))
    };
    let products = repository.products.iter().filter(has_version);
    products.map(|file| product(file, repository)).collect()
}

/// Returns the images of all plugins, hotfixes and addons, ordered by file.
pub fn images(repository: &ReleaseRepository) -> Vec<FileImage> {
    let mut documents: Vec<&Document> = repository.addon_documents().collect();
    documents.extend(repository.plugins.iter().map(|file| &file.document));
    documents.sort_by(|one, two| one.path().cmp(two.path()));
    let images = documents.into_iter();
    images.flat_map(|document| document_images(document, &repository.policy)).collect()
}

/// Returns the images that one YAML file uses, in file order.
///
/// # Errors
/// Returns the line, from 1, and the error if the file cannot be parsed.
pub fn file_images(
    path: &str,
    bytes: &[u8],
    policy: &Policy,
) -> Result<Vec<FileImage>, (usize, SyntaxError)> {
    let document = Document::read(path, bytes);
    match document.root {
        Ok(_) => Ok(document_images(&document, policy)),
        Err(error) => Err((document.source.position(error.span.start).line, error)),
    }
}

/// Returns the images of an image list, in file order.
///
/// # Errors
/// Returns the line, from 1, and the error if the list is not UTF-8 text.
pub fn list_images(
    path: &str,
    bytes: &[u8],
    policy: &Policy,
) -> Result<Vec<FileImage>, (usize, SyntaxError)> {
    let list = ListFile::read(path, bytes);
    match &list.unreadable {
        None => Ok(listed_images(&list, policy)),
        Some(error) => Err((list.document.source.position(error.span.start).line, error.clone())),
    }
}

impl Product {
    /// Returns whether the product contains a file.
    ///
    /// For a symbolic link, returns whether the product contains files below its path.
    pub fn includes(&self, path: &str, policy: &Policy) -> bool {
        let is_at_or_below = |named: &str| {
            named.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let manifest = &self.manifest;
        let patterns = manifest.list_patterns().filter_map(|(_, pattern)| pattern.ok());
        let mut is_list =
            patterns.map(|pattern| pattern.matches(path) || pattern.may_match_below(path));
        let mut sources = manifest.files.iter().filter_map(|file| file.source.as_ref());
        let is_overlay = || policy.products.is_overlay(path);
        path == self.source.path()
            || is_list.any(|is_list| is_list)
            || manifest.path_in_addons(path).is_some()
            || sources.any(|source| is_at_or_below(&source.value))
            || manifest.addons_directory().is_some_and(|it| is_at_or_below(it) || is_overlay())
    }
}

fn hotfix(file: &HotfixFile, policy: &Policy) -> Hotfix {
    let path = file.path.clone();
    let own_namespace = file.values.namespace.as_ref().map(|namespace| namespace.value.clone());
    Hotfix {
        addon: file.addon().map(str::to_owned),
        version: file.version().map(str::to_owned),
        package: path.package,
        base: path.base,
        date: path.date,
        namespace: path.namespace.or(own_namespace),
        values: file.values.clone(),
        images: document_images(&file.document, policy),
        source: file.document.source.clone(),
    }
}

fn product(product: &ProductFile, repository: &ReleaseRepository) -> Product {
    let policy = &repository.policy;
    let lists = repository.lists.iter().filter(|list| product.lists(list.document.path()));
    let lists: Vec<_> = lists.collect();
    let mut images: Vec<_> = lists.iter().flat_map(|list| listed_images(list, policy)).collect();
    if let Some(directory) = product.manifest.addons_directory() {
        for addon in repository.installed_addons() {
            if repository.addon_directory(addon) == directory || addon.overlay {
                images.extend(document_images(&addon.document, policy));
            }
        }
    }
    Product {
        source: product.document.source.clone(),
        manifest: product.manifest.clone(),
        lists: lists.iter().map(|list| list.document.path().to_owned()).collect(),
        images,
    }
}

fn document_images(document: &Document, policy: &Policy) -> Vec<FileImage> {
    file_uses(&document.source, document.images(policy).iter().cloned())
}

fn listed_images(list: &ListFile, policy: &Policy) -> Vec<FileImage> {
    let uses = list.images.iter().map(|entry| resolve_list_entry(entry, policy));
    file_uses(&list.document.source, uses)
}

fn file_uses(source: &SourceFile, uses: impl Iterator<Item = ImageUse>) -> Vec<FileImage> {
    let file: Arc<str> = source.path().into();
    let uses = uses.map(|image_use| FileImage {
        file: Arc::clone(&file),
        line: source.position(image_use.span.start).line,
        image_use,
    });
    uses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_images_lines_are_resolved() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let list = format!(
            "\u{feff}# images\r\n\r\n  library/php:7.1 \t\r\nteam.x/a/b:v1\n#library/no:1\nlibrary/redis:7@{digest}\nlibrary/mysql@{digest}"
        );
        let policy = "version: 1\nregistries: {projects: {team.x: {source: x, release: y}}}\n";
        let policy = Policy::parse(&SourceFile::new(".compass.yaml", policy)).unwrap();
        let images = list_images("a.list", list.as_bytes(), &policy).unwrap();
        let shown: Vec<_> = images
            .iter()
            .map(|image| {
                format!(
                    "{} {}",
                    image.line,
                    image.image_use.image.as_ref().unwrap().release_reference(&policy)
                )
            })
            .collect();
        let release = "harbor.example";
        assert_eq!(
            shown,
            [
                format!("3 {release}/library/php:7.1"),
                format!("4 {release}/y/a/b:v1"),
                format!("6 {release}/library/redis:7@{digest}"),
                format!("7 {release}/library/mysql@{digest}"),
            ]
        );
    }
}
