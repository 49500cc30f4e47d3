//! `compass check --base`: each rule about changes, with a change that violates it and one that does
//! not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const HOTFIX: &str =
    "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml";
const ADDON: &str = "addons/default/console/web/values.yaml";
const PLUGIN: &str = "release-plugins/gpu.yaml";

/// A git repository with one commit, tagged `v2.7.0`, on branch `main`; the change is on `topic`.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(TempDir::new().unwrap());
        repository.git(&["init", "-q", "-b", "main"]);
        repository.write(PLUGIN, &plugin("v0.1.9", 9999));
        repository.write(ADDON, &addon("v3.1.53", "v3.1.53", ""));
        repository.write("docs/guide.txt", "guide\n");
        repository.write("images-lists/platform.list", "release/web:v3.1.53\n");
        repository.commit();
        repository.git(&["tag", "v2.7.0"]);
        repository.git(&["checkout", "-q", "-b", "topic"]);
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
        let output = Command::new("git")
            .arg("-C")
            .arg(self.path())
            .args(identity)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
    }

    /// Commits a file to `main`, and merges it into `topic`.
    fn before(self, path: &str, text: &str) -> Self {
        self.git(&["checkout", "-q", "main"]);
        self.write(path, text);
        self.commit();
        self.git(&["checkout", "-q", "topic"]);
        self.git(&["merge", "-q", "--ff-only", "main"]);
        self
    }

    fn with(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    fn check(&self, more: &[&str]) -> (i32, Value) {
        let output = compass(self.path(), &[&["check", "--format", "json"], more].concat());
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap(), serde_json::from_str(&stdout).expect(&stdout))
    }

    /// The codes of the findings that the change causes.
    fn new_findings(&self) -> Vec<String> {
        let (exit, report) = self.check(&["--base", "main"]);
        assert_eq!(exit, i32::from(report["errors"] != 0), "{report:#}");
        let findings = report["findings"].as_array().unwrap().iter();
        let new = findings.filter(|finding| finding["preexisting"] == false);
        new.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    }
}

fn compass(directory: &Path, arguments: &[&str]) -> Output {
    let output =
        Command::new(env!("CARGO_BIN_EXE_compass")).current_dir(directory).args(arguments).output();
    output.unwrap()
}

fn plugin(version: &str, port: u16) -> String {
    format!(
        "metadata: {{name: gpu}}\nspec:\n  version: {version}\n  service:\n    port: {port}\n    \
         image: harbor.caicloud.xyz/release/compass-plugins-gpu:{version}\n  modules:\n  - name: \
         gpu\n    slots: [system.gpu]\n"
    )
}

fn addon(version: &str, tag: &str, more: &str) -> String {
    format!(
        "_config:\n  _metadata:\n    name: web\n    version: {version}\n  controllers:\n  - type: \
         Deployment\n    containers:\n    - image: '[[ registry_release ]]/web:{tag}'\n{more}"
    )
}

fn hotfix(number: u32, more: &str) -> String {
    let version = format!("v2.7.0-20180605-p{number}");
    addon(&version, &version, more)
}

fn hotfix_path(number: u32) -> String {
    HOTFIX.replace("-p1/", &format!("-p{number}/"))
}

const POD: &str = "    pod:\n      restart: Always\n";

#[test]
fn base_changed_plugin_needs_greater_version() {
    let changed = |text: &str| Repository::new().with(PLUGIN, text).new_findings();
    assert_eq!(changed(&plugin("v0.1.9", 8888)), ["plugin-version-not-increased"]);
    assert_eq!(changed(&plugin("v0.1.8", 9999)), ["plugin-version-not-increased"]);
    assert!(changed(&plugin("v0.1.10", 8888)).is_empty());
    assert!(changed(&format!("# why\n{}", plugin("v0.1.9", 9999))).is_empty());
}

#[test]
fn base_new_hotfix_needs_next_number() {
    let after = |number: u32| {
        let repository = Repository::new().before(&hotfix_path(9), &hotfix(9, ""));
        repository.with(&hotfix_path(number), &hotfix(number, "")).new_findings()
    };
    assert_eq!(after(8), ["hotfix-version-reused"]);
    assert!(after(10).is_empty());
}

