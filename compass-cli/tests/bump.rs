//! `compass bump`: the files and the output.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const PLUGIN: &str = "release-plugins/gpu.yaml";
const ADDON: &str = "addons/default/console/web/values.yaml";

struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(TempDir::new().unwrap());
        repository.write(PLUGIN, &plugin("v0.1.0"));
        repository.write(ADDON, &addon("v3.1.53"));
        repository
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn git(&self, arguments: &[&str]) {
        let names = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"];
        let output = Command::new("git")
            .args(names)
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `compass bump …`; returns exit code, stdout and stderr.
    fn bump(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_compass"))
            .arg("bump")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

fn plugin(version: &str) -> String {
    format!(
        "\u{feff}metadata: {{name: gpu}}  # v0.1.0 stays here\r\nspec:\r\n  version: \"{version}\"\r\n  service:\r\n    \
         port: 9999\r\n    image: 'harbor.caicloud.xyz/release/compass-plugins-gpu:{version}'\r\n  \
         modules: [{{name: gpu, slots: [system.gpu]}}]"
    )
}

fn addon(version: &str) -> String {
    format!(
        "_config:\n  _metadata:\n    name: console-web # 名\n    version: {version}\n  controllers:\n  - type: Deployment\n    \
         containers:\n    - name: web\n      image: '[[ registry_release ]]/console-web:{version}'\n"
    )
}

fn hotfix(version: &str) -> String {
    format!("release-hotfixes/v2.7.0/console-web-{version}/default/console/web/values.yaml")
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn bump_plugin_keeps_other_bytes() {
    let repository = Repository::new();
    for (arguments, old, new) in [
        (&[][..], "v0.1.0", "v0.1.1"),
        (&["--patch"], "v0.1.1", "v0.1.2"),
        (&["--minor"], "v0.1.2", "v0.2.0"),
        (&["--major"], "v0.2.0", "v1.0.0"),
        (&["--to", "v1.2.3"], "v1.0.0", "v1.2.3"),
    ] {
        let (code, out, err) = repository.bump(&[&["plugin", "gpu"], arguments].concat());
        let expected = format!("{PLUGIN}: {old} -> {new}\n");
        assert_eq!((code, out.as_str(), err.as_str()), (0, expected.as_str(), ""));
        assert_eq!(repository.read(PLUGIN), plugin(new));
    }
    assert_eq!(names(&repository.path("release-plugins")), ["gpu.yaml"]);
}

#[cfg(unix)]
#[test]
fn bump_plugin_keeps_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let repository = Repository::new();
    let file = repository.path(PLUGIN);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(repository.bump(&["plugin", "gpu"]).0, 0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn bump_dry_run_prints_json() {
    let repository = Repository::new();
    let (code, out, _) = repository.bump(&["plugin", "gpu", "--dry-run", "--format", "json"]);
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &shown["written"]), (0, &Value::Bool(false)));
    assert_eq!((&shown["old"], &shown["new"]), (&"v0.1.0".into(), &"v0.1.1".into()));
    assert_eq!(shown["changes"][1]["path"], "spec.service.image");
    assert_eq!(repository.read(PLUGIN), plugin("v0.1.0"));
    let (code, _, err) = repository.bump(&["hotfix", "web", "--base", "v2.7.0", "--dry-run"]);
    assert_eq!(code, 0);
    assert!(err.contains("nothing was written"), "{err}");
    assert!(!repository.path("release-hotfixes").exists());
}

#[test]
fn bump_invalid_request_is_error() {
    let repository = Repository::new();
    for (arguments, code, fragment) in [
        (&["plugin", "cpu"][..], 2, "plugins here: gpu"),
        (&["plugin", "gpu", "--to", "v0.1.0"], 2, "`v0.1.0` is not greater than `v0.1.0`"),
        (&["plugin", "gpu", "--to", "v1.0.0-rc.1"], 2, "plugins.prerelease: true"),
        (&["plugin", "gpu", "--to", "1.0"], 2, "does not begin with `v`"),
        (&["plugin", "gpu", "--major", "--minor"], 2, "cannot be used with"),
        (&["hotfix", "web"], 2, "--base v2.7.0"),
        (&["hotfix", "app", "--base", "v2.7.0"], 2, "known addons: console-web"),
        (
            &["hotfix", "web", "--base", "v2.7.0", "--date", "20180230"],
            2,
            "expected a calendar date",
        ),
        (&["hotfix", "web-v2.7.0-20180605-p1"], 2, "there is no hotfix"),
        (
            &["hotfix", "web-v2.7.0-20180605-p1", "--base", "v2.6.0"],
            2,
            "is not a hotfix of the product",
        ),
    ] {
        let (exit, out, err) = repository.bump(arguments);
        assert_eq!((exit, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(fragment), "{arguments:?}: {err}");
    }
    repository
        .write(PLUGIN, "x: &v v1.0.0\nspec: {version: *v, service: {image: a.b/r/gpu:v1.0.0}}\n");
    let (code, _, err) = repository.bump(&["plugin", "gpu"]);
    assert_eq!(code, 1);
    assert!(err.contains("release-plugins/gpu.yaml:2:17: `spec.version` is an alias"), "{err}");
}

#[test]
fn bump_hotfix_without_tag_uses_worktree() {
    let repository = Repository::new();
    repository.write("release-products/v2.7.0.yaml", "spec: {version: v2.7.0, addons: addons}\n");
    let (code, out, err) = repository.bump(&["hotfix", "console-web", "--date", "20180605"]);
    let path = hotfix("v2.7.0-20180605-p1");
    let origin = format!("  starts with {ADDON}\n");
    assert_eq!((code, out), (0, format!("{path}: v3.1.53 -> v2.7.0-20180605-p1\n{origin}")));
    assert!(err.contains("no git tag"), "{err}");
    assert_eq!(repository.read(&path), addon("v2.7.0-20180605-p1"));
    assert_eq!(names(repository.path(&path).parent().unwrap()), ["values.yaml"]);
}

#[test]
fn bump_hotfix_starts_from_tag() {
    let repository = Repository::new();
    repository.git(&["init", "-q"]);
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-qm", "x"]);
    repository.git(&["tag", "v2.7.0"]);
    repository.write(ADDON, &addon("v4.0.0"));
    let (code, out, err) = repository
        .bump(&["hotfix", "web", "--base", "2.7.0", "--date", "20180605", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    let file = shown["file"].as_str().unwrap();
    assert_eq!((&shown["old"], &shown["from"]), (&"v3.1.53".into(), &ADDON.into()));
    assert_eq!(repository.read(file), addon("v2.7.0-20180605-p1"));

    let (code, out, printed) = repository.bump(&["hotfix", "console-web-v2.7.0-20180605-p1"]);
    let (first, second) = (hotfix("v2.7.0-20180605-p1"), hotfix("v2.7.0-20180605-p2"));
    let shown =
        format!("{second}: v2.7.0-20180605-p1 -> v2.7.0-20180605-p2\n  starts with {first}\n");
    assert_eq!((code, out), (0, shown), "{printed}");
    let arguments = ["hotfix", "web", "--from", "addon", "--date", "20180605", "--dry-run"];
    let (code, out, _) = repository.bump(&arguments);
    assert_eq!((code, out.contains(&format!("starts with {ADDON}"))), (0, true), "{out}");
    let (code, _, printed) = repository.bump(&["hotfix", "web", "--base", "v3.1.53"]);
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("there is no product v3.1.53") && printed.contains("v2.7.0"),
        "{printed}"
    );

    // The defaults are today and the newest tag.
    let (code, out, _) = repository.bump(&["hotfix", "web"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("release-hotfixes/v2.7.0/console-web-v2.7.0-2"), "{out}");
    let (code, _, err) = repository.bump(&["hotfix", "web", "--date", "20180604"]);
    assert_eq!(code, 2);
    assert!(err.contains("later day"), "{err}");
}

#[test]
fn bump_hotfix_date_is_local_or_reproducible() {
    let repository = Repository::new();
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_compass"))
            .args(["bump", "hotfix", "web", "--base", "v2.7.0", "--dry-run", "--format", "json"])
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(repository.0.path())
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["new"].as_str().unwrap().trim_start_matches("v2.7.0-")[..8].to_owned()
    };
    // 23:30 UTC is the next day in Shanghai.
    assert_eq!(
        with(&[("SOURCE_DATE_EPOCH", "1528241400"), ("TZ", "Asia/Shanghai")], &[]),
        "20180605"
    );
    let date = ["--date", "20180607"];
    assert_eq!(with(&[("SOURCE_DATE_EPOCH", "1528241400")], &date), "20180607");
    // At every time, two of these time zones have different dates.
    let dates: std::collections::BTreeSet<_> =
        ["XXX+12", "XXX0", "XXX-14"].map(|zone| with(&[("TZ", zone)], &[])).into();
    assert!(dates.len() > 1, "{dates:?}");
}

#[cfg(unix)]
#[test]
fn bump_hotfix_link_is_not_followed() {
    let (repository, elsewhere) = (Repository::new(), TempDir::new().unwrap());
    fs::create_dir(repository.path("release-hotfixes")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), repository.path("release-hotfixes/v2.7.0"))
        .unwrap();
    let (code, _, err) = repository.bump(&["hotfix", "web", "--base", "v2.7.0"]);
    assert_eq!(code, 2);
    assert!(err.contains("release-hotfixes/v2.7.0 is not a directory"), "{err}");
    assert!(names(elsewhere.path()).is_empty());
}
