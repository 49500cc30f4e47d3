//! The results, errors and exit codes of commands.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

/// Runs `compass` in a directory; returns exit code, stdout and stderr.
fn compass(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_compass"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/release")
}

fn plugin(name: &str, version: &str, port: u16, slot: &str) -> String {
    format!(
        "metadata:\n  name: {name}\nspec:\n  version: {version}\n  service:\n    port: {port}\n    \
         image: harbor.caicloud.xyz/release/compass-plugins-{name}:{version}\n  modules:\n  \
         - name: {name}\n    slots: [{slot}]\n"
    )
}

fn repository(files: &[(&str, String)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("release-plugins");
    std::fs::create_dir(&plugins).unwrap();
    for (name, text) in files {
        std::fs::write(plugins.join(name), text).unwrap();
    }
    directory
}

#[test]
fn check_example_passes() {
    let (code, out, _) = compass(&example(), &["check"]);
    assert_eq!(
        (code, out.as_str()),
        (0, "7 files checked: 0 errors, 0 warnings, 0 notes; 1 allowed\n")
    );
}

#[test]
fn check_broken_manifest_shows_location() {
    let broken = plugin("gpu", "0.1", 9001, "system.gpu");
    let repository = repository(&[("gpu.yaml", broken)]);
    let (code, out, _) = compass(repository.path(), &["check"]);
    assert_eq!(code, 1);
    assert!(out.contains("release-plugins/gpu.yaml:4:12"), "{out}");
    assert!(out.contains("4 |   version: 0.1\n"), "{out}");
    assert!(!out.contains('\u{1b}'), "colors only on a terminal");
    let (code, out, _) = compass(repository.path(), &["check", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!(report["findings"][0]["start"], serde_json::json!({"line": 4, "column": 12}));
}

#[test]
fn check_slot_conflict_shows_both_plugins() {
    let repository = repository(&[
        ("a.yaml", plugin("a", "v0.1.0", 9001, "system.gpu")),
        ("b.yaml", plugin("b", "v0.1.0", 9002, "system.gpu")),
    ]);
    let (code, out, _) = compass(repository.path(), &["check"]);
    assert_eq!(code, 1);
    assert!(out.contains("slot-conflict"), "{out}");
    assert!(out.contains("release-plugins/a.yaml:10:13"), "{out}");
    assert!(out.contains("release-plugins/b.yaml:10:13"), "{out}");
}

#[test]
fn images_prints_one_per_line() {
    let (code, out, _) = compass(&example(), &["images", "plugin", "log-viewer"]);
    let image = "harbor.caicloud.xyz/release/compass-plugins-log-viewer:v1.2.0\n";
    assert_eq!((code, out.as_str()), (0, image));
    let (_, out, _) = compass(&example(), &["images", "--all", "--format", "json"]);
    let images: serde_json::Value = serde_json::from_str(&out).unwrap();
    let path = "_config.controllers[0].containers[0].image";
    assert_eq!(images["images"][0]["path"], path);
    assert_eq!(images["images"][0]["project"], "release");
    assert_eq!(images["images"][0]["line"], 13);
}

#[test]
fn json_results_have_warnings() {
    for arguments in [
        &["check"][..],
        &["explain"],
        &["explain", "slot-conflict"],
        &["images", "--all"],
        &["bump", "plugin", "gpu-manager", "--dry-run"],
        &["version"],
        &["images", "plugin", "gpu"],
        &["check", "--base", "origin/gone"],
        &["nonsense"],
        &["inspect", "gone.tar.gz"],
    ] {
        let (_, out, _) = compass(&example(), &[arguments, &["--format", "json"]].concat());
        let object: serde_json::Value = serde_json::from_str(&out).expect(&out);
        assert!(object["warnings"].is_array(), "{arguments:?}: {out}");
    }
}

#[test]
fn mistyped_name_hint_is_suggestion() {
    for (arguments, meant) in [
        (&["images", "plugin", "gpu-manger"][..], "`gpu-manager`"),
        (&["images", "plugins", "gpu-manager"], "`plugin`"),
        (&["images", "hotfix", "web-v2.7.0-20180605-p2"], "`web-v2.7.0-20180605-p1`"),
        (&["images", "product", "v2.7.1"], "`v2.7.0`"),
        (&["bump", "hotfix", "wep", "--base", "v2.7.0"], "`web`"),
        (&["explain", "slot-conflicts"], "slot-conflict"),
        (&["packge", "plugin", "gpu-manager"], "'package'"),
    ] {
        let (code, _, error) = compass(&example(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(meant), "{arguments:?}: {error}");
    }
}

#[test]
fn wrong_usage_exits_2_with_hint() {
    let elsewhere = tempfile::tempdir().unwrap();
    for (directory, arguments, fragment) in [
        (example(), &["package", "plugin", "gpu"][..], "plugins here: gpu-manager, log-viewer"),
        (example(), &["package", "addon", "gpu"], "a target is `plugin NAME`"),
        (example(), &["chekc"], "check"),
        (example(), &["verify"], "<BUNDLE>"),
        (example(), &["sync", "--list", "a.list", "b.list"], "quote the pattern"),
        (example(), &["serve", "--writable", "x", "--listen", "5000"], "`HOST:PORT`"),
        (example(), &["publish", "x", "--to", "ftp://bucket"], "file:///path"),
        (example(), &["inspect", "ftp://host/x"], "`https`, `s3` or `oss`"),
        (example(), &["check", "--repo", "nowhere"], "nowhere is not a directory"),
        (example(), &["check", "--repo", "addons"], "use `--repo /"),
        (elsewhere.path().to_owned(), &["check", "--repo", "."], "its root contains one of"),
        (
            example(),
            &["review", "plugin", "gpu-manager", "--author", "me", "--apply"],
            "`--number N`",
        ),
        (example(), &["diff", "a", "b", "--no-check", "reason"], "`--published`"),
        (example(), &["check", "--policy", "nowhere.yaml"], "nowhere.yaml"),
        (elsewhere.path().to_owned(), &["check"], "--repo DIR"),
    ] {
        let (code, out, error) = compass(&directory, arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(fragment), "{arguments:?}: {error}");
        assert_eq!(out, "");
    }
}

#[test]
fn usage_error_hides_password() {
    let place = "me:secret@127.0.0.1:1";
    let address = format!("https://{place}/x.tar.gz");
    for arguments in [
        &["package", "plugin", "gpu-manager", "--from", place][..],
        &["package", "plugin", "gpu-manager", &format!("--from={place}")],
        &["package", "plugin", "gpu-manager", "--from", place, "--format", "json"],
        &["sync", "--all", "--to", place],
        &["install", "x.tar.gz", "--registry", place],
        &["doctor", place],
        &["doctor", place, "--format=json"],
        &[&address],
        &["inspect", &address, "-vv"],
        &["verify", &address, "-vv"],
        &["install", &address, "--registry", "127.0.0.1:1/p", "-vv", "--retry-connect", "0"],
        &["extract", &address, "--image", "app:v1", "-vv"],
        &["diff", &address, &address, "-vv"],
        &["publish", "x.tar.gz", "--to", &address],
    ] {
        let (code, out, error) = compass(&example(), arguments);
        assert_ne!(code, 0, "{arguments:?}");
        assert!(!format!("{out}{error}").contains("secret"), "{arguments:?}: {out}{error}");
    }
}

#[test]
fn object_store_without_credentials_names_variables() {
    let elsewhere = tempfile::tempdir().unwrap();
    let inspect = |address: &str, endpoint: (&str, &str)| {
        let inspect = Command::new(env!("CARGO_BIN_EXE_compass"))
            .args(["inspect", address])
            .current_dir(elsewhere.path())
            .env_clear()
            .env("HOME", elsewhere.path())
            .env("OSS_REGION", "cn-hangzhou")
            .env(endpoint.0, endpoint.1)
            .output()
            .unwrap();
        (inspect.status.code().unwrap(), String::from_utf8(inspect.stderr).unwrap())
    };
    for (address, endpoint, set) in [
        ("s3://bucket/x", "AWS_ENDPOINT_URL", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("oss://bucket/x", "OSS_ENDPOINT", "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_A"),
    ] {
        let (code, error) = inspect(address, (endpoint, "http://127.0.0.1:1"));
        assert!(code == 3 && error.contains(set), "{error}");
        let (code, error) = inspect(address, (endpoint, "http://me:secret@127.0.0.1:1"));
        assert!(
            code == 2 && error.contains("instead of writing credentials into the endpoint"),
            "{error}"
        );
        assert!(!error.contains("secret@"), "{error}");
    }
}

#[test]
fn sync_list_invalid_line_names_location() {
    let directory = tempfile::tempdir().unwrap();
    let list = "release/a:v1\n127.0.0.1:5000/release/web:v1\n";
    std::fs::write(directory.path().join("one.list"), list).unwrap();
    let sync = ["sync", "--list", "one.list", "--from", "127.0.0.1:1", "--to", "127.0.0.1:2"];
    let (code, _, error) = compass(directory.path(), &sync);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("one.list:2: `127.0.0.1:5000/release/web:v1` is not an image"),
        "{error}"
    );
    std::fs::write(directory.path().join("one.list"), "release/a:v1\nrelease/web\n").unwrap();
    let (code, _, error) = compass(directory.path(), &sync);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("one.list:2: `release/web` has no tag"), "{error}");
}

#[test]
fn policy_invalid_names_location() {
    let repository = repository(&[]);
    std::fs::write(repository.path().join(".compass.yaml"), "version: 1\nplugin: {}\n").unwrap();
    let (code, _, error) = compass(repository.path(), &["check"]);
    assert_eq!(code, 2);
    assert!(error.contains(".compass.yaml:2:1") && error.contains("plugins"), "{error}");
}

#[test]
fn inspect_other_file_1_missing_3() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("text"), "no bundle").unwrap();
    let (code, out, _) = compass(directory.path(), &["verify", "text"]);
    assert!(code == 1 && out.contains("text is not a bundle"), "{out}");
    let (code, out, _) = compass(directory.path(), &["verify", "text", "--format", "json"]);
    let proof: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &proof["holds"]), (1, &serde_json::json!(false)));
    assert_eq!(proof["damages"][0]["range"], serde_json::json!({"start": 0, "end": 9}));
    let (code, _, error) = compass(directory.path(), &["inspect", "text"]);
    assert!(code == 1 && error.contains("text is not a bundle"), "{error}");
    let (code, _, error) = compass(directory.path(), &["inspect", "missing"]);
    assert!(code == 3 && error.contains("cannot open missing"), "{error}");
}

