use super::*;
use crate::check;
use crate::finding::Severity;
use crate::policy::PathPattern;
use crate::tree::Tree;

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

fn new(tree: &Tree, addon: &str, date: &str) -> Result<NewHotfix, BumpError> {
    let (base, date) = ("2.7.0".parse().unwrap(), Date::parse(date).unwrap());
    let request = HotfixRequest::new(addon, &base, date);
    create(tree, &Policy::default(), &request)
}

fn create(
    tree: &Tree,
    policy: &Policy,
    request: &HotfixRequest<'_>,
) -> Result<NewHotfix, BumpError> {
    let repository = ReleaseRepository::load(tree.clone(), policy.clone());
    new_hotfix(&repository, &repository, request)
}

#[test]
fn new_hotfix_replaces_version_and_tag() {
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
fn new_hotfix_passes_check() {
    let mut tree = tree(&[ADDON]);
    let file = new(&tree, "web", "20180605").unwrap();
    tree.insert(file.path.clone(), file.text);
    let report = check(&tree, &Policy::default());
    let about = |finding: &&crate::finding::Finding| finding.location.file == file.path;
    let errors = report.findings().iter().filter(about).filter(|f| f.severity == Severity::Error);
    assert_eq!(errors.map(|finding| finding.code).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn new_hotfix_numbers_increase_per_day() {
    let paths = [hotfix("v2.7.0-20180605-p9"), hotfix("v2.7.0-20180605-p10"), ADDON.to_owned()];
    let tree = tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let version = |date| new(&tree, "web", date).map(|file| file.version.to_string());
    assert_eq!(version("20180605").unwrap(), "v2.7.0-20180605-p11");
    assert_eq!(version("20180606").unwrap(), "v2.7.0-20180606-p1");
    let error = version("20180604").unwrap_err();
    assert!(matches!(&error, BumpError::LaterHotfix { latest, .. } if latest.patch() == 10));
}

#[test]
fn new_hotfix_ignores_other_series() {
    let other = "release-hotfixes/v2.7.0/app-web-v2.7.0-20180605-p4/default/app/web/values.yaml";
    let older = "release-hotfixes/v2.6.0/web-v2.6.0-20190101-p1/default/console/web/values.yaml";
    let file = new(&tree(&[ADDON, other, older]), "console-web", "20180605").unwrap();
    assert_eq!(file.version.to_string(), "v2.7.0-20180605-p1");
}

#[test]
fn new_hotfix_keeps_name_of_series() {
    let earlier = "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml";
    let file = new(&tree(&[ADDON, earlier]), "console-web", "20180605").unwrap();
    assert_eq!(file.path, earlier.replace("-p1", "-p2"));
}

#[test]
fn new_hotfix_ambiguous_name_lists_candidates() {
    let mut tree = tree(&[]);
    let other = "addons/kube-system/app/web/values.yaml";
    tree.insert(ADDON, values_of("a"));
    tree.insert(other, values_of("b"));
    let error = new(&tree, "web", "20180605").unwrap_err();
    assert_eq!(error.to_string(), format!("several addons are named `web`: {ADDON}, {other}"));
    assert_eq!(new(&tree, "b", "20180605").unwrap().addon, "app-web");
    assert_eq!(new(&tree, "default/console/web", "20180605").unwrap().addon, "console-web");
    let error = new(&tree, "c", "20180605").unwrap_err();
    assert_eq!(error.hint().unwrap(), "known addons: a, b");
}

#[test]
fn new_hotfix_uses_addon_of_product() {
    let product = "spec: {version: v2.7.0, addons: v2.7.0/addons}\n";
    let mut tree: Tree = [("release-products/v2.7.0.yaml", product)].into_iter().collect();
    tree.insert("addons/default/console/web/values.yaml", values_of("new"));
    tree.insert(
        "v2.7.0/addons/console/web/values.yaml",
        values_of("old").replace("name: old", "name: old\n    namespace: default"),
    );
    let file = new(&tree, "web", "20180605");
    let text = file.map(|file| file.path);
    let expected = "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml";
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn known_products_from_manifests_and_policy() {
    let product = "spec: {version: v2.7.0}\n";
    let mut tree: Tree = [("release-products/v2.7.0.yaml", product)].into_iter().collect();
    // The text looks like a HOTFIXVERSION, but `v3.1.53` is the version of a component.
    tree.insert(hotfix("v3.1.53-20180605-p1"), values_of("web"));
    let mut policy = Policy::default();
    policy.products.versions = vec!["v2.6.0".parse().unwrap()];
    let known = base_addon::known_product_versions(&ReleaseRepository::load(tree, policy));
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
    let file = create(&tree, &Policy::default(), &request).unwrap();
    assert_eq!(file.from, hotfix("v2.7.0-20180605-p1"));
    assert_eq!(file.previous.unwrap().to_string(), "v2.7.0-20180605-p1");
    assert_eq!(file.text, first.replace("v2.7.0-20180605-p1", "v2.7.0-20180606-p1"));
    let request = request.with_origin(HotfixOrigin::Addon);
    let file = create(&tree, &Policy::default(), &request).unwrap();
    assert_eq!((file.from.as_str(), file.previous), (ADDON, None));
}

#[test]
fn new_hotfix_changes_tag_of_patched_image() {
    // The previous hotfix patched the second container.
    let first = values_of("console-web")
        .replace("\"v3.1.53\"", "v2.7.0-20180605-p1")
        .replace("side:v3.1.53", "side:v2.7.0-20180605-p1");
    let mut tree = tree(&[ADDON]);
    tree.insert(hotfix("v2.7.0-20180605-p1"), first.clone());
    let file = new(&tree, "web", "20180605").unwrap();
    assert_eq!(file.text, first.replace("v2.7.0-20180605-p1", "v2.7.0-20180605-p2"));
}

#[test]
fn new_hotfix_unmatched_path_fails() {
    let mut policy = Policy::default();
    let pattern = PathPattern::new("(?P<version>.*)/values.yaml", VersionFormat::Component);
    policy.hotfixes.patterns = vec![pattern.unwrap()];
    let tree = tree(&[ADDON]);
    let base = "v2.7.0".parse().unwrap();
    let date = Date::new(2018, 6, 5).unwrap();
    let request = HotfixRequest::new("web", &base, date);
    let error = create(&tree, &policy, &request).unwrap_err();
    assert!(matches!(error, BumpError::PathRefused { .. }));
}

#[test]
fn new_hotfix_unsafe_namespace_fails() {
    let text = "_config: {_metadata: {name: web, namespace: ../.., version: v1}}";
    let tree: Tree = [("addons/console/web/values.yaml", text)].into_iter().collect();
    assert!(matches!(new(&tree, "web", "20180605"), Err(BumpError::NoPlace { .. })));
}

#[test]
fn new_hotfix_older_layout_uses_new_path() {
    let text = values_of("dex-cauth").replace("name: dex", "namespace: default\r\n    name: dex");
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
fn new_hotfix_keeps_byte_order_mark() {
    let mut tree = Tree::new();
    tree.insert(ADDON, format!("{BYTE_ORDER_MARK}{}", values_of("web")));
    assert!(new(&tree, "web", "20180605").unwrap().text.starts_with(BYTE_ORDER_MARK));
}
