//! What a release repository holds: hotfixes, addons, and the images that they use.

use std::sync::Arc;

use crate::addon::AddonValues;
use crate::image_refs::ImageUse;
use crate::plugin::PluginManifest;
use crate::policy::Policy;
use crate::product::ProductManifest;
use crate::repository::{Document, FileKind, HotfixFile, ListFile, ProductFile, ReleaseRepository};
use crate::source::SourceFile;
use crate::tree::Tree;
use crate::version::ProductVersion;
use crate::yaml::SyntaxError;

/// A hotfix: what its path says, and what its values say.
#[derive(Debug, Clone)]
pub struct Hotfix {
    /// The values file.
    pub source: SourceFile,
    /// The directory of the package, from the repository's root.
    pub package: String,
    /// The addon that it patches: as the path has it, otherwise as the values have it.
    pub addon: Option<String>,
    /// The version of the package: as the path has it, otherwise as the values have it.
    pub version: Option<String>,
    /// The product version that it is for.
    pub base: Option<String>,
    /// The day, as `YYYYMMDD`.
    pub date: Option<String>,
    /// The namespace: as the path has it, otherwise as the values have it.
    pub namespace: Option<String>,
    /// The values.
    pub values: AddonValues,
    /// The images that it uses, in order.
    pub images: Vec<ImageUse>,
}

/// A plugin: its manifest, and the images that it uses.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The plugin manifest's file.
    pub source: SourceFile,
    /// The file name without its ending.
    pub name: String,
    /// The plugin manifest.
    pub manifest: PluginManifest,
    /// The images that it uses, in order.
    pub images: Vec<FileImage>,
}

/// An image, and the file that uses it.
#[derive(Debug, Clone)]
pub struct FileImage {
    /// The file's path.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The image, and where it stands.
    pub image_use: ImageUse,
}

/// All hotfixes, ordered by path.
///
/// ```
/// use compass_manifest::{Policy, Tree, inventory};
///
/// let tree: Tree = [(
///     "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml",
///     "_config: {_metadata: {name: web, version: v2.7.0-20180605-p1}}\n",
/// )]
/// .into_iter()
/// .collect();
/// let hotfix = &inventory::hotfixes(&tree, &Policy::default())[0];
/// assert_eq!(hotfix.addon.as_deref(), Some("web"));
/// assert_eq!(hotfix.namespace.as_deref(), Some("default"));
/// ```
pub fn hotfixes(tree: &Tree, policy: &Policy) -> Vec<Hotfix> {
    let release = ReleaseRepository::read_kinds(tree, policy, |kind| kind == FileKind::Hotfix);
    release.hotfixes.into_iter().map(|file| hotfix(file, policy)).collect()
}

/// All plugin manifests, ordered by path: several may be of one plugin.
///
/// ```
/// use compass_manifest::{Policy, Tree, inventory};
///
/// let text = "\
/// metadata: {name: gpu}
/// spec:
///   version: v0.1.0
///   service:
///     image: harbor.caicloud.xyz/release/compass-plugins-gpu:v0.1.0
///     configs:
///       envs: [{name: JOB, value: '--image=harbor.caicloud.xyz/release/gpu-job:v0.1.0'}]
/// ";
/// let tree: Tree = [("release-plugins/gpu.yaml", text)].into_iter().collect();
/// let plugins = inventory::plugins(&tree, &Policy::default());
/// assert_eq!(plugins[0].name, "gpu");
/// assert_eq!(plugins[0].images.len(), 2);
/// ```
pub fn plugins(tree: &Tree, policy: &Policy) -> Vec<Plugin> {
    let release = ReleaseRepository::read_kinds(tree, policy, |kind| kind == FileKind::Plugin);
    let plugins = release.plugins.into_iter().map(|file| Plugin {
        images: document_images(&file.document, policy),
        name: file.stem,
        manifest: file.manifest,
        source: file.document.source,
    });
    plugins.collect()
}

/// The images of all plugins, hotfixes and addons, in the order of the files.
pub fn images(tree: &Tree, policy: &Policy) -> Vec<FileImage> {
    let release = ReleaseRepository::read(tree, policy);
    let mut documents: Vec<&Document> = release.addon_documents().collect();
    documents.extend(release.plugins.iter().map(|file| &file.document));
    documents.sort_by(|one, two| one.path().cmp(two.path()));
    documents.into_iter().flat_map(|document| document_images(document, policy)).collect()
}

