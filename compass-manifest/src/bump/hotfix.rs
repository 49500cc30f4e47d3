use super::base_addon::{self, AddonPlace};
use super::edit::{Editor, with_tag};
use super::{BumpError, ChangedValue, NewHotfix};
use crate::addon::{AddonValues, Container};
use crate::escape::quote;
use crate::image_refs;
use crate::policy::{Policy, VersionFormat};
use crate::repository::{AddonFile, HotfixFile, ReleaseRepository};
use crate::source::SourceFile;
use crate::tree::Tree;
use crate::version::{Date, HotfixVersion, ProductVersion};

/// The values that a new hotfix copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HotfixOrigin {
    /// The latest hotfix of the addon and its product version, so that the new one contains it; the
    /// addon if there is none.
    #[default]
    PreviousHotfix,
    /// The addon as it is in the product version.
    Addon,
}

/// The hotfix to make.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HotfixRequest<'a> {
    /// The addon: its name, `<group>-<addon>` or `<addon>` of its path, or
    /// `<namespace>/<group>/<addon>`.
    pub addon: &'a str,
    /// The product version that is patched.
    pub base: &'a ProductVersion,
    /// The day of the hotfix.
    pub date: Date,
    /// The values to copy.
    pub origin: HotfixOrigin,
}

impl<'a> HotfixRequest<'a> {
    /// A hotfix that begins from the previous one, if there is one.
    pub fn new(addon: &'a str, base: &'a ProductVersion, date: Date) -> Self {
        Self { addon, base, date, origin: HotfixOrigin::default() }
    }

    /// Begins from something else.
    #[must_use]
    pub fn with_origin(mut self, origin: HotfixOrigin) -> Self {
        self.origin = origin;
        self
    }
}

/// The next hotfix of an addon on a day: the values that it begins from, with the HOTFIXVERSION as
/// `_metadata.version` and as the tag of one image; nothing else differs, to the byte. The image is
/// the one that carries the version of the previous hotfix, otherwise that of the first container.
/// The path is the one of the written process.
///
/// `tree` is the repository that the hotfix is for, `addons` the repository as it was when the base
/// was released; they may be one.
///
/// # Errors
/// If no addon or several have that name, the addon has a hotfix of a later day, the values cannot
/// be edited in place, or the policy has no hotfix of the written process at that path.
pub fn new_hotfix(
    tree: &Tree,
    policy: &Policy,
    addons: &Tree,
    request: &HotfixRequest<'_>,
) -> Result<NewHotfix, BumpError> {
    let products = ReleaseRepository::read(addons, policy);
    let addon = base_addon::find(&products, request.addon, request.base)?;
    let addon_path = addon.document.path();
    let place = AddonPlace::of(&products, addon)
        .ok_or_else(|| BumpError::NoPlace { file: addon_path.to_owned() })?;
    let release = ReleaseRepository::read(tree, policy);
    let earlier = earlier(&release, &place, addon, request.base);
    let latest = earlier.iter().max_by_key(|(version, _)| (version.date(), version.patch()));
    let name = package_name(&place, addon, request.addon, latest.map(|(_, hotfix)| *hotfix));
    let version =
        next_version(&name, request.base, request.date, latest.map(|(version, _)| version))?;
    let path = new_path(policy, &place, &name, &version)?;
    if tree.contains(&path) {
        return Err(BumpError::Exists { path });
    }
    let previous = latest.filter(|_| request.origin == HotfixOrigin::PreviousHotfix);
    let (document, within) = match previous {
        Some((_, hotfix)) => (&hotfix.document, tree),
        None => (&addon.document, addons),
    };
    let previous = previous.map(|(version, _)| version.clone());
    let (text, changes) = values(&document.source, policy, &version, previous.as_ref())?;
    let bytes = within.get(document.path()).unwrap_or_default();
    let mark = if bytes.starts_with(MARK.as_bytes()) { MARK } else { "" };
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

/// The byte order mark, which [`SourceFile`] drops.
const MARK: &str = "\u{feff}";

/// The hotfixes that the addon has already for the product version.
fn earlier<'r>(
    release: &'r ReleaseRepository<'_>,
    place: &AddonPlace,
    file: &AddonFile,
    base: &ProductVersion,
) -> Vec<(HotfixVersion, &'r HotfixFile)> {
    let own = file.values.name.as_ref().map(|name| name.value.as_str());
    let of_addon = |hotfix: &&HotfixFile| {
        let theirs = &hotfix.path;
        match (&theirs.namespace, &theirs.group, &theirs.leaf) {
            (Some(namespace), Some(group), Some(leaf)) => {
                format!("{namespace}/{group}/{leaf}") == place.path()
            }
            _ => hotfix.addon().is_some_and(|name| own == Some(name) || place.may_be_named(name)),
        }
    };
    let version = |hotfix: &HotfixFile| {
        let written = hotfix.values.version.as_ref().map(|version| &version.value);
        let in_path = hotfix.path.version.as_ref();
        [in_path, written].into_iter().flatten().find_map(|text| text.parse::<HotfixVersion>().ok())
    };
    let hotfixes = release.hotfixes.iter().filter(of_addon);
    let versions = hotfixes.filter_map(|hotfix| Some((version(hotfix)?, hotfix)));
    versions.filter(|(version, _)| version.base().is_same_release(base)).collect()
}

