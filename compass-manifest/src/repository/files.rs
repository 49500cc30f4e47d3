//! Parses the files of a release repository by their kinds.

use std::collections::BTreeSet;

use super::document::Document;
use super::hotfix_path::HotfixPath;
use crate::addon::{self, AddonValues};
use crate::decode;
use crate::plugin::{self, PluginManifest};
use crate::policy::{Pattern, Policy, VersionFormat};
use crate::product::{self, ImageListEntry, ProductManifest};
use crate::version::{HotfixVersion, ProductVersion};
use crate::yaml::SyntaxError;

/// The file of a plugin manifest.
#[derive(Debug)]
#[non_exhaustive]
pub struct PluginFile {
    /// The file name without its extension, which is the plugin's name.
    pub stem: String,
    /// The file.
    pub document: Document,
    /// The fields of the manifest.
    pub manifest: PluginManifest,
}

/// The values file of a hotfix.
#[derive(Debug)]
#[non_exhaustive]
pub struct HotfixFile {
    pub(crate) path: HotfixPath,
    /// The file.
    pub document: Document,
    /// The fields of the values.
    pub values: AddonValues,
}

/// The values file of an addon.
#[derive(Debug)]
#[non_exhaustive]
pub struct AddonFile {
    /// Whether the file is in an overlay directory, so that it replaces the addon of the same name.
    pub overlay: bool,
    /// The file.
    pub document: Document,
    /// The fields of the values.
    pub values: AddonValues,
}

/// The values of an addon or of a hotfix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValuesFile<'r> {
    pub(crate) document: &'r Document,
    pub(crate) values: &'r AddonValues,
}

/// The file of a product manifest.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProductFile {
    /// The file name without its extension, which is the product's version.
    pub stem: String,
    /// The file.
    pub document: Document,
    /// The fields of the manifest.
    pub manifest: ProductManifest,
    /// The patterns of the product's image lists.
    pub(crate) lists: Vec<Pattern>,
}

/// An image list.
#[derive(Debug)]
#[non_exhaustive]
pub struct ListFile {
    /// The file.
    pub document: Document,
    /// The images, without empty lines and comments.
    pub images: Vec<ImageListEntry>,
    /// The error, if the file is not UTF-8 text.
    pub unreadable: Option<SyntaxError>,
}

impl PluginFile {
    pub(super) fn read(path: &str, bytes: &[u8]) -> Self {
        let (document, manifest) = Document::read_fields(path, bytes, &plugin::FIELDS);
        Self { stem: stem(path), document, manifest }
    }

    /// Returns whether two files describe the same plugin.
    ///
    /// Compares `metadata.name`, or the file names if one of the files has no `metadata.name`.
    pub(crate) fn is_same_plugin(&self, other: &Self) -> bool {
        match (&self.manifest.name, &other.manifest.name) {
            (Some(ours), Some(theirs)) => ours.value == theirs.value,
            _ => self.stem == other.stem,
        }
    }
}

impl HotfixFile {
    pub(super) fn read(path: &str, bytes: &[u8], policy: &Policy) -> Self {
        let (document, values) = Document::read_fields(path, bytes, &addon::FIELDS);
        Self { path: HotfixPath::of(path, policy), document, values }
    }

    pub(crate) fn values_file(&self) -> ValuesFile<'_> {
        ValuesFile { document: &self.document, values: &self.values }
    }

    /// Returns the addon's name: from the path, otherwise from the values.
    pub fn addon(&self) -> Option<&str> {
        let own = self.values.name.as_ref().map(|name| name.value.as_str());
        self.path.addon.as_deref().or(own)
    }

    /// Returns the HOTFIXVERSION in the path, if the pattern of the policy has one.
    pub fn hotfix_version(&self) -> Option<HotfixVersion> {
        let version = self.path.version.as_ref()?;
        (self.path.format == Some(VersionFormat::Hotfix)).then(|| version.parse().ok())?
    }

    /// Returns the package's version: from the path, otherwise from the values.
    pub fn version(&self) -> Option<&str> {
        let own = self.values.version.as_ref().map(|version| version.value.as_str());
        self.path.version.as_deref().or(own)
    }
}

impl AddonFile {
    pub(super) fn read(path: &str, bytes: &[u8], overlay: bool) -> Self {
        let (document, values) = Document::read_fields(path, bytes, &addon::FIELDS);
        Self { overlay, document, values }
    }

    pub(crate) fn values_file(&self) -> ValuesFile<'_> {
        ValuesFile { document: &self.document, values: &self.values }
    }

    /// Returns the addon's name, or its path if it has none.
    pub fn name(&self) -> &str {
        self.values.name.as_ref().map_or(self.document.path(), |name| &name.value)
    }

    /// Returns whether a hotfix patches this addon.
    ///
    /// Compares the paths; for an addon in the older layout, compares the names too.
    pub(crate) fn is_patched_by(&self, hotfix: &HotfixFile) -> bool {
        let path = self.document.path();
        let patched = &hotfix.path;
        if let (Some(namespace), Some(group), Some(leaf)) =
            (&patched.namespace, &patched.group, &patched.leaf)
            && path.ends_with(&format!("/{namespace}/{group}/{leaf}/values.yaml"))
        {
            return true;
        }
        let ours = self.values.name.as_ref().map(|name| &name.value);
        let theirs = hotfix.values.name.as_ref().map(|name| &name.value);
        // The name is unique only in the older layout, `<group>/<group>-<addon>.yaml`.
        let is_older_layout = !path.ends_with("/values.yaml");
        is_older_layout && ours.is_some() && (ours == theirs || ours == hotfix.path.addon.as_ref())
    }
}

impl ProductFile {
    pub(super) fn read(path: &str, bytes: &[u8]) -> Self {
        let (mut document, manifest) = Document::read_fields(path, bytes, &product::FIELDS);
        document.violations.extend(manifest.limit_violations());
        let lists = manifest.list_patterns().filter_map(|(_, pattern)| pattern.ok()).collect();
        Self { stem: stem(path), document, manifest, lists }
    }

    /// Returns the product version in the file name.
    pub fn version(&self) -> Option<ProductVersion> {
        self.stem.parse().ok()
    }

    /// Returns whether the manifest names the path as an image list.
    pub(crate) fn lists(&self, path: &str) -> bool {
        self.lists.iter().any(|list| list.matches(path))
    }
}

impl ListFile {
    pub(crate) fn read(path: &str, bytes: &[u8]) -> Self {
        let (source, text) = decode::read(path, bytes);
        let unreadable = text.err();
        let images = match unreadable {
            None => product::parse_image_list(&source),
            Some(_) => Vec::new(),
        };
        Self { document: Document::of_text(source), images, unreadable }
    }

    /// Returns the distinct lines of the list.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.images.iter().map(|image| image.text.as_str()).collect()
    }
}

fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}
