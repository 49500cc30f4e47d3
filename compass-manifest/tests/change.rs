//! Checks of changes against their base, and of hotfixes against their products.
#![allow(clippy::unwrap_used)]

use compass_manifest::source::SourceFile;
use compass_manifest::{Check, Policy, ReleaseRepository, Report, Tree, check, check_change};

fn values(version: &str, more: &str) -> String {
    format!(
        "_config:\n  _metadata:\n    name: web\n    version: {version}\n{more}  controllers:\n  - \
         type: Deployment\n    containers:\n    - image: '[[ registry_release ]]/web:{version}'\n"
    )
}

fn hotfix(base: &str, date: &str, patch: u32) -> (String, String) {
    let version = format!("{base}-{date}-p{patch}");
    let path = format!("release-hotfixes/{base}/web-{version}/default/console/web/values.yaml");
    (path, values(&version, ""))
}

fn plugin(name: &str, port: u16) -> (String, String) {
    let image = format!("harbor.example/release/compass-plugins-{name}:v0.1.0");
    (
        format!("release-plugins/{name}.yaml"),
        format!(
            "metadata: {{name: {name}}}\nspec:\n  version: v0.1.0\n  service:\n    port: {port}\n    image: {image}\n  modules: []\n"
        ),
    )
}

fn tree<P: Into<String>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Tree {
    files.into_iter().map(|(path, text)| (path, text.into().into_bytes())).collect()
}

fn policy(text: &str) -> Policy {
    Policy::parse(&SourceFile::new(".compass.yaml", format!("version: 1\n{text}"))).unwrap()
}

fn load(tree: &Tree, policy: &Policy) -> ReleaseRepository {
    ReleaseRepository::load(tree.clone(), policy.clone())
}

fn codes(report: &Report) -> Vec<&str> {
    let new = report.findings().iter().filter(|finding| !finding.preexisting);
    new.map(|finding| finding.code).collect()
}

const ADDON: &str = "addons/default/console/web/values.yaml";

