//! `release`: the steps, which of them are skipped, and how a failed release continues.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{Command, Output};

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

const BUNDLE: &str = "compass-plugins-gpu-v1.0.0.tar.gz";

/// A release repository with one plugin, the source and the release registry, and a store.
struct World {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    source: MemoryStorage,
    source_registry: Server,
    release_registry: Server,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let source = MemoryStorage::default();
        let start = |storage: &MemoryStorage| {
            let server = Server::start(storage.clone(), "127.0.0.1:0", ServerOptions::default());
            runtime.block_on(server).unwrap()
        };
        let (source_registry, release_registry) =
            (start(&source), start(&MemoryStorage::default()));
        let world = Self { directory, runtime, source, source_registry, release_registry };
        let (from, to) = (world.source_registry.host(), world.release_registry.host());
        let store = world.path("store").display().to_string();
        world.write(
            "repo/.compass.yaml",
            &format!(
                "version: 1\nregistries:\n  source: '{from}/team'\n  release: \
                 '{to}/release'\nrules: {{plugin-image-reference: off}}\nstore: 'file://{store}'\n"
            ),
        );
        world.write(
            "repo/release-plugins/gpu.yaml",
            &format!(
                "metadata: {{name: gpu}}\nspec:\n  version: v1.0.0\n  service:\n    port: 9001\n    \
                 image: {to}/release/compass-plugins-gpu:v1.0.0\n  modules: [{{name: gpu, slots: \
                 [system.gpu]}}]\n"
            ),
        );
        world.git(&["init", "-q"]);
        world.commit();
        world
    }

    fn push(&self) {
        let image = SampleImage::with_layers(vec![random_bytes(1, 2_000_000)]);
        let (name, tag) = ("team/compass-plugins-gpu".parse().unwrap(), "v1.0.0".parse().unwrap());
        self.runtime.block_on(image.store(&self.source, &name, &tag)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]);
        let status = git.args(arguments).current_dir(self.path("repo")).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "x"]);
    }

    fn run(&self, more: &[&str]) -> Output {
        let arguments = ["release", "plugin", "gpu", "--repo", "repo"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        let command = command.args([&arguments[..], more].concat());
        command.env("XDG_STATE_HOME", self.path("state"));
        command.current_dir(self.directory.path()).output().unwrap()
    }

    /// Runs a release with a JSON result, and asserts its exit code.
    fn json(&self, more: &[&str], code: i32) -> Value {
        let output = self.run(&[more, &["--format", "json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn stored(&self) -> PathBuf {
        self.path("store/plugins/gpu").join(BUNDLE)
    }
}

/// The names of the steps that were skipped.
fn skipped(result: &Value) -> Vec<&str> {
    let steps = result["steps"].as_array().unwrap().iter();
    let skipped = steps.filter(|step| step["skipped"] == true);
    skipped.map(|step| step["step"].as_str().unwrap()).collect()
}

#[test]
fn release_publishes_and_then_skips() {
    let world = World::new();
    world.push();
    let planned = world.json(&["--dry-run"], 0);
    assert_eq!((&planned["url"], &planned["dryRun"]), (&Value::Null, &Value::Bool(true)));
    assert!(!world.path("store").exists());

    let released = world.json(&[], 0);
    assert_eq!(skipped(&released), ["package"]);
    assert_eq!((&released["digest"], &released["size"]), (&planned["digest"], &planned["size"]));
    let size = world.stored().metadata().unwrap().len();
    assert_eq!((&released["size"], &released["sent"]), (&size.into(), &size.into()));
    let url = released["url"].as_str().unwrap();
    let comment = format!("packages uploaded to\n{url}\n/queue done-package-uploaded\n");
    assert_eq!(released["comment"], comment);

    let again = world.json(&[], 0);
    assert_eq!(skipped(&again), ["sync", "package", "publish"]);
    assert_eq!((&again["present"], &again["comment"]), (&Value::Bool(true), &comment.into()));
    assert_eq!(skipped(&world.json(&["--dry-run"], 0)), ["sync", "package", "publish"]);
    let text = String::from_utf8(world.run(&[]).stdout).unwrap();
    assert!(text.contains("sync     skipped: 1 image is in the release registry\n"), "{text}");
}

#[test]
fn release_keeps_package_in_directory() {
    let world = World::new();
    world.push();
    let released = world.json(&["-o", "out"], 0);
    assert_eq!(released["bundle"], format!("out/{BUNDLE}"));
    let package = std::fs::read(world.path("out").join(BUNDLE)).unwrap();
    assert!(package == std::fs::read(world.stored()).unwrap());
    // The store lost the bundle: it is published again from the directory.
    std::fs::remove_dir_all(world.path("store")).unwrap();
    let again = world.json(&["-o", "out"], 0);
    assert_eq!(skipped(&again), ["sync", "package"]);
    assert_eq!(again["present"], false);
    // A bundle without `.sha256` is not published completely.
    std::fs::remove_file(world.stored().with_extension("gz.sha256")).unwrap();
    let completed = world.json(&["-o", "out"], 0);
    assert_eq!(
        (skipped(&completed), &completed["present"]),
        (vec!["sync", "package"], &true.into())
    );
    assert!(world.stored().with_extension("gz.sha256").exists());
}

#[test]
fn release_failed_sync_continues_later() {
    let world = World::new();
    let failed = world.json(&[], 3);
    let error = &failed["error"];
    assert_eq!(error["message"], "cannot release plugin gpu: sync failed", "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.ends_with("done: check; run the same command to continue"), "{hint}");
    assert!(error["causes"][0].as_str().unwrap().contains("compass-plugins-gpu"), "{error}");
    world.push();
    assert_eq!(world.json(&[], 0)["present"], false);
}

#[test]
fn release_uncommitted_is_refused_first() {
    let world = World::new();
    world.push();
    let manifest = std::fs::read_to_string(world.path("repo/release-plugins/gpu.yaml")).unwrap();
    world.write("repo/release-plugins/gpu.yaml", &manifest.replace("9001", "9002"));
    let refused = world.json(&[], 1);
    assert!(refused["error"]["message"].as_str().unwrap().contains("names no commit"));
    let allowed = world.json(&["--allow-uncommitted", "--no-check", "a test"], 0);
    assert_eq!(skipped(&allowed), ["check", "package"], "the first run has synced nothing");
}

#[test]
fn release_other_bytes_is_refused_before_packaging() {
    let world = World::new();
    world.push();
    world.json(&[], 0);
    let manifest = std::fs::read_to_string(world.path("repo/release-plugins/gpu.yaml")).unwrap();
    world.write("repo/release-plugins/gpu.yaml", &manifest.replace("9001", "9002"));
    world.commit();
    for more in [&[][..], &["--dry-run"], &["-o", "out"]] {
        let refused = world.json(more, 3);
        let error = refused["error"].to_string();
        assert!(error.contains("exists with different content"), "{error}");
        assert!(error.contains("increase the version"), "{error}");
    }
    assert!(!world.path("out").exists());
}

#[test]
fn release_without_store_is_usage_error() {
    let world = World::new();
    for (more, fragment) in [
        (&["-o", "s3://releases"][..], "--to"),
        (&["--to", "ftp://x"], "ftp"),
        (&["--to", "file://relative"], "three slashes"),
    ] {
        let refused = world.json(more, 2);
        assert!(refused["error"].to_string().contains(fragment), "{refused}");
    }
}