/// The addon's name in the path: what earlier hotfixes use, so that they stay one series; then
/// the addon's own name, or the one that was asked for.
fn package_name(
    place: &AddonPlace,
    file: &AddonFile,
    asked: &str,
    latest: Option<&HotfixFile>,
) -> String {
    let earlier = latest.and_then(|hotfix| hotfix.path.addon.as_deref());
    let own = file.values.name.as_ref().map(|name| name.value.as_str());
    let fitting = [earlier, own, Some(asked)].into_iter().flatten();
    fitting
        .into_iter()
        .find(|name| place.may_be_named(name))
        .map_or_else(|| place.grouped(), str::to_owned)
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

/// The path by the written process, where the policy reads it back as just that.
fn new_path(
    policy: &Policy,
    place: &AddonPlace,
    name: &str,
    version: &HotfixVersion,
) -> Result<String, BumpError> {
    let directory = policy.hotfixes.directories.first().map_or("release-hotfixes", String::as_str);
    let below = format!("{}/{name}-{version}/{}/values.yaml", version.base(), place.path());
    let path = format!("{directory}/{below}");
    let tree: Tree = [(path.as_str(), "")].into_iter().collect();
    let release = ReleaseRepository::read(&tree, policy);
    let (base, version) = (version.base().to_string(), version.to_string());
    let accepted = release.hotfixes.first().is_some_and(|hotfix| {
        let read = &hotfix.path;
        let agree =
            |read: &Option<String>, ours: &str| read.as_ref().is_none_or(|read| read == ours);
        read.form == Some(VersionFormat::Hotfix)
            && read.version.as_deref() == Some(&version)
            && agree(&read.addon, name)
            && agree(&read.base, &base)
            && agree(&read.namespace, &place.namespace)
            && agree(&read.group, &place.group)
            && agree(&read.leaf, &place.leaf)
    });
    if accepted { Ok(path) } else { Err(BumpError::PathRefused { path }) }
}

/// The text with a new version, and what changed.
fn values(
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
    let read = image_refs::read(&image.value, policy).map_err(|reason| {
        editor.unusable(
            image.span,
            format!("{} is not an image reference: {reason}", quote(&image.value)),
        )
    })?;
    if read.digest.is_some() {
        return Err(editor.pinned(&path, image.span));
    }
    editor.replace(&path, image.span, &image.value, &with_tag(&image.value, &tag))?;
    editor.finish()
}

const VERSION: &str = "_config._metadata.version";
const FIRST_CONTAINER: &str = "_config.controllers[0].containers[0]";

#[cfg(test)]
mod tests;
