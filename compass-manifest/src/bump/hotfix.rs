use super::base_addon::{self, AddonPlace};
use super::edit::{Editor, with_tag};
use super::{BumpError, ChangedValue, NewFile};
use crate::addon::{AddonValues, Container};
use crate::escape::{quote, quote_name};
use crate::image_use;
use crate::policy::{Policy, VersionForm};
use crate::release::{AddonFile, HotfixFile, Release};
use crate::source::SourceFile;
use crate::tree::Tree;
use crate::version::{Date, HotfixVersion, ProductVersion};

/// What a new hotfix begins from.
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
    /// What it begins from.
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
) -> Result<NewFile, BumpError> {
    let products = Release::read(addons, policy);
    let addon = base_addon::find(&products, request.addon, request.base)?;
    let addon_path = addon.document.path();
    let place = AddonPlace::of(&products, addon)
        .ok_or_else(|| BumpError::NoPlace { file: addon_path.to_owned() })?;
    let release = Release::read(tree, policy);
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
    Ok(NewFile {
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
    release: &'r Release<'_>,
    place: &AddonPlace,
    file: &AddonFile,
    base: &ProductVersion,
) -> Vec<(HotfixVersion, &'r HotfixFile)> {
    let own = file.values.name.as_ref().map(|name| name.value.as_str());
    let of_addon = |hotfix: &&HotfixFile| {
        let theirs = &hotfix.place;
        match (&theirs.namespace, &theirs.group, &theirs.leaf) {
            (Some(namespace), Some(group), Some(leaf)) => {
                format!("{namespace}/{group}/{leaf}") == place.path()
            }
            _ => hotfix.addon().is_some_and(|name| own == Some(name) || place.may_be_named(name)),
        }
    };
    let version = |hotfix: &HotfixFile| {
        let written = hotfix.values.version.as_ref().map(|version| &version.value);
        let in_path = hotfix.place.version.as_ref();
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
    let earlier = latest.and_then(|hotfix| hotfix.place.addon.as_deref());
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
    let release = Release::read(&tree, policy);
    let (base, version) = (version.base().to_string(), version.to_string());
    let accepted = release.hotfixes.first().is_some_and(|hotfix| {
        let read = &hotfix.place;
        let agree =
            |read: &Option<String>, ours: &str| read.as_ref().is_none_or(|read| read == ours);
        read.form == Some(VersionForm::Hotfix)
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
    let read = image_use::read(&image.value, policy).map_err(|reason| {
        editor.unusable(
            image.span,
            format!("{} is not an image reference: {reason}", quote(&image.value)),
        )
    })?;
    if read.digest.is_some() {
        let message = format!(
            "{} is pinned to a digest, which another tag would not have",
            quote_name(&path)
        );
        return Err(editor.unusable(image.span, message));
    }
    editor.replace(&path, image.span, &image.value, &with_tag(&image.value, &tag))?;
    editor.finish()
}

const VERSION: &str = "_config._metadata.version";
const FIRST_CONTAINER: &str = "_config.controllers[0].containers[0]";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::finding::Severity;
    use crate::policy::PathPattern;

    const ADDON: &str = "addons/default/console/web/values.yaml";

    fn values_of(name: &str) -> String {
        format!(
            "_config:\r\n  _metadata:\r\n    name: {name} # 名\r\n    version: \"v3.1.53\"\r\n  controllers:\r\n  - type: web\r\n    containers:\r\n    \
             - image: '[[ registry_release ]]/{name}:v3.1.53'  # the first\r\n      name: a\r\n    - image: '[[ registry_release ]]/side:v3.1.53'"
        )
    }

    fn hotfix(version: &str) -> String {
        format!("release-hotfixes/v2.7.0/console-web-{version}/default/console/web/values.yaml")
    }

    fn tree(files: &[&str]) -> Tree {
        files.iter().map(|path| (*path, values_of("console-web"))).collect()
    }

    fn new(tree: &Tree, addon: &str, date: &str) -> Result<NewFile, BumpError> {
        let (base, date) = ("2.7.0".parse().unwrap(), Date::parse(date).unwrap());
        let request = HotfixRequest::new(addon, &base, date);
        new_hotfix(tree, &Policy::default(), tree, &request)
    }

    #[test]
    fn a_hotfix_is_the_addon_with_another_version_and_tag() {
        for asked in ["console-web", "web", "default/console/web"] {
            let file = new(&tree(&[ADDON]), asked, "20180605").unwrap();
            assert_eq!(file.path, hotfix("v2.7.0-20180605-p1"));
            assert_eq!((file.addon.as_str(), file.from.as_str()), ("console-web", ADDON));
            let expected = values_of("console-web").replacen("v3.1.53", "v2.7.0-20180605-p1", 2);
            assert_eq!(file.text, expected);
            assert_eq!(file.changes[1].path, "_config.controllers[0].containers[0].image");
        }
    }

    #[test]
    fn what_is_made_passes_the_check() {
        let mut tree = tree(&[ADDON]);
        let file = new(&tree, "web", "20180605").unwrap();
        tree.insert(file.path.clone(), file.text);
        let report = check(&tree, &Policy::default());
        let about = |finding: &&crate::finding::Finding| finding.place.file == file.path;
        let errors =
            report.findings().iter().filter(about).filter(|f| f.severity == Severity::Error);
        assert_eq!(errors.map(|finding| finding.code).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn numbers_go_on_within_a_day_and_never_back() {
        let paths = [hotfix("v2.7.0-20180605-p9"), hotfix("v2.7.0-20180605-p10"), ADDON.to_owned()];
        let tree = tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let version = |date| new(&tree, "web", date).map(|file| file.version.to_string());
        assert_eq!(version("20180605").unwrap(), "v2.7.0-20180605-p11");
        assert_eq!(version("20180606").unwrap(), "v2.7.0-20180606-p1");
        let error = version("20180604").unwrap_err();
        assert!(matches!(&error, BumpError::LaterHotfix { latest, .. } if latest.patch() == 10));
    }

    #[test]
    fn hotfixes_of_other_addons_and_products_do_not_count() {
        let other =
            "release-hotfixes/v2.7.0/app-web-v2.7.0-20180605-p4/default/app/web/values.yaml";
        let older =
            "release-hotfixes/v2.6.0/web-v2.6.0-20190101-p1/default/console/web/values.yaml";
        let file = new(&tree(&[ADDON, other, older]), "console-web", "20180605").unwrap();
        assert_eq!(file.version.to_string(), "v2.7.0-20180605-p1");
    }

    #[test]
    fn a_series_keeps_its_name() {
        let earlier =
            "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml";
        let file = new(&tree(&[ADDON, earlier]), "console-web", "20180605").unwrap();
        assert_eq!(file.path, earlier.replace("-p1", "-p2"));
    }

    #[test]
    fn a_name_that_several_have_is_refused_with_all_of_them() {
        let mut tree = tree(&[]);
        let other = "addons/kube-system/app/web/values.yaml";
        tree.insert(ADDON, values_of("a"));
        tree.insert(other, values_of("b"));
        let error = new(&tree, "web", "20180605").unwrap_err();
        assert_eq!(error.to_string(), format!("several addons are named `web`: {ADDON}, {other}"));
        assert_eq!(new(&tree, "b", "20180605").unwrap().addon, "app-web");
        assert_eq!(new(&tree, "default/console/web", "20180605").unwrap().addon, "console-web");
        let error = new(&tree, "c", "20180605").unwrap_err();
        assert_eq!(error.hint().unwrap(), "addons there: a, b");
    }

    #[test]
    fn the_addon_is_that_of_the_base_product() {
        let product = "spec: {version: v2.7.0, addons: v2.7.0/addons}\n";
        let mut tree: Tree = [("release-products/v2.7.0.yaml", product)].into_iter().collect();
        tree.insert("addons/default/console/web/values.yaml", values_of("new"));
        tree.insert(
            "v2.7.0/addons/console/web/values.yaml",
            values_of("old").replace("name: old", "name: old\n    namespace: default"),
        );
        let file = new(&tree, "web", "20180605");
        let text = file.map(|file| file.path);
        let expected =
            "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml";
        assert_eq!(text.unwrap(), expected);
    }

    #[test]
    fn known_products_are_manifests_and_policy() {
        let product = "spec: {version: v2.7.0}\n";
        let mut tree: Tree = [("release-products/v2.7.0.yaml", product)].into_iter().collect();
        // The version of a component may look like a HOTFIXVERSION.
        tree.insert(hotfix("v3.1.53-20180605-p1"), values_of("web"));
        let mut policy = Policy::default();
        policy.products.versions = vec!["v2.6.0".parse().unwrap()];
        let known = base_addon::known_products(&tree, &policy);
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        assert_eq!(known, ["v2.6.0", "v2.7.0"]);
    }

    #[test]
    fn new_hotfix_contains_previous_one() {
        let first = values_of("console-web")
            .replace("web:v3.1.53", "web:v2.7.0-20180605-p1")
            .replace("\"v3.1.53\"", "v2.7.0-20180605-p1")
            .replace("- image", "- tty: true\r\n      image");
        let mut tree = tree(&[ADDON]);
        tree.insert(hotfix("v2.7.0-20180605-p1"), first.clone());
        let (base, date) = ("v2.7.0".parse().unwrap(), Date::parse("20180606").unwrap());
        let request = HotfixRequest::new("web", &base, date);
        let file = new_hotfix(&tree, &Policy::default(), &tree, &request).unwrap();
        assert_eq!(file.from, hotfix("v2.7.0-20180605-p1"));
        assert_eq!(file.previous.unwrap().to_string(), "v2.7.0-20180605-p1");
        assert_eq!(file.text, first.replace("v2.7.0-20180605-p1", "v2.7.0-20180606-p1"));
        let request = request.with_origin(HotfixOrigin::Addon);
        let file = new_hotfix(&tree, &Policy::default(), &tree, &request).unwrap();
        assert_eq!((file.from.as_str(), file.previous), (ADDON, None));
    }

    #[test]
    fn new_hotfix_changes_tag_of_patched_image() {
        // The previous one patched the second container.
        let first = values_of("console-web")
            .replace("\"v3.1.53\"", "v2.7.0-20180605-p1")
            .replace("side:v3.1.53", "side:v2.7.0-20180605-p1");
        let mut tree = tree(&[ADDON]);
        tree.insert(hotfix("v2.7.0-20180605-p1"), first.clone());
        let file = new(&tree, "web", "20180605").unwrap();
        assert_eq!(file.text, first.replace("v2.7.0-20180605-p1", "v2.7.0-20180605-p2"));
    }

    #[test]
    fn a_path_that_the_policy_reads_otherwise_is_refused() {
        let mut policy = Policy::default();
        let pattern = PathPattern::new("(?P<version>.*)/values.yaml", VersionForm::Component);
        policy.hotfixes.patterns = vec![pattern.unwrap()];
        let tree = tree(&[ADDON]);
        let base = "v2.7.0".parse().unwrap();
        let date = Date::new(2018, 6, 5).unwrap();
        let request = HotfixRequest::new("web", &base, date);
        let error = new_hotfix(&tree, &policy, &tree, &request).unwrap_err();
        assert!(matches!(error, BumpError::PathRefused { .. }));
    }

    #[test]
    fn a_namespace_that_leads_elsewhere_is_refused() {
        let text = "_config: {_metadata: {name: web, namespace: ../.., version: v1}}";
        let tree: Tree = [("addons/console/web/values.yaml", text)].into_iter().collect();
        assert!(matches!(new(&tree, "web", "20180605"), Err(BumpError::NoPlace { .. })));
    }

    #[test]
    fn an_addon_of_the_older_layout_goes_where_the_written_process_says() {
        let text =
            values_of("dex-cauth").replace("name: dex", "namespace: default\r\n    name: dex");
        let earlier =
            "release-hotfixes/v2.7.0/dex-cauth-v2.7.0-20180605-p1/default/dex/cauth/values.yaml";
        let tree: Tree =
            [("addons/dex/dex-cauth.yaml", text.as_str()), (earlier, &text)].into_iter().collect();
        let file = new(&tree, "dex-cauth", "20180605").unwrap();
        assert_eq!(file.path, earlier.replace("-p1", "-p2"));
        let text = values_of("cauth");
        let tree: Tree = [("addons/dex/cauth.yaml", text)].into_iter().collect();
        assert!(matches!(new(&tree, "cauth", "20180605"), Err(BumpError::NoPlace { .. })));
    }

    #[test]
    fn a_byte_order_mark_stays() {
        let mut tree = Tree::new();
        tree.insert(ADDON, format!("{MARK}{}", values_of("web")));
        assert!(new(&tree, "web", "20180605").unwrap().text.starts_with(MARK));
    }
}
