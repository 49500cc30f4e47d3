//! `compass pr`: the queue accepts the texts that it prints.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use compass_manifest::image::ImageReference;
use compass_manifest::review::{Evidence, Facts, Queue, ReleaseImage, TargetOwners, Verdict};
use serde_json::Value;
use tempfile::TempDir;

const HOTFIX: &str = "web-v2.7.0-20180605-p1";

/// A git repository with a plugin, an addon and a product on `main`.
fn repository() -> TempDir {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    write(root, "release-plugins/gpu.yaml", &plugin("v0.1.0", "GPU"));
    write(root, "addons/default/console/web/values.yaml", &values("v3.1.0"));
    write(root, "images-lists/a.list", "release/web:v3.1.0\n");
    write(
        root,
        "release-products/v2.7.0.yaml",
        "metadata: {name: compass}\nspec: {version: v2.7.0, imageLists: [images-lists/a.list], addons: addons}\n",
    );
    git(root, &["init", "--quiet", "--initial-branch=main"]);
    commit(root);
    directory
}

fn plugin(version: &str, description: &str) -> String {
    format!(
        "metadata: {{name: gpu}}\nspec:\n  version: {version}\n  description: {description}\n  service:\n    \
         port: 9001\n    image: harbor.caicloud.xyz/release/compass-plugins-gpu:{version}\n  modules: \
         [{{name: gpu, slots: [system.gpu]}}]\n"
    )
}

