use super::base_addon::{self, AddonPath};
use super::edit::{Editor, with_tag};
use super::{BumpError, ChangedValue, NewHotfix};
use crate::addon::{AddonValues, Container};
use crate::escape::quote;
use crate::image_refs;
use crate::policy::{Policy, VersionFormat};
use crate::repository::{AddonFile, FileKind, HotfixFile, HotfixPath, ReleaseRepository};
use crate::source::SourceFile;
use crate::version::{Date, HotfixVersion, ProductVersion};

/// The file whose values a new hotfix copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HotfixOrigin {
    /// The latest hotfix of the addon and product version, otherwise the addon.
    ///
    /// The new hotfix then contains the changes of the previous one.
    #[default]
    PreviousHotfix,
    /// The addon as it is in the product version.
    Addon,
}

/// A hotfix to create.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HotfixRequest<'a> {
    /// The addon: its name, `<group>-<addon>` or `<addon>` of its path, or
    /// `<namespace>/<group>/<addon>`.
    pub addon: &'a str,
    /// The product version that the hotfix patches.
    pub base: &'a ProductVersion,
    /// The date of the hotfix.
    pub date: Date,
    /// The file to copy.
    pub origin: HotfixOrigin,
}

impl<'a> HotfixRequest<'a> {
    /// Creates a request that copies the previous hotfix, otherwise the addon.
    pub fn new(addon: &'a str, base: &'a ProductVersion, date: Date) -> Self {
        Self { addon, base, date, origin: HotfixOrigin::default() }
    }

    /// Sets the file to copy.
    #[must_use]
    pub fn with_origin(mut self, origin: HotfixOrigin) -> Self {
        self.origin = origin;
        self
    }
}

/// Creates the next hotfix of an addon on a day.
///
/// The result is a copy of the file that [`HotfixRequest::origin`] chooses, byte for byte, except
/// for the HOTFIXVERSION in `_metadata.version` and in the tag of one image: the image that has the
/// version of the previous hotfix, otherwise the image of the first container. The path has the
/// layout of the built-in policy.
///
/// `repository` is the repository to which the hotfix is added, and `product` is the repository at
/// the tag of the product version. They may be the same.
///
/// # Errors
/// - [`BumpError::UnknownAddon`] and [`BumpError::AmbiguousAddon`] if not exactly one addon
///   matches.
/// - [`BumpError::LaterHotfix`] if the addon has a hotfix of a later day.
/// - [`BumpError::NotInPlace`], [`BumpError::Pinned`] and others if the values cannot be edited.
/// - [`BumpError::PathRefused`] if the policy does not parse the new path as this hotfix.
/// - [`BumpError::Exists`] if the new path already exists.
pub fn new_hotfix(
    repository: &ReleaseRepository,
    product: &ReleaseRepository,
    request: &HotfixRequest<'_>,
) -> Result<NewHotfix, BumpError> {
    let policy = &*repository.policy;
    let addon = base_addon::find(product, request.addon, request.base)?;
    let addon_path = AddonPath::of(product, addon)
        .ok_or_else(|| BumpError::NoPlace { file: addon.document.path().to_owned() })?;
    let earlier = earlier_hotfixes(repository, &addon_path, addon, request.base);
    let latest = earlier.iter().max_by_key(|(version, _)| (version.date(), version.patch()));
    let name = package_name(&addon_path, addon, request.addon, latest.map(|(_, hotfix)| *hotfix));
    let version =
        next_version(&name, request.base, request.date, latest.map(|(version, _)| version))?;
    let path = new_path(policy, &addon_path, &name, &version)?;
    if repository.tree.contains(&path) {
        return Err(BumpError::Exists { path });
    }
    let previous = latest.filter(|_| request.origin == HotfixOrigin::PreviousHotfix);
    let (document, tree) = match previous {
        Some((_, hotfix)) => (&hotfix.document, &repository.tree),
        None => (&addon.document, &product.tree),
    };
    let previous = previous.map(|(version, _)| version.clone());
    let (text, changes) = set_version(&document.source, policy, &version, previous.as_ref())?;
    let bytes = tree.get(document.path()).unwrap_or_default();
    let mark = if bytes.starts_with(BYTE_ORDER_MARK.as_bytes()) { BYTE_ORDER_MARK } else { "" };
    Ok(NewHotfix {
        path,
        text: format!("{mark}{text}"),
        version,
        addon: name,
        from: document.path().to_owned(),
        previous,
        changes,
    })
}