/// A product: its manifest, and what it consists of.
#[derive(Debug, Clone)]
pub struct Product {
    /// The product manifest's file.
    pub source: SourceFile,
    /// The product manifest.
    pub manifest: ProductManifest,
    /// The paths of its image lists.
    pub lists: Vec<String>,
    /// The images of its image lists, and of the addons in its directory, in order.
    pub images: Vec<FileImage>,
}

impl Product {
    /// Whether the product consists of a file, or of files behind it if it is a link.
    pub fn includes(&self, path: &str, policy: &Policy) -> bool {
        let leads_to = |named: &str| {
            named.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let manifest = &self.manifest;
        let is_list = manifest.list_patterns().filter_map(|(_, pattern)| pattern.ok());
        let mut is_list =
            is_list.map(|pattern| pattern.matches(path) || pattern.may_match_below(path));
        let mut sources = manifest.files.iter().filter_map(|file| file.source.as_ref());
        path == self.source.path()
            || is_list.any(|is_list| is_list)
            || manifest.path_in_addons(path).is_some()
            || sources.any(|source| leads_to(&source.value))
            || manifest
                .addons_directory()
                .is_some_and(|directory| leads_to(directory) || policy.products.is_overlay(path))
    }
}

/// The products of a version, ordered by path: one, unless several manifests have it.
pub fn products(tree: &Tree, policy: &Policy, version: &ProductVersion) -> Vec<Product> {
    let release = ReleaseRepository::read(tree, policy);
    let is_meant = |product: &&ProductFile| {
        product.version().is_some_and(|named| named.is_same_release(version))
    };
    release.products.iter().filter(is_meant).map(|file| product(file, &release)).collect()
}

fn product(product: &ProductFile, release: &ReleaseRepository<'_>) -> Product {
    let policy = release.policy;
    let lists = release.lists.iter().filter(|list| product.lists(list.document.path()));
    let lists: Vec<_> = lists.collect();
    let listed = lists.iter().flat_map(|list| listed_images(list, policy));
    let mut images: Vec<_> = listed.collect();
    if let Some(directory) = product.manifest.addons_directory() {
        for addon in release.installed_addons() {
            if release.addon_directory(addon) == directory || addon.overlay {
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

fn hotfix(file: HotfixFile, policy: &Policy) -> Hotfix {
    let images = document_images(&file.document, policy);
    let own = file.values.namespace.as_ref().map(|namespace| namespace.value.clone());
    Hotfix {
        addon: file.addon().map(str::to_owned),
        version: file.version().map(str::to_owned),
        package: file.path.package,
        base: file.path.base,
        date: file.path.date,
        namespace: file.path.namespace.or(own),
        values: file.values,
        images: images.into_iter().map(|image| image.image_use).collect(),
        source: file.document.source,
    }
}

/// The images that one YAML file uses, in order.
///
/// # Errors
/// Where it cannot be read: the line, and what is wrong there.
pub fn file_images(
    path: &str,
    bytes: &[u8],
    policy: &Policy,
) -> Result<Vec<FileImage>, (usize, SyntaxError)> {
    let document = Document::read(path, bytes, None);
    match document.root {
        Ok(_) => Ok(document_images(&document, policy)),
        Err(error) => Err((document.source.position(error.span.start).line, error)),
    }
}

fn document_images(document: &Document, policy: &Policy) -> Vec<FileImage> {
    let file: Arc<str> = document.path().into();
    let uses = document.images(policy).iter().cloned();
    uses.map(|image_use| FileImage {
        file: Arc::clone(&file),
        line: document.source.position(image_use.span.start).line,
        image_use,
    })
    .collect()
}

/// The images of an image list, in order.
///
/// # Errors
/// If it cannot be read: the line, and the reason.
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

fn listed_images(list: &ListFile, policy: &Policy) -> Vec<FileImage> {
    let source = &list.document.source;
    let file: Arc<str> = source.path().into();
    let images = list.images.iter().map(|listed| FileImage {
        file: Arc::clone(&file),
        line: source.position(listed.span.start).line,
        image_use: crate::image_refs::listed(listed, policy),
    });
    images.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_images_of_every_usual_form() {
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
        let release = "harbor.caicloud.xyz";
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
