//! What a release repository holds: hotfixes, addons, and the images that they use.

use std::sync::Arc;

use crate::addon::AddonValues;
use crate::image_use::{ImageUse, image_uses};
use crate::policy::Policy;
use crate::product::{self, ProductManifest};
use crate::release::{Document, HotfixFile, Release};
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

/// An image, and the file that uses it.
#[derive(Debug, Clone)]
pub struct FileImage {
    /// The file's path.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The image, and where it stands.
    pub used: ImageUse,
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
    let release = Release::read(tree, policy);
    release.hotfixes.into_iter().map(|file| hotfix(file, policy)).collect()
}

/// The images of all plugins, hotfixes and addons, in the order of the files.
pub fn images(tree: &Tree, policy: &Policy) -> Vec<FileImage> {
    let release = Release::read(tree, policy);
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

/// A product. `None` where no product manifest has this version.
pub fn product(tree: &Tree, policy: &Policy, version: &ProductVersion) -> Option<Product> {
    let release = Release::read(tree, policy);
    let named =
        |stem: &str| stem.parse::<ProductVersion>().is_ok_and(|v| v.is_same_release(version));
    let product = release.products.iter().find(|product| named(&product.stem))?;
    let lists = release.lists.iter().filter(|list| product.lists(list.document.path()));
    let lists: Vec<_> = lists.collect();
    let listed = lists.iter().flat_map(|list| listed_images(&list.document.source));
    let mut images: Vec<_> = listed.collect();
    if let Some(directory) = product.manifest.addons_directory() {
        for addon in release.installed_addons() {
            if release.addon_directory(addon) == directory || addon.overlay {
                images.extend(document_images(&addon.document, policy));
            }
        }
    }
    Some(Product {
        source: product.document.source.clone(),
        manifest: product.manifest.clone(),
        lists: lists.iter().map(|list| list.document.path().to_owned()).collect(),
        images,
    })
}

fn hotfix(file: HotfixFile, policy: &Policy) -> Hotfix {
    let images = document_images(&file.document, policy);
    let own = file.values.namespace.as_ref().map(|namespace| namespace.value.clone());
    Hotfix {
        addon: file.addon().map(str::to_owned),
        version: file.version().map(str::to_owned),
        package: file.place.package,
        base: file.place.base,
        date: file.place.date,
        namespace: file.place.namespace.or(own),
        values: file.values,
        images: images.into_iter().map(|image| image.used).collect(),
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
    let Ok(root) = &document.root else { return Vec::new() };
    let uses = image_uses(&document.source, root, policy).into_iter();
    let file: Arc<str> = document.path().into();
    uses.map(|used| FileImage {
        file: Arc::clone(&file),
        line: document.source.position(used.span.start).line,
        used,
    })
    .collect()
}

/// The images of an image list, in order.
pub fn listed_images(source: &SourceFile) -> Vec<FileImage> {
    let images = product::listed_images(source).into_iter();
    let file: Arc<str> = source.path().into();
    images
        .map(|listed| FileImage {
            file: Arc::clone(&file),
            line: source.position(listed.span.start).line,
            used: crate::image_use::listed(&listed),
        })
        .collect()
}