/// The byte order mark, which [`SourceFile`] drops and a copy must keep.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Returns the hotfixes of the addon for the product version.
fn earlier_hotfixes<'r>(
    repository: &'r ReleaseRepository,
    path: &AddonPath,
    addon: &AddonFile,
    base: &ProductVersion,
) -> Vec<(HotfixVersion, &'r HotfixFile)> {
    let own_name = addon.values.name.as_ref().map(|name| name.value.as_str());
    let of_addon = |hotfix: &&HotfixFile| {
        let HotfixPath { namespace, group, leaf, .. } = &hotfix.path;
        match (namespace, group, leaf) {
            (Some(namespace), Some(group), Some(leaf)) => {
                format!("{namespace}/{group}/{leaf}") == path.to_path()
            }
            _ => hotfix.addon().is_some_and(|it| own_name == Some(it) || path.accepts_name(it)),
        }
    };
    let version = |hotfix: &HotfixFile| {
        let written = hotfix.values.version.as_ref().map(|version| &version.value);
        let in_path = hotfix.path.version.as_ref();
        [in_path, written].into_iter().flatten().find_map(|text| text.parse::<HotfixVersion>().ok())
    };
    let hotfixes = repository.hotfixes.iter().filter(of_addon);
    let versions = hotfixes.filter_map(|hotfix| Some((version(hotfix)?, hotfix)));
    versions.filter(|(version, _)| version.base().is_same_release(base)).collect()
}

/// Returns the addon's name for the path.
///
/// The name of the latest hotfix has priority, so that a series keeps its name, then the addon's
/// own name or the requested one.
fn package_name(
    path: &AddonPath,
    addon: &AddonFile,
    requested: &str,
    latest: Option<&HotfixFile>,
) -> String {
    let earlier = latest.and_then(|hotfix| hotfix.path.addon.as_deref());
    let own = addon.values.name.as_ref().map(|name| name.value.as_str());
    let names = [earlier, own, Some(requested)].into_iter().flatten();
    let mut accepted = names.filter(|name| path.accepts_name(name));
    accepted.next().map_or_else(|| path.grouped_name(), str::to_owned)
}

fn next_version(
    addon: &str,
    base: &ProductVersion,
    date: Date,
    latest: Option<&HotfixVersion>,
) -> Result<HotfixVersion, BumpError> {
    let patch = match latest {
        Some(latest) if latest.date() > date => {
            let (addon, latest) = (addon.to_owned(), latest.clone());
            return Err(BumpError::LaterHotfix { addon, latest, date });
        }
        Some(latest) if latest.date() == date => {
            let next = latest.next().ok_or_else(|| BumpError::NoneAfter(latest.to_string()))?;
            next.patch()
        }
        _ => 1,
    };
    Ok(HotfixVersion::new(base, date, patch)?)
}

/// Builds the path of a hotfix.
///
/// Verifies that the policy parses the path as the same hotfix.
fn new_path(
    policy: &Policy,
    addon: &AddonPath,
    name: &str,
    version: &HotfixVersion,
) -> Result<String, BumpError> {
    let directory = policy.hotfixes.directories.first().map_or("release-hotfixes", String::as_str);
    let base = version.base().to_string();
    let path = format!("{directory}/{base}/{name}-{version}/{}/values.yaml", addon.to_path());
    let parsed = HotfixPath::of(&path, policy);
    let agrees = |parsed: &Option<String>, ours: &str| parsed.as_ref().is_none_or(|it| it == ours);
    let accepted = FileKind::of(&path, policy, &[]) == FileKind::Hotfix
        && parsed.format == Some(VersionFormat::Hotfix)
        && parsed.version.as_ref() == Some(&version.to_string())
        && agrees(&parsed.addon, name)
        && agrees(&parsed.base, &base)
        && agrees(&parsed.namespace, &addon.namespace)
        && agrees(&parsed.group, &addon.group)
        && agrees(&parsed.leaf, &addon.leaf);
    if accepted { Ok(path) } else { Err(BumpError::PathRefused { path }) }
}

/// Writes a version into the values, and returns the text and the changed values.
fn set_version(
    source: &SourceFile,
    policy: &Policy,
    version: &HotfixVersion,
    previous: Option<&HotfixVersion>,
) -> Result<(String, Vec<ChangedValue>), BumpError> {
    let mut editor = Editor::new(source)?;
    let values = AddonValues::read(&editor.root);
    let tag = version.to_string();
    let written = values.version.as_ref().ok_or_else(|| editor.missing(VERSION))?;
    editor.replace(VERSION, written.span, &written.value, &tag)?;

    let patched = previous.map(|previous| format!(":{previous}"));
    let is_patched = |container: &&Container| {
        let image = container.image.as_ref().zip(patched.as_ref());
        image.is_some_and(|(image, tag)| image.value.ends_with(tag))
    };
    let first = || values.containers.iter().find(|container| !container.init);
    let container = values.containers.iter().find(is_patched).or_else(first);
    let container = container.ok_or_else(|| editor.missing(FIRST_CONTAINER))?;
    let path = format!("{}.image", container.path);
    let image = container.image.as_ref().ok_or_else(|| editor.missing(&path))?;
    let resolved = image_refs::resolve(&image.value, policy).map_err(|reason| {
        let message = format!("{} is not an image reference: {reason}", quote(&image.value));
        editor.unusable(image.span, message)
    })?;
    if resolved.digest.is_some() {
        return Err(editor.pinned(&path, image.span));
    }
    editor.replace(&path, image.span, &image.value, &with_tag(&image.value, &tag))?;
    editor.finish()
}

const VERSION: &str = "_config._metadata.version";
const FIRST_CONTAINER: &str = "_config.controllers[0].containers[0]";

#[cfg(test)]
mod tests;