#[test]
fn hotfix_compared_with_addon_of_product() {
    let classified = |class: &str| values("v3.1.53", &format!("    class: {class}\n"));
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let text = text.replace("    name: web\n", "    name: web\n    class: A\n");
    let head = tree([(path, text)]);
    let (same, other) = (tree([(ADDON, classified("A"))]), tree([(ADDON, classified("B"))]));
    let policy = Policy::default();
    let judged = |version: &str, product: &Tree| {
        let (head, product) = (load(&head, &policy), load(product, &policy));
        let report = Check::new(&head).with_product(version, &product).run();
        report.findings().iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(judged("v2.7.0", &other), ["hotfix-field-changed"]);
    assert_eq!(judged("2.7.0-GA", &other), ["hotfix-field-changed"]);
    assert!(judged("v2.7.0", &same).is_empty());
    assert!(judged("v2.7.1", &other).is_empty(), "the addon of another product is not compared");
    let elsewhere = tree([("addons/default/user/web/values.yaml", classified("B"))]);
    assert!(judged("v2.7.0", &elsewhere).is_empty(), "another group has a different `web`");
}

#[test]
fn hotfix_changed_image_needs_its_version() {
    let product = tree([(ADDON, values("v3.1.53", ""))]);
    let judged = |image: &str| {
        let (path, text) = hotfix("v2.7.0", "20180605", 1);
        let text = text.replace("/web:v2.7.0-20180605-p1", image);
        let (head, policy) = (tree([(path, text)]), Policy::default());
        let (head, product) = (load(&head, &policy), load(&product, &policy));
        let report = Check::new(&head).with_product("v2.7.0", &product).run();
        let changed = "the image differs from the addon's, but its tag is ";
        let tags = report.findings().iter().filter_map(|finding| {
            assert_ne!(finding.code, "yaml-syntax");
            finding.message.strip_prefix(changed).map(str::to_owned)
        });
        tags.collect::<Vec<_>>()
    };
    assert!(judged("/web:v2.7.0-20180605-p1").is_empty());
    assert!(judged("/web:v3.1.53").is_empty(), "the image is equal to the addon's");
    assert_eq!(judged("/web:v3.1.54"), ["`v3.1.54`"]);
    assert_eq!(judged("/other:v3.1.53"), ["`v3.1.53`"]);
}

#[test]
fn hotfix_base_is_in_product_directory() {
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let product = |version: &str, directory: &str| {
        (
            format!("release-products/{version}.yaml"),
            format!(
                "metadata: {{name: compass}}\nspec: {{version: {version}, addons: {directory}}}\n"
            ),
        )
    };
    let classified = values("v3.1.53", "    class: B\n");
    let with = |version: &str| {
        let at = |directory: &str| format!("{directory}/default/console/web/values.yaml");
        let head = tree([
            (path.clone(), text.clone()),
            product(version, "addons-a"),
            product("v2.8.0", "addons-b"),
            (at("addons-a"), classified.clone()),
            (at("addons-b"), values("v3.1.53", "")),
        ]);
        check(&head, &Policy::default()).findings().iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(with("v2.7.0"), ["hotfix-field-changed"]);
    assert!(with("v2.7.5").is_empty());
}

#[test]
fn hotfix_base_addons_need_changed_hotfix() {
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let addon = (ADDON.to_owned(), values("v3.1.53", "    class: B\n"));
    let before = tree([addon.clone()]);
    let after = tree([addon, (path, text)]);
    assert!(check(&after, &Policy::default()).findings().is_empty());
    let report = check_change(&before, &after, &Policy::default());
    assert_eq!(codes(&report), ["hotfix-field-changed"]);
    assert!(codes(&check_change(&after, &after, &Policy::default())).is_empty());
}

#[test]
fn change_scope_same_date_hotfixes_permitted() {
    let together = policy("scope: {hotfixes_together: true}\n");
    let change = |policy: &Policy, files: Vec<(String, String)>| {
        let report = check_change(&Tree::new(), &tree(files), policy);
        codes(&report).iter().filter(|code| **code == "change-scope").count()
    };
    let one_day = || vec![hotfix("v2.7.0", "20180605", 1), hotfix("v2.7.1", "20180605", 1)];
    let two_days = vec![hotfix("v2.7.0", "20180605", 1), hotfix("v2.7.1", "20180606", 1)];
    assert_eq!(change(&Policy::default(), one_day()), 1);
    assert_eq!(change(&together, one_day()), 0);
    assert_eq!(change(&together, two_days), 1);
    let plugin = "metadata: {name: gpu}\nspec:\n  version: v0.1.0\n  service: {port: 1, image: 'harbor.example/release/compass-plugins-gpu:v0.1.0'}\n  modules: []\n";
    let mut mixed = one_day();
    mixed.push(("release-plugins/gpu.yaml".to_owned(), plugin.to_owned()));
    assert_eq!(change(&together, mixed), 2);
}

#[test]
fn change_scope_moved_hotfix_passes() {
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let (other, other_text) = hotfix("v2.7.0", "20180606", 1);
    let old = "release-hotfixes/old/web/values.yaml".to_owned();
    let before = tree([(old.clone(), text.clone())]);
    let moved = tree([(path.clone(), text.clone()), (other.clone(), other_text.clone())]);
    assert!(codes(&check_change(&before, &moved, &Policy::default())).is_empty());
    // A copy is not a move, and a file with other values is not a move either.
    let copied = tree([
        (old.clone(), text.clone()),
        (path.clone(), text.clone()),
        (other.clone(), other_text.clone()),
    ]);
    assert_eq!(codes(&check_change(&before, &copied, &Policy::default())), ["change-scope"]);
    let rewritten =
        tree([(path, text.replace("type: Deployment", "type: DaemonSet")), (other, other_text)]);
    let report = check_change(&before, &rewritten, &Policy::default());
    let messages = report.findings().iter().map(|finding| finding.message.as_str());
    let messages: Vec<_> = messages.filter(|message| message.contains("deletes")).collect();
    assert_eq!(codes(&report), ["change-scope"; 2]);
    assert_eq!(messages.len(), 1, "{messages:?}");
}

#[test]
fn change_scope_deleted_target_is_error() {
    let before = tree([
        plugin("gpu", 1),
        plugin("log", 2),
        hotfix("v2.7.0", "20180605", 1),
        hotfix("v2.7.0", "20180606", 1),
    ]);
    let changed = (plugin("gpu", 1).0, plugin("gpu", 3).1.replace("v0.1.0", "v0.1.1"));
    let after = tree([changed.clone(), plugin("log", 2), hotfix("v2.7.0", "20180605", 1)]);
    let report = check_change(&before, &after, &Policy::default());
    assert_eq!(codes(&report), ["change-scope"], "the hotfix is deleted");
    let hotfixes = [hotfix("v2.7.0", "20180605", 1), hotfix("v2.7.0", "20180606", 1)];
    let after = tree([[changed].as_slice(), &hotfixes].concat());
    let report = check_change(&before, &after, &Policy::default());
    assert_eq!(codes(&report), ["change-scope"], "the plugin is deleted");
    // A change with only deletions releases nothing.
    let after = tree([plugin("gpu", 1)]);
    assert!(codes(&check_change(&before, &after, &Policy::default())).is_empty());
}

#[test]
fn plugin_renamed_file_needs_greater_version() {
    let before = tree([plugin("gpu", 1)]);
    for path in ["release-plugins/gpu.yml", "plugins-v2/gpu.yaml"] {
        let policy = policy("plugins: {directory: [release-plugins, plugins-v2]}\n");
        let renamed = |port: u16, version: &str| {
            let text = plugin("gpu", port).1.replace("v0.1.0", version);
            codes(&check_change(&before, &tree([(path, text)]), &policy)).join(" ")
        };
        assert_eq!(renamed(1, "v0.1.0"), "", "{path}");
        assert_eq!(renamed(2, "v0.1.1"), "", "{path}");
        assert_eq!(renamed(2, "v0.1.0"), "plugin-version-not-increased", "{path}");
        assert_eq!(renamed(1, "v0.0.9"), "plugin-version-not-increased", "{path}");
    }
}

#[test]
fn hotfix_changed_while_moved_needs_version() {
    let policy = policy(
        "hotfixes:\n  patterns:\n  - {path: '(?P<base>v[^/]+)/(?P<addon>[^/]+?)-(?P<version>v[^/]+)/.*', version: hotfix}\n",
    );
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let before = tree([(path.clone(), text.clone())]);
    let elsewhere = path.replace("/console/", "/portal/");
    let moved = |text: String| {
        codes(&check_change(&before, &tree([(elsewhere.clone(), text)]), &policy)).join(" ")
    };
    assert_eq!(moved(text.clone()), "");
    let changed = text.replace("type: Deployment", "type: DaemonSet");
    assert!(moved(changed).contains("addon-version-not-increased"));
}

#[test]
fn hotfix_latest_is_per_addon_product() {
    let before = tree([hotfix("v2.7.1", "20180605", 9), hotfix("v2.7.0", "20180601", 3)]);
    let with = |new: (String, String)| {
        let mut after = before.clone();
        after.insert(new.0, new.1);
        codes(&check_change(&before, &after, &Policy::default())).join(" ")
    };
    assert_eq!(with(hotfix("v2.7.0", "20180601", 4)), "");
    assert_eq!(with(hotfix("v2.7.0", "20180601", 2)), "hotfix-version-reused");
    assert_eq!(with(hotfix("v2.7.0", "20180531", 9)), "hotfix-version-reused");
    let (path, text) = hotfix("v2.7.0", "20180601", 1);
    let another = (path.replace("/web-", "/user-").replace("/web/", "/user/"), text);
    assert_eq!(with(another), "");
    // Renaming a hotfix to an older version publishes an older version too.
    let after = tree([hotfix("v2.7.1", "20180605", 9), hotfix("v2.7.0", "20180601", 2)]);
    let report = check_change(&before, &after, &Policy::default());
    assert_eq!(codes(&report), ["hotfix-version-reused", "change-scope"]);
}

#[test]
fn hotfix_version_in_two_packages_fails() {
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let again = path.replace("/v2.7.0/", "/v2.7.0-ga/");
    let before = tree([(path.clone(), text.clone())]);
    let after = tree([(path, text.clone()), (again, text)]);
    let report = check(&after, &Policy::default());
    assert!(codes(&report).is_empty(), "each product has its own: {:?}", report.findings());
    let report = check_change(&before, &after, &Policy::default());
    assert!(!codes(&report).contains(&"hotfix-version-reused"), "{:?}", report.findings());
}

#[test]
fn suppression_in_policy_matches_subjects() {
    let head = tree([plugin("a", 80), plugin("b", 80)]);
    let with = |allow: &str| {
        let report = check(
            &head,
            &policy(&format!("allow: [{{code: port-conflict, {allow} reason: x}}]\n")),
        );
        (codes(&report).join(" "), report.suppressed().len())
    };
    for allow in
        ["", "plugin: a,", "plugin: b,", "port: 80,", "plugin: a, port: 80,", "file: '*/b.yaml',"]
    {
        assert_eq!(with(allow), (String::new(), 1), "{allow}");
    }
    for allow in ["plugin: c,", "port: 81,", "slot: x,", "file: '*/a.yaml',"] {
        assert_eq!(with(allow).1, 0, "{allow}");
        assert!(with(allow).0.contains("unused-allowance"), "{allow}");
    }
}

#[test]
fn suppression_comment_applies_to_line() {
    let with = |before: &str, behind: &str| {
        let text = format!(
            "metadata:\n{before}  name: cpu{behind}\n  alias: x\nspec:\n  version: v0.1.0\n  service: {{port: 1, image: 'harbor.example/release/compass-plugins-gpu:v0.1.0'}}\n  modules: []\n"
        );
        codes(&check(&tree([("release-plugins/gpu.yaml", text)]), &Policy::default())).join(" ")
    };
    let mark = "# compass:allow plugin-name-mismatch";
    assert_eq!(with("", ""), "plugin-name-mismatch");
    assert_eq!(with("", &format!(" {mark} it has two names")), "");
    assert_eq!(with(&format!("  {mark} it has two names\n"), ""), "");
    assert_eq!(with("", &format!(" {mark}")), "plugin-name-mismatch unused-allowance");
    assert_eq!(
        with("", " # compass:allow slot-conflict why"),
        "plugin-name-mismatch unused-allowance"
    );
    assert_eq!(
        with("", " # compass:allow no-such-rule why"),
        "plugin-name-mismatch unused-allowance"
    );
    assert_eq!(
        with("  description: '# compass:allow plugin-name-mismatch in a text'\n", ""),
        "plugin-name-mismatch",
        "a marker in a value is not a comment"
    );
}

#[test]
fn policy_severity_replaces_rule_severity() {
    let head = tree([("release-plugins/gpu.yaml", "metadata: {name: cpu}\n")]);
    let severity = |text: &str| {
        let report = check(&head, &policy(text));
        let found = report.findings().iter().find(|finding| finding.code == "plugin-name-mismatch");
        found.map(|finding| format!("{:?}", finding.severity))
    };
    assert_eq!(severity("").as_deref(), Some("Error"));
    assert_eq!(severity("rules: {plugin-name-mismatch: note}\n").as_deref(), Some("Note"));
    assert_eq!(severity("rules: {plugin-name-mismatch: off}\n"), None);
}

#[test]
fn product_version_required_in_any_file() {
    let product = "metadata: {name: compass}\nspec:\n  version: two\n  addons: addons\n";
    let head =
        tree([("release-products/v2.7.0.yaml", product.to_owned()), (ADDON, values("v1.0.0", ""))]);
    let report = check(&head, &Policy::default());
    assert_eq!(codes(&report), ["product-version-format"], "{:?}", report.findings());
    assert_eq!(report.findings()[0].location.start.line, 3);
}

#[test]
fn suppression_in_invalid_yaml_is_ignored() {
    let head = tree([("release-plugins/gpu.yaml", "a: 'b' c # compass:allow yaml-syntax why\n")]);
    let report = check(&head, &Policy::default());
    assert_eq!(codes(&report), ["yaml-syntax"], "{:?}", report.findings());
}

#[test]
fn duplicate_key_alone_fails() {
    let (path, text) = plugin("a", 80);
    let text = format!("{text}more: {{same: 1, same: 2}}\n");
    let report = check(&tree([(path, text)]), &Policy::default());
    assert!(codes(&report).contains(&"duplicate-key"), "{:?}", report.findings());
}

#[test]
fn hotfix_package_counts_once() {
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let other = path.replace("release-hotfixes/", "older-hotfixes/");
    let policy = policy("hotfixes: {directory: [release-hotfixes, older-hotfixes]}\n");
    let report = check(&tree([(path, text.clone()), (other, text)]), &policy);
    let reused = report.findings().iter().filter(|finding| finding.code == "hotfix-version-reused");
    assert_eq!(reused.count(), 1, "{:?}", report.findings());
}

#[test]
fn change_scope_image_lists_permitted() {
    let list = |text: &str| ("images-lists/web.list".to_owned(), text.to_owned());
    let before = tree([list("release/a:v1.0.0\n")]);
    let after = tree([plugin("a", 80), list("release/a:v1.0.1\n")]);
    let out_of_scope = |scope: &str| {
        let report = check_change(&before, &after, &policy(scope));
        report.findings().iter().any(|finding| finding.code == "change-scope")
    };
    assert!(out_of_scope(""));
    assert!(!out_of_scope("scope: {image_lists: true}\n"));
}

#[test]
fn hotfix_base_ignores_other_product() {
    let (path, text) = hotfix("v2.7.0", "20180605", 1);
    let addon = (ADDON.to_owned(), values("v3.1.53", "    class: B\n"));
    let product = (
        "release-products/v2.8.0.yaml".to_owned(),
        "metadata: {name: compass}\nspec: {version: v2.8.0, addons: addons}\n".to_owned(),
    );
    let before = tree([addon.clone(), product.clone()]);
    let after = tree([addon, product, (path, text)]);
    let report = check_change(&before, &after, &Policy::default());
    assert!(!codes(&report).contains(&"hotfix-field-changed"), "{:?}", report.findings());
}

#[test]
fn missing_file_chart_without_addon_fails() {
    let charts = "spec:\n- targetPath: default/console/web\n  resourcePaths: [charts/values.yaml, charts/gone.yaml]\n";
    let head = tree([("charts.yaml", charts.to_owned()), (ADDON, values("v1.0.0", ""))]);
    let report = check(&head, &policy("products: {chart_lists: [charts.yaml]}\n"));
    let missing: Vec<_> = report.findings().iter().map(|finding| &finding.message).collect();
    assert_eq!(
        missing,
        [
            "the addon `default/console/web/gone.yaml`, collected from `charts/gone.yaml`, does not exist"
        ]
    );
}
