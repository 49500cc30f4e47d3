//! `compass init`: policies that fit repositories.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Runs `compass`; returns its exit code, stdout and stderr.
fn compass(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_compass"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn policy(directory: &Path) -> String {
    fs::read_to_string(directory.join(".compass.yaml")).unwrap()
}

fn plugin(name: &str, slot: &str, port: u16) -> String {
    format!(
        "metadata: {{name: {name}}}\nspec:\n  version: v0.1.0\n  service:\n    port: {port}\n    image: \
         registry.example/team/compass-plugins-{name}:v0.1.0\n  modules: [{{name: {name}, slots: [{slot}]}}]\n"
    )
}

fn values(name: &str, version: &str, image: &str) -> String {
    format!(
        "_config:\n  _metadata: {{name: {name}, version: {version}, namespace: default}}\n  controllers:\n  \
         - type: Deployment\n    containers:\n    - name: x\n      image: '{image}'\n      env:\n      \
         - {{name: HOST, value: 'http://[[ site_host ]]:80'}}\n"
    )
}

#[test]
fn init_other_layout_is_found_and_passes() {
    let directory = TempDir::new().unwrap();
    let image = "[[ registry_own ]]/web";
    write(
        directory.path(),
        &[
            ("plugins/gpu.yaml", &plugin("gpu", "system.plugins", 9001)),
            ("plugins/log.yaml", &plugin("log", "system.plugins", 9001)),
            (
                "components/addons/default/console/web/values.yaml",
                &values("web", "v3.1.0", &format!("{image}:v3.1.0")),
            ),
            (
                "fixes/2.7.0/20180725/compass-hotfixes-web-v3.1.1/default/console/web/values.yaml",
                &values("web", "v3.1.1", &format!("{image}:v3.1.1")),
            ),
            ("lists/platform.txt", "# platform\nrelease/web:v3.1.0\n"),
            ("lists/base.txt", "library/alpine:3.6\nlibrary/redis:5\n"),
            (
                "versions/v2.7.0.yaml",
                "metadata: {name: compass}\nspec: {version: v2.7.0, imageLists: [lists/platform.txt]}\n",
            ),
        ],
    );
    let (exit, out, error) = compass(directory.path(), &["init"]);
    assert!(exit == 0 && out.ends_with("/.compass.yaml was written\n"), "{out}{error}");
    assert!(error.contains("`compass check` finds 0 errors"), "{error}");
    let text = policy(directory.path());
    for line in [
        "  release: registry.example/team\n",
        "  directory: plugins\n",
        "  shared_slots: [system.plugins]\n",
        "  shared_ports: [9001]\n",
        "  directory: fixes\n",
        "version: component}\n",
        "  addons: components/addons\n",
        "  directory: versions\n",
        "  image_lists: [\"lists/*.txt\"]\n",
        "  addon_lists: [lists/platform.txt]\n",
        "  registry_own: \"{release}\"\n",
        "  site_host: ~\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let (exit, out, error) = compass(directory.path(), &["check"]);
    assert_eq!(exit, 0, "{out}{error}");
}

#[test]
fn init_example_repository_passes() {
    let directory = TempDir::new().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/release"), directory.path());
    fs::remove_file(directory.path().join(".compass.yaml")).unwrap();
    let (exit, _, error) = compass(directory.path(), &["init"]);
    assert_eq!(exit, 0, "{error}");
    let text = policy(directory.path());
    assert!(text.contains("\n  # directory: release-plugins\n"), "{text}");
    let (exit, out, error) = compass(directory.path(), &["check"]);
    assert_eq!(exit, 0, "{out}{error}{text}");
}

#[test]
fn init_empty_repository_has_defaults_only() {
    let directory = TempDir::new().unwrap();
    let (exit, out, error) = compass(directory.path(), &["init", "--dry-run"]);
    assert_eq!(exit, 0, "{error}");
    let settings =
        out.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
    assert_eq!(settings.collect::<Vec<_>>(), ["version: 1"]);
    assert!(!directory.path().join(".compass.yaml").exists());
    // The commented settings are valid, too.
    let active: String = out
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if rest.contains(": ") || rest.ends_with(':') => {
                let indent = &line[..line.len() - line.trim_start().len()];
                let is_setting = rest
                    .split(':')
                    .next()
                    .unwrap()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '_');
                if is_setting { format!("{indent}{rest}\n") } else { format!("{line}\n") }
            }
            _ => format!("{line}\n"),
        })
        .collect();
    write(directory.path(), &[("all.yaml", &active)]);
    let (exit, out, error) =
        compass(directory.path(), &["check", "--repo", ".", "--policy", "all.yaml"]);
    assert_eq!(exit, 0, "{active}{out}{error}");
}