#[test]
fn verify_unreadable_yaml_names_file() {
    let directory = tempfile::tempdir().unwrap();
    let sh = |script: &str| {
        let ran = Command::new("sh").current_dir(directory.path()).args(["-ec", script]).status();
        assert!(ran.unwrap().success(), "{script}");
    };
    sh("mkdir p; echo 'a: 1' >p/good.yaml; printf 'a: 1\\nb: [\\n' >p/bad.yaml; tar cf p.tar p");
    let (code, out, error) = compass(directory.path(), &["verify", "p.tar"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.starts_with("unread: p/bad.yaml, line "), "{out}");
    assert!(!out.contains("good.yaml") && out.contains("p.tar: verified"), "{out}");
}

#[test]
fn closed_streams_keep_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("text"), "no bundle").unwrap();
    for (arguments, code) in [
        (&["verify", "text"][..], 1),
        (&["verify", "text", "--format", "json"], 1),
        (&["inspect", "missing", "--format", "json"], 3),
        (&["explain", "yaml-syntax"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command.args(arguments).current_dir(directory.path()).stdout(writer);
        assert_eq!(command.status().unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn output_path_not_utf8_is_written() {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"\xff.tar.gz");
    let ran = Command::new(env!("CARGO_BIN_EXE_compass")).arg("inspect").arg(name).output();
    assert_eq!(ran.unwrap().status.code(), Some(2));
}

#[test]
fn interrupt_blocked_read_exits() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("policy.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
    command.args(["check", "--policy"]).arg(&pipe).current_dir(example());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    // The second signal forces the exit. Before the handler is installed, the first one does.
    while child.try_wait().unwrap().is_none() {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

#[test]
fn errors_with_format_json_are_json() {
    let (code, out, error) = compass(&example(), &["inspect", "missing", "--format", "json"]);
    let failure: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, error.as_str()), (3, ""));
    assert_eq!(failure["error"]["exit"], 3);
    let (code, out, _) = compass(&example(), &["nonsense", "--format", "json"]);
    let failure: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &failure["error"]["exit"]), (2, &serde_json::json!(2)));
}

#[test]
fn demo_runs_twice_in_one_folder() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (code, out, error) = compass(directory.path(), &["demo", "--folder", "results"]);
        assert_eq!(code, 0, "{error}");
        let last = out.lines().last().unwrap();
        let bundle =
            last.strip_prefix("bundle: ").expect("the last line is the path of the bundle");
        assert!(Path::new(bundle).is_file(), "{last}");
        assert_eq!(out.matches("= the developer's").count(), 5);
    }
    std::fs::create_dir(directory.path().join("other")).unwrap();
    std::fs::write(directory.path().join("other/mine"), "").unwrap();
    let (code, _, error) = compass(directory.path(), &["demo", "--folder", "other"]);
    assert_eq!(code, 2, "{error}");
    assert!(directory.path().join("other/mine").exists());
}
