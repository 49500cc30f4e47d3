//! Release manifests: the images that are found, and the errors of incomplete targets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

struct Repository(TempDir);

impl Repository {
    fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self(TempDir::new().unwrap());
        for (path, text) in files {
            repository.write(path, text.as_bytes());
        }
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Runs `compass --repo …`; returns exit code, stdout and stderr.
    fn compass(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_compass"))
            .arg("--repo")
            .arg(self.path())
            .args(arguments)
            .current_dir(self.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// The codes of the findings of `check`.
    fn findings(&self) -> Vec<String> {
        let (_, out, err) = self.compass(&["check", "--format", "json"]);
        let report: Value = serde_json::from_str(&out).expect(&err);
        let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{out}"));
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that `images`, `sync` and `package` fail for a target with the same reason.
    fn refuses(&self, target: [&str; 2], fragment: &str) {
        for command in [&["images"][..], &["sync", "--dry-run"], &["package", "--dry-run"]] {
            let (code, out, err) = self.compass(&[command, &target[..]].concat());
            assert_eq!((code, out.as_str()), (1, ""), "{command:?}: {err}");
            assert!(err.contains(fragment), "{command:?}: {err}");
        }
    }
}

const PRODUCT: [&str; 2] = ["product", "v2.7.0"];

fn product(spec: &str) -> String {
    format!("metadata: {{name: compass}}\nspec:\n  version: v2.7.0\n{spec}\n")
}

fn plugin(version: &str, more: &str) -> String {
    format!(
        "metadata: {{name: gpu}}\nspec:\n  version: {version}\n  service:\n    port: 9001\n    image: \
         harbor.caicloud.xyz/release/compass-plugins-gpu:{version}\n{more}  modules: [{{name: gpu, \
         slots: [s.gpu]}}]\n"
    )
}

fn addon(image: &str) -> String {
    format!(
        "_config:\n  _metadata: {{name: web, version: v1.0.0}}\n  controllers:\n  - type: \
         Deployment\n    containers:\n    - image: '{image}'\n"
    )
}

const ADDON: &str = "addons/default/console/web/values.yaml";
const LIST: &str = "images-lists/platform.list";

#[test]
fn product_lists_any_name_are_read() {
    for (path, named) in [
        ("images-lists/rancher-images.txt", "images-lists/rancher-images.txt"),
        ("lists/plain", "lists/plain"),
        ("images-lists/more/b.list", "images-lists/**/*.list"),
        ("images-lists/b.list", "images-lists/**/*.list"),
        ("release-products/extra.list", "release-products/extra.list"),
    ] {
        let manifest = product(&format!("  imageLists: [{LIST}, '{named}']"));
        let repository = Repository::new(&[
            ("release-products/v2.7.0.yaml", &manifest),
            (LIST, "library/busybox:1.36\n"),
            (path, "library/redis:7.2\n"),
        ]);
        let (code, out, err) = repository.compass(&["images", "product", "v2.7.0"]);
        assert_eq!(code, 0, "{named}: {err}");
        assert!(out.contains("busybox:1.36") && out.contains("redis:7.2"), "{named}: {out}");
        repository.write(path, b"library/redis\n");
        assert!(repository.findings().contains(&"image-list-syntax".to_owned()), "{named}");
    }
}

#[test]
fn product_incomplete_is_error() {
    let manifest = product(&format!("  imageLists: [{LIST}, images-lists/gone.list]"));
    let repository = Repository::new(&[
        ("release-products/v2.7.0.yaml", &manifest),
        (LIST, "library/busybox:1.36\n"),
    ]);
    repository.refuses(PRODUCT, "images-lists/gone.list");
    symlink("platform.list", repository.path().join("images-lists/gone.list")).unwrap();
    repository.refuses(PRODUCT, "is a symbolic link");
    assert_eq!(repository.findings(), ["not-regular-file"]);
    // A severity or suppression of the policy does not make the target complete.
    repository.write(".compass.yaml", b"version: 1\nrules: {not-regular-file: off}\n");
    repository.refuses(PRODUCT, "is a symbolic link");
}

#[test]
fn product_error_names_every_reason() {
    let repository = Repository::new(&[
        ("release-products/v2.7.0.yaml", &product("  imageLists: [l/a.list]\n  addons: addons")),
        ("l/a.list", "library/redis\nlibrary/php: 7\n"),
        (ADDON, &addon("[[ nowhere ]]/web:v1")),
    ]);
    for fragment in ["l/a.list:1:", "l/a.list:2:", "values.yaml:6:"] {
        repository.refuses(PRODUCT, fragment);
    }
}

#[test]
fn product_linked_directory_is_error() {
    let manifest = product("  addons: addons\n  files: [{source: hack/a.sh, path: a.sh}]");
    let repository = Repository::new(&[
        ("release-products/v2.7.0.yaml", &manifest),
        ("real/default/console/web/values.yaml", &addon("[[ registry_release ]]/web:v1")),
        ("elsewhere/a.sh", "true\n"),
    ]);
    symlink("real", repository.path().join("addons")).unwrap();
    symlink("elsewhere", repository.path().join("hack")).unwrap();
    assert_eq!(repository.findings(), ["not-regular-file", "not-regular-file"]);
    repository.refuses(PRODUCT, "`addons` is a symbolic link");
    repository.refuses(PRODUCT, "`hack` is a symbolic link");
}

#[test]
fn product_lfs_pointer_is_error() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    let manifest = product("  files: [{source: hack/a.bin, path: a.bin}]");
    let repository =
        Repository::new(&[("release-products/v2.7.0.yaml", &manifest), ("hack/a.bin", pointer)]);
    let (code, out, _) = repository.compass(&["check"]);
    assert!(code == 0 && out.contains("warning[missing-file]: `hack/a.bin` is a Git LFS"), "{out}");
    repository.refuses(PRODUCT, "Git LFS pointer");
}

#[test]
fn package_conflict_markers_is_error() {
    let script = "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> topic\n";
    let manifest = product("  files: [{source: hack/a.sh, path: a.sh}]");
    let repository =
        Repository::new(&[("release-products/v2.7.0.yaml", &manifest), ("hack/a.sh", script)]);
    let (code, _, err) = repository.compass(&["package", "product", "v2.7.0", "--dry-run"]);
    assert!(code == 1 && err.contains("hack/a.sh has merge conflict markers"), "{err}");
}

#[test]
fn plugin_embedded_images_are_included() {
    let embedded = |version: &str| {
        format!(
            "    configs:\n      envs:\n      - {{name: A, value: '--a=harbor.caicloud.xyz/release/a:{version}'}}\n      \
             files:\n      - {{name: b, content: 'image: harbor.caicloud.xyz/release/b:{version}'}}\n"
        )
    };
    let text = |version: &str| plugin(version, &embedded(version));
    let repository = Repository::new(&[("release-plugins/gpu.yaml", &text("v0.1.0"))]);
    let (code, out, err) = repository.compass(&["images", "plugin", "gpu"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}{err}");
    let (code, _, err) = repository.compass(&["bump", "plugin", "gpu"]);
    assert_eq!(code, 0, "{err}");
    let bumped = fs::read_to_string(repository.path().join("release-plugins/gpu.yaml")).unwrap();
    assert_eq!(bumped, text("v0.1.1"));
    repository.write(
        "release-plugins/gpu.yaml",
        text("[[ x ]]").replace("version: [[ x ]]", "version: v0.1.0").as_bytes(),
    );
    repository.refuses(["plugin", "gpu"], "release-plugins/gpu.yaml:");
}

#[test]
fn images_broken_image_hides_no_other() {
    let values = addon("docker.io/nginx:1.25")
        + "    - image: '[[ registry_release ]]/a b:v1'\n    - image: '[[ registry_release ]]/side:v1'\n";
    let repository =
        Repository::new(&[(ADDON, &values), ("addons/default/a/b/values.yaml", "a: [\n")]);
    let (code, out, err) = repository.compass(&["images", "--all"]);
    let listed = "docker.io/library/nginx:1.25\nharbor.caicloud.xyz/release/side:v1\n";
    assert_eq!((code, out.as_str()), (1, listed), "{err}");
    assert!(
        err.contains("values.yaml:7: ") && err.contains("addons/default/a/b/values.yaml:"),
        "{err}"
    );
    let (_, out, _) = repository.compass(&["images", "--all", "--format", "json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    let counts = ["images", "warnings"].map(|key| value[key].as_array().unwrap().len());
    assert_eq!(counts, [2, 2], "{value:#}");
}

#[test]
fn plugin_second_manifest_is_error() {
    let repository = Repository::new(&[
        ("release-plugins/gpu.yaml", &plugin("v0.1.0", "")),
        ("release-plugins/gpu.yml", &plugin("v0.2.0", "")),
        ("release-products/v2.7.0.yaml", &product("  imageLists: []")),
        ("release-products/2.7.0.yaml", &product("  imageLists: []")),
    ]);
    let duplicates =
        repository.findings().iter().filter(|code| *code == "duplicate-manifest").count();
    assert_eq!(duplicates, 2);
    repository.refuses(["plugin", "gpu"], "two manifests");
    repository.refuses(PRODUCT, "two manifests");
    let (code, _, err) = repository.compass(&["bump", "plugin", "gpu"]);
    assert!(code == 1 && err.contains("two manifests"), "{err}");
}

#[test]
fn policy_misspelled_name_is_error() {
    for name in [".compass.yml", ".compass.YAML", ".Compass.yml"] {
        let repository = Repository::new(&[(name, "version: 1\n"), (LIST, "library/redis:7\n")]);
        let (code, _, err) = repository.compass(&["check"]);
        assert!(code == 2 && err.contains(&format!("`mv {name} .compass.yaml`")), "{name}: {err}");
        let (code, _, err) = repository.compass(&["check", "--policy", name]);
        assert_eq!(code, 0, "{name}: {err}");
    }
}

#[test]
fn policy_unreadable_text_is_error() {
    let repository = Repository::new(&[(LIST, "library/redis:7\n")]);
    let utf16: Vec<u8> = "version: 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, fragment) in [
        (utf16, "UTF-8"),
        (b"version: 1\xff\n".to_vec(), "UTF-8"),
        (b"version: 1\n<<<<<<< HEAD\n".to_vec(), "conflict marker"),
    ] {
        repository.write(".compass.yaml", &bytes);
        let (code, _, err) = repository.compass(&["check"]);
        assert!(code == 2 && err.contains(".compass.yaml:") && err.contains(fragment), "{err}");
    }
}

#[test]
fn sync_list_unreadable_is_error() {
    let utf16: Vec<u8> = "\u{feff}p/a:v1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (list, fragment) in [
        (&utf16[..], "UTF-16"),
        (b"docker.io/p/a:v1\n", "a.list:1: `docker.io/p/a:v1`"),
        (b"p/a:v1\np/b:v1 # why\n", "a.list:2: "),
        ("p/a:v1\u{a0}\n".as_bytes(), "a.list:1: "),
        (b"a:v1\n", "a.list:1: "),
        (b"<<<<<<< HEAD\np/a:v1\n", "a.list:1: this is a conflict marker"),
    ] {
        let repository = Repository::new(&[(".compass.yaml", "version: 1\n")]);
        repository.write("a.list", list);
        let sync = ["sync", "--list", "a.list", "--from", "127.0.0.1:1", "--to", "127.0.0.1:1"];
        let (code, _, err) = repository.compass(&sync);
        assert!(code == 2 && err.contains(fragment), "{fragment}: {err}");
    }
}

#[test]
fn product_without_image_is_error() {
    let manifest = product("  imageLists: [images-lists/platform.list]");
    for (manifest, list) in
        [(manifest.as_str(), ""), (&manifest, "# none yet\n"), (&product(""), "library/redis:7\n")]
    {
        let files = [("release-products/v2.7.0.yaml", manifest), (LIST, list)];
        Repository::new(&files).refuses(["product", "v2.7.0"], "has no image");
    }
}

#[test]
fn product_list_with_blanks_is_listed() {
    let manifest = product("  imageLists: [images-lists/platform.list]");
    let files =
        [("release-products/v2.7.0.yaml", manifest.as_str()), (LIST, " library/redis:7 \n")];
    let repository = Repository::new(&files);
    let (code, out, err) = repository.compass(&["images", "product", "v2.7.0"]);
    assert_eq!((code, out.as_str()), (0, "harbor.caicloud.xyz/library/redis:7\n"), "{err}");
    assert_eq!(repository.findings(), ["image-list-syntax"]);
}

#[test]
fn hotfix_addon_with_version_is_bumped() {
    let addon = addon("[[ registry_release ]]/kube-dns-v2:v1.0.0")
        .replace("name: web", "name: kube-dns-v2");
    let repository = Repository::new(&[("addons/kube-system/dns/kube-dns-v2/values.yaml", &addon)]);
    let bump = ["bump", "hotfix", "kube-dns-v2", "--base", "v2.7.0", "--date", "20180605"];
    let (code, out, err) = repository.compass(&bump);
    assert_eq!(code, 0, "{err}");
    let path = "release-hotfixes/v2.7.0/kube-dns-v2-v2.7.0-20180605-p1/kube-system/dns/kube-dns-v2/values.yaml";
    assert!(out.starts_with(path), "{out}");
    assert_eq!(repository.findings(), Vec::<String>::new());
    let (code, out, err) =
        repository.compass(&["images", "hotfix", "kube-dns-v2-v2.7.0-20180605-p1"]);
    assert_eq!((code, out.lines().count()), (0, 1), "{err}");
}

#[test]
fn output_hostile_names_are_escaped() {
    let hostile = "a\u{1b}[2J\n::stop-commands::x\u{202e}\u{9b}";
    let repository = Repository::new(&[
        (&format!("release-plugins/{hostile}.yaml"), "a: 1\n"),
        (&format!("release-plugins/{hostile}.txt"), ""),
        (&format!("addons/default/{hostile}/b/values.yaml"), &addon("[[ nowhere ]]/a:v1")),
        (&format!("release-hotfixes/{hostile}/values.yaml"), "a: [\n"),
        ("release-products/v2.7.0.yaml", &product("  addons: addons")),
    ]);
    symlink("x", repository.path().join(format!("addons/{hostile}"))).unwrap();
    for arguments in [
        &["check"][..],
        &["check", "--format", "github"],
        &["check", "--format", "json"],
        &["check", "--format", "sarif"],
        &["images", "--all"],
        &["images", "plugin", "nope"],
        &["images", "plugin", hostile],
        &["images", "hotfix", "nope"],
        &["images", "product", "v2.7.0"],
        &["package", "product", "v2.7.0", "--dry-run"],
        &["bump", "plugin", "nope"],
        &["bump", "hotfix", "nope", "--base", "v2.7.0"],
    ] {
        let (_, out, err) = repository.compass(arguments);
        for line in out.lines().chain(err.lines()) {
            let is_safe =
                !line.chars().any(|c| c.is_control() || matches!(c, '\u{202e}' | '\u{9b}'));
            assert!(is_safe, "{arguments:?}: {line:?}");
            assert!(!line.trim_start().starts_with("::stop"), "{arguments:?}: {line:?}");
        }
    }
}