#[test]
fn init_existing_policy_is_kept() {
    let directory = TempDir::new().unwrap();
    for existing in ["version: 1\n", ""] {
        write(directory.path(), &[(".compass.yaml", existing)]);
        let (exit, _, error) = compass(directory.path(), &["init"]);
        assert_eq!(exit, 2, "{error}");
        assert!(error.contains("exists already") && error.contains("--dry-run"), "{error}");
        assert_eq!(policy(directory.path()), existing);
    }
    fs::remove_file(directory.path().join(".compass.yaml")).unwrap();
    std::os::unix::fs::symlink("gone", directory.path().join(".compass.yaml")).unwrap();
    assert_eq!(compass(directory.path(), &["init"]).0, 2);
}

#[test]
fn init_subdirectory_writes_at_git_root() {
    let directory = TempDir::new().unwrap();
    let git = |arguments: &[&str]| {
        let ran = Command::new("git").args(arguments).current_dir(directory.path()).output();
        assert!(ran.unwrap().status.success());
    };
    git(&["init", "--quiet"]);
    write(
        directory.path(),
        &[
            ("release-plugins/gpu.yaml", &plugin("gpu", "a.b", 9001)),
            ("ignored/release-plugins/x.yaml", &plugin("x", "a.c", 9002)),
            (".gitignore", "ignored/\n"),
        ],
    );
    let (exit, out, error) =
        compass(&directory.path().join("release-plugins"), &["init", "--format", "json"]);
    assert_eq!(exit, 0, "{error}");
    let printed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&printed["written"], &printed["errors"]), (&true.into(), &0.into()), "{out}");
    assert!(!policy(directory.path()).contains("ignored"));
    assert_eq!(printed["policy"], policy(directory.path()));
}

#[test]
fn init_hostile_names_make_valid_policy() {
    let directory = TempDir::new().unwrap();
    let list = "release/web:v1\n";
    write(
        directory.path(),
        &[
            ("a: b # c/x'\"y.yaml", &plugin("gpu", "\"a: b # '\\\"\"", 9001)),
            ("a: b # c/z.yaml", &plugin("log", "\"a: b # '\\\"\"", 9001)),
            ("no/b.list", list),
            ("{x}/[y]*.list", list),
            ("!bang.list", list),
            ("-dash/- a.list", list),
            ("broken.yaml", "a: [\n"),
        ],
    );
    let many = (0..500).map(|n| values(&format!("a{n}"), "v1", &format!("[[ v{n} ]]/x:v1")));
    for (n, text) in many.enumerate() {
        write(directory.path(), &[(&format!("addons/default/g/a{n}/values.yaml"), &text)]);
    }
    let (exit, out, error) = compass(directory.path(), &["init"]);
    assert_eq!(exit, 0, "{out}{error}");
    let text = policy(directory.path());
    assert!(text.contains("directory: \"a: b # c\"\n"), "{text}");
}

#[test]
fn init_real_repositories_have_policies() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let releases: Vec<PathBuf> =
        ["v2.7.0", "v2.7.1-GA", "v2.7.2"].iter().map(|name| corpus.join(name)).collect();
    if !releases.iter().all(|release| release.is_dir()) {
        return eprintln!("SKIPPED: no corpus at {}", corpus.display());
    }
    for release in releases {
        let directory = TempDir::new().unwrap();
        copy(&release, directory.path());
        let (exit, _, error) = compass(directory.path(), &["init"]);
        assert_eq!(exit, 0, "{error}");
        let (_, out, _) = compass(directory.path(), &["check", "--format", "json"]);
        let report: Value = serde_json::from_str(&out).unwrap();
        for finding in report["findings"].as_array().unwrap() {
            // The paths, lists and variables of the repository are all known.
            let code = finding["code"].as_str().unwrap();
            let is_unknown = ["hotfix-path", "file-misplaced", "slot-conflict", "port-conflict"];
            assert!(!is_unknown.contains(&code), "{}: {finding:#}", release.display());
        }
    }
}