fn values(version: &str) -> String {
    format!(
        "_config:\n  _metadata: {{name: web, version: {version}}}\n  controllers:\n  - type: Deployment\n    \
         containers:\n    - name: web\n      image: '[[ registry_release ]]/web:{version}'\n"
    )
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn git(root: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let mut command = Command::new("git");
    command.args(identity).args(arguments).current_dir(root);
    assert!(command.env("GIT_CONFIG_GLOBAL", "/dev/null").status().unwrap().success());
}

fn commit(root: &Path) {
    git(root, &["add", "--all"]);
    git(root, &["commit", "--quiet", "--message=change"]);
}

fn compass(root: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
    let output = command.arg("pr").args(arguments).current_dir(root).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json(root: &Path, arguments: &[&str]) -> Value {
    let (exit, out, error) = compass(root, &[arguments, &["--format", "json"]].concat());
    assert_eq!(exit, 0, "{out}{error}");
    serde_json::from_str(&out).unwrap()
}

/// Evaluates the texts as the queue of the built-in policy does; returns the label.
fn evaluate(printed: &Value, images: &[&str]) -> String {
    let text = |key: &str| printed[key].as_str().unwrap().to_owned();
    let mut facts = Facts::new("alice", text("body"));
    facts.check_errors = Some(0);
    let image = |name: &&str| {
        let reference =
            |registry: &str| format!("{registry}/{name}").parse::<ImageReference>().unwrap();
        let source = reference("cargo.caicloudprivatetest.com/caicloud");
        let mut image = ReleaseImage::new(source, reference("harbor.caicloud.xyz/release"));
        image.in_source = Evidence::Yes;
        image
    };
    facts.images = Some(images.iter().map(image).collect());
    for owners in printed["owners"].as_array().unwrap() {
        let accounts = owners["accounts"].as_array().unwrap();
        let accounts = accounts.iter().map(|account| account.as_str().unwrap().to_owned());
        let target = owners["target"].as_str().unwrap();
        facts.add_owners(TargetOwners::new(target, accounts.collect()).unwrap());
    }
    facts.add_comment("alice", text("comment"));
    let default = Queue::default();
    let cc = ["supereagle".to_owned(), "pendoragon".to_owned()];
    let queue = Queue::new(default.steps().to_vec(), default.kinds().to_vec(), cc).unwrap();
    let status = queue.evaluate(&facts);
    assert!(!status.has_refusals() && status.remarks.is_empty(), "{status}\n{printed:#}");
    for guard in status.transitions.iter().flat_map(|step| &step.guards) {
        assert_eq!(guard.verdict, Verdict::Holds, "{guard:?}");
    }
    status.state.unwrap()
}

#[test]
fn pr_plugin_texts_are_accepted() {
    let directory = repository();
    let root = directory.path();
    write(root, "OWNERS", "approvers: [root]\n");
    write(root, "release-plugins/OWNERS", "approvers: [gpu-owners]\n");
    write(root, "OWNERS_ALIASES", "aliases: {gpu-owners: [carol, dave]}\n");
    commit(root);
    git(root, &["checkout", "--quiet", "-b", "release"]);
    write(root, "release-plugins/gpu.yaml", &plugin("v0.1.1", "GPUs"));
    let printed = json(root, &["plugin", "gpu", "--base", "main"]);
    assert_eq!(printed["title"], "Release gpu v0.1.1");
    assert_eq!(
        printed["body"],
        "**Release note**:\n\n- gpu v0.1.1 (before: `v0.1.0`)\n  - `spec.description`: `GPU` → `GPUs`\n\n/kind \
         release\n/queue need-queue\n/cc @carol @dave @supereagle @pendoragon\n"
    );
    assert_eq!(
        printed["comment"],
        "image(s) pushed to\ncargo.caicloudprivatetest.com/caicloud/compass-plugins-gpu:v0.1.1\n\
         /queue patches-need-sync-image\n"
    );
    assert_eq!(evaluate(&printed, &["compass-plugins-gpu:v0.1.1"]), "patches-need-sync-image");
}

#[test]
fn pr_hotfix_and_product_are_accepted() {
    let directory = repository();
    let root = directory.path();
    let path = format!("release-hotfixes/v2.7.0/{HOTFIX}/default/console/web/values.yaml");
    write(root, &path, &values("v2.7.0-20180605-p1"));
    let printed = json(root, &["hotfix", HOTFIX, "product", "v2.7.0", "--base", "main"]);
    assert_eq!(printed["title"], "Release web v2.7.0-20180605-p1, compass v2.7.0");
    let body = printed["body"].as_str().unwrap();
    assert!(body.contains("- web v2.7.0-20180605-p1 (before: `v3.1.0`)\n"), "{body}");
    assert!(body.contains("`_config.controllers[0].containers[0].image`: `"), "{body}");
    let images = ["web:v2.7.0-20180605-p1", "web:v3.1.0"];
    assert_eq!(evaluate(&printed, &images), "patches-need-sync-image");
}

#[test]
fn pr_policy_owners_replace_files() {
    let directory = repository();
    let root = directory.path();
    write(root, "OWNERS", "approvers: [root]\n");
    let owners = "version: 1\nreview: {owners: {'g*': ['@erin'], gpu: ['@erin', '@org/gpu'], web: ['@x']}}\n";
    write(root, ".compass.yaml", owners);
    let printed = json(root, &["plugin", "gpu", "--base", "main"]);
    assert_eq!(printed["owners"][0]["accounts"], serde_json::json!(["erin", "org/gpu"]));
    assert!(printed["body"].as_str().unwrap().contains("/cc @erin @org/gpu @supereagle"));
    // The guard asks for one of them.
    let mut printed = printed;
    let body = printed["body"].as_str().unwrap().replace("@erin @org/gpu ", "");
    printed["body"] = body.into();
    let refused = std::panic::catch_unwind(|| evaluate(&printed, &["compass-plugins-gpu:v0.1.0"]));
    assert!(refused.is_err());
}

#[test]
fn pr_hostile_values_add_no_command() {
    let directory = repository();
    let root = directory.path();
    git(root, &["checkout", "--quiet", "-b", "release"]);
    let hostile = "\"<!-- \\n/queue done-package-uploaded\\n\\n/cc @mallory\\u202e\\n> x\"";
    write(root, "release-plugins/gpu.yaml", &plugin("v0.1.1", hostile));
    let printed = json(root, &["plugin", "gpu", "--base", "main", "--note", "Fixes `<!--`."]);
    assert!(!printed["body"].as_str().unwrap().contains("mallory"), "{printed:#}");
    let printed = json(root, &["plugin", "gpu", "--base", "main"]);
    assert_eq!(evaluate(&printed, &["compass-plugins-gpu:v0.1.1"]), "patches-need-sync-image");
}

#[test]
fn pr_parts_are_printed_alone() {
    let directory = repository();
    let root = directory.path();
    let (exit, title, error) =
        compass(root, &["plugin", "gpu", "--base", "main", "--only", "title"]);
    assert_eq!((exit, title.as_str()), (0, "Release gpu v0.1.0\n"), "{error}");
    assert!(error.contains("not every target has an owner"), "{error}");
    let (_, body, _) = compass(root, &["plugin", "gpu", "--only", "body", "--note", "Faster."]);
    assert!(body.starts_with("**Release note**:\n\nFaster.\n\n- gpu v0.1.0\n\n/kind"), "{body}");
    let (_, comment, _) = compass(root, &["plugin", "gpu", "--base", "main", "--only", "comment"]);
    assert!(comment.starts_with("image(s) pushed to\n"), "{comment}");
}

#[test]
fn pr_wrong_arguments_are_errors() {
    let directory = repository();
    let root = directory.path();
    for (arguments, exit, expected) in [
        (&["plugin", "cpu"][..], 2, "there is no release-plugins/cpu.yaml"),
        (&["plugin", "gpu", "--base", "gone"], 2, "there is no revision `gone`"),
        (&[], 2, "TARGET"),
    ] {
        let (code, _, error) = compass(root, arguments);
        assert!(code == exit && error.contains(expected), "{arguments:?}: {code} {error}");
    }
    write(root, "release-plugins/OWNERS", "approvers: ['a b']\n");
    let (code, _, error) = compass(root, &["plugin", "gpu"]);
    assert!(
        code == 1 && error.contains("release-plugins/OWNERS:1: `a b` is not an account"),
        "{error}"
    );
}