#[test]
fn base_hotfix_change_outside_controllers_found() {
    let with = |text: &str| Repository::new().with(HOTFIX, text).new_findings();
    let classified = hotfix(1, "").replace("    name: web\n", "    name: web\n    class: Other\n");
    assert_eq!(with(&classified), ["hotfix-field-changed"]);
    assert!(with(&hotfix(1, "")).is_empty());
    // Other fields below the controllers are a note.
    let repository = Repository::new().with(HOTFIX, &hotfix(1, POD));
    let (exit, report) = repository.check(&["--base", "main"]);
    assert_eq!((exit, &report["notes"]), (0, &Value::from(1)), "{report:#}");
}

#[test]
fn base_hotfix_image_tag_is_version() {
    let with = |tag: &str| {
        let side = format!("    - image: '[[ registry_release ]]/side:{tag}'\n");
        let repository = Repository::new().before(
            ADDON,
            &addon("v3.1.53", "v3.1.53", "    - image: '[[ registry_release ]]/side:v1.0.0'\n"),
        );
        repository.git(&["tag", "-f", "v2.7.0", "main"]);
        repository.with(HOTFIX, &hotfix(1, &side)).new_findings()
    };
    let (moved, kept) = (with("v1.0.1"), with("v1.0.0"));
    assert!(moved.contains(&"hotfix-image-reference".to_owned()), "{moved:?}");
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn base_release_with_other_files_found() {
    let release = || Repository::new().with(PLUGIN, &plugin("v0.2.0", 9999));
    assert!(release().new_findings().is_empty());
    assert_eq!(release().with("docs/guide.txt", "new\n").new_findings(), ["change-scope"]);
    assert_eq!(release().with("new.bin", "new\n").new_findings(), ["change-scope"]);
    assert_eq!(release().with(HOTFIX, &hotfix(1, "")).new_findings(), ["change-scope"]);
    assert!(release().with(".gitignore", "").with("docs/guide.txt", "guide\n").git_ignores());
    // A change that is not a release may touch any file.
    assert!(Repository::new().with("docs/guide.txt", "new\n").new_findings().is_empty());
    // A deleted file counts as well.
    let repository = release();
    fs::remove_file(repository.path().join("docs/guide.txt")).unwrap();
    assert_eq!(repository.new_findings(), ["change-scope"]);
}

impl Repository {
    /// Whether the change does not contain ignored files.
    fn git_ignores(self) -> bool {
        let repository = self.before(".gitignore", "target\n");
        repository.write("target/other.yaml", "a: 1\n");
        repository.new_findings().is_empty()
    }
}

#[test]
fn base_policy_allows_image_lists() {
    let list = ("images-lists/platform.list", "release/web:v3.1.53\n# more\n");
    let release = || Repository::new().with(PLUGIN, &plugin("v0.2.0", 9999));
    assert_eq!(release().with(list.0, list.1).new_findings(), ["change-scope"]);
    let policy = "version: 1\nscope: {image_lists: true}\n";
    let repository = Repository::new().before(".compass.yaml", policy);
    let repository = repository.with(PLUGIN, &plugin("v0.2.0", 9999)).with(list.0, list.1);
    assert!(repository.new_findings().is_empty());
}

#[test]
fn base_changed_values_need_new_version() {
    let before = || Repository::new().before(HOTFIX, &hotfix(1, ""));
    let findings = before().with(HOTFIX, &hotfix(1, POD)).new_findings();
    assert!(findings.contains(&"addon-version-not-increased".to_owned()), "{findings:?}");
    let list = "release/web:v3.1.54\n";
    let next = addon("v3.1.54", "v3.1.54", "");
    let repository = Repository::new().with(ADDON, &next).with("images-lists/platform.list", list);
    assert!(repository.new_findings().is_empty());
    let repository = Repository::new().with(ADDON, &addon("v3.1.53", "v3.1.53", POD));
    assert_eq!(repository.new_findings(), ["addon-version-not-increased"]);
}

#[test]
fn base_preexisting_finding_does_not_fail() {
    let repository =
        Repository::new().before("release-plugins/log.yaml", "metadata: {name: log}\n");
    let repository = repository.with("docs/guide.txt", "new\n");
    let (exit, report) = repository.check(&["--base", "main"]);
    assert_eq!((exit, &report["errors"]), (0, &Value::from(0)), "{report:#}");
    assert!(report["findings"].as_array().unwrap().iter().all(|f| f["preexisting"] == true));
    let (exit, report) = repository.check(&["--base", "main", "--strict"]);
    assert_eq!(exit, 1, "{report:#}");
    assert_eq!(repository.check(&[]).0, 1);
}

#[test]
fn base_other_commits_are_ignored() {
    let repository = Repository::new().with(PLUGIN, &plugin("v0.2.0", 9999));
    repository.commit();
    repository.git(&["checkout", "-q", "main"]);
    repository.write("docs/guide.txt", "newer\n");
    repository.commit();
    repository.git(&["checkout", "-q", "topic"]);
    assert!(repository.new_findings().is_empty());
}

#[test]
fn base_repository_in_git_subdirectory() {
    let repository = Repository::new();
    let inner: PathBuf = repository.path().join("inner");
    for (path, text) in [(PLUGIN, plugin("v0.1.9", 9999)), ("other.txt", String::new())] {
        repository.write(&format!("inner/{path}"), &text);
    }
    repository.git(&["checkout", "-q", "main"]);
    repository.commit();
    repository.write(&format!("inner/{PLUGIN}"), &plugin("v0.1.9", 8888));
    repository.write("outside.txt", "x");
    let output = compass(&inner, &["check", "--base", "main", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["findings"][0]["file"], PLUGIN);
}

/// Runs a check; returns the exit code and the human output.
fn checked(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = compass(directory, &[&["check"], arguments].concat());
    let streams = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(streams).unwrap())
}

#[test]
fn base_missing_revision_hint_fetches_it() {
    let repository = Repository::new();
    let (code, message) = checked(repository.path(), &["--base", "origin/release"]);
    assert_eq!((code, message.contains("git fetch")), (2, false), "there is no remote: {message}");

    repository.commit_all_and_clone_shallow(|clone| {
        // The commands of the hints work until the base can be compared.
        let (code, message) = checked(clone, &["--base", "v2.7.0"]);
        assert_eq!(code, 2, "{message}");
        assert!(
            message.contains("`git fetch origin v2.7.0`, then `--base FETCH_HEAD`"),
            "{message}"
        );
        let git = |arguments: &[&str]| {
            let status = Command::new("git").arg("-C").arg(clone).args(arguments).status();
            assert!(status.unwrap().success());
        };
        git(&["fetch", "-q", "--depth=1", "origin", "v2.7.0"]);
        let (code, message) = checked(clone, &["--base", "FETCH_HEAD"]);
        assert_eq!(code, 2, "{message}");
        assert!(
            message.contains("shallow") && message.contains("git fetch --unshallow"),
            "{message}"
        );
        git(&["fetch", "-q", "origin", "v2.7.0"]);
        git(&["fetch", "-q", "--unshallow"]);
        git(&["fetch", "-q", "origin", "v2.7.0"]);
        let (code, message) = checked(clone, &["--base", "FETCH_HEAD"]);
        assert_eq!(code, 0, "{message}");
    });
}

#[test]
fn base_unfetchable_has_no_fetch_hint() {
    let repository = Repository::new();
    repository.git(&["remote", "add", "origin", "/nonexistent"]);
    for base in ["", " ", "origin/", &"0".repeat(40), "main..HEAD", "main...HEAD", "HEAD~9", "-x"] {
        let (code, message) = checked(repository.path(), &[&format!("--base={base}")]);
        assert_eq!((code, message.contains("git fetch")), (2, false), "`{base}`: {message}");
    }
    let (_, message) = checked(repository.path(), &["--base", "release"]);
    assert!(message.contains("`git fetch origin release`, then `--base FETCH_HEAD`"), "{message}");
    repository.git(&["update-ref", "refs/remotes/origin/release", "HEAD"]);
    let (_, message) = checked(repository.path(), &["--base", "release"]);
    assert!(message.contains("did you mean `--base origin/release`"), "{message}");
}

impl Repository {
    fn commit_all_and_clone_shallow(&self, then: impl FnOnce(&Path)) {
        self.write("docs/guide.txt", "second\n");
        self.commit();
        let clone = TempDir::new().unwrap();
        let from = format!("file://{}", self.path().display());
        let status = Command::new("git")
            .args(["clone", "-q", "--depth=1", "--no-tags", "--branch", "topic", &from])
            .arg(clone.path())
            .status();
        assert!(status.unwrap().success());
        then(clone.path());
    }
}

#[test]
fn base_without_git_is_error() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("release-plugins")).unwrap();
    let output = compass(directory.path(), &["check", "--base", "main"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("not in a git repository"), "{message}");
}
