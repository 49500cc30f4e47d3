//! Object storage: `package` and `publish` write to it, and other commands read from it.
//!
//! Needs an S3 server: `moto_server` in `PATH` or in `COMPASS_S3_SERVER`. Without it, the tests are
//! skipped, unless `COMPASS_INTEROP=required` is set, as in CI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

const BUNDLE: &str = "compass-plugins-demo-v0.1.0.tar.gz";
const URL: &str = "s3://releases/team/plugins/demo/compass-plugins-demo-v0.1.0.tar.gz";
const SECRET: &str = "hunter2hunter2";

struct World {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    storage: MemoryStorage,
    registry: Server,
    s3: String,
    server: Child,
}

impl World {
    fn required() -> Option<Self> {
        let program =
            std::env::var("COMPASS_S3_SERVER").unwrap_or_else(|_| "moto_server".to_owned());
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let started = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &host.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(server) = started else {
            let required = std::env::var("COMPASS_INTEROP").is_ok_and(|value| value == "required");
            assert!(!required, "missing here: {program}");
            eprintln!("SKIPPED: this needs an S3 server, {program}, which this machine lacks");
            return None;
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = MemoryStorage::default();
        let registry = runtime.block_on(Server::start(
            storage.clone(),
            "127.0.0.1:0",
            ServerOptions::default(),
        ));
        let directory = tempfile::tempdir().unwrap();
        let (s3, registry) = (format!("http://{host}"), registry.unwrap());
        let world = Self { directory, runtime, storage, registry, s3, server };
        let bucket = || {
            let url = format!("{}/releases", world.s3);
            Command::new("curl").args(["-sf", "-X", "PUT", &url]).status().unwrap().success()
        };
        // A server that accepts connections may not be ready yet.
        let ready = (0..300).any(|_| {
            let made = TcpStream::connect(host).is_ok() && bucket();
            if !made {
                std::thread::sleep(Duration::from_millis(100));
            }
            made
        });
        assert!(ready, "{program} does not start");
        world.release(1);
        Some(world)
    }

    /// Stores an image of 20 MB, which is uploaded in three parts.
    fn release(&self, seed: u64) {
        let image = SampleImage::with_layers(vec![
            random_bytes(seed, 12_000_000),
            random_bytes(2, 8_000_000),
        ]);
        let name = "release/compass-plugins-demo".parse().unwrap();
        let tag = "v0.1.0".parse().unwrap();
        self.runtime.block_on(image.store(&self.storage, &name, &tag)).unwrap();
        let plugins = self.path("repo/release-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let manifest = "metadata: {name: demo}\nspec:\n  version: v0.1.0\n  modules: []\n  service: {port: \
                        9001, image: \
                        'harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0'}\n";
        std::fs::write(plugins.join("demo.yaml"), manifest).unwrap();
        // `publish` needs committed files.
        for arguments in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "x"]] {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]);
            git.args(arguments).current_dir(self.path("repo")).status().unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("XDG_STATE_HOME", self.directory.path())
            .env("AWS_ENDPOINT_URL", &self.s3)
            .env("AWS_ACCESS_KEY_ID", "robot")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        let all = [&output.stdout[..], &output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains(SECRET), "the output contains a secret");
        output
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn package(&self, to: &str) -> Vec<String> {
        let from = format!("{}/release", self.registry.host());
        ["package", "plugin", "demo", "--repo", "repo", "--from", &from, "-o", to]
            .map(str::to_owned)
            .to_vec()
    }

    fn packaged(&self, to: &str) -> Value {
        let arguments = self.package(to);
        self.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The keys in the bucket.
    fn keys(&self) -> Vec<String> {
        let listed = Command::new("curl").args(["-sf", &format!("{}/releases", self.s3)]).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        let keys = listed.split("<Key>").skip(1);
        keys.map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    /// Starts `compass package` as a process.
    fn start_package(&self, to: &str) -> Child {
        let arguments = self.package(to);
        let mut command = self.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The number of incomplete uploads in the storage.
    fn uploads(&self) -> usize {
        let url = format!("{}/releases?uploads", self.s3);
        let listed = Command::new("curl").args(["-sf", &url]).output().unwrap();
        assert!(listed.status.success());
        String::from_utf8_lossy(&listed.stdout).matches("<UploadId>").count()
    }

    /// Stores a publicly readable object, or removes it.
    fn put(&self, key: &str, file: Option<&Path>) {
        let url = format!("{}/releases/{key}", self.s3);
        let mut curl = Command::new("curl");
        curl.args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        curl.arg(format!("robot:{SECRET}")).args(["-H", "x-amz-acl: public-read"]);
        match file {
            Some(file) => curl.arg("-T").arg(file),
            None => curl.args(["-X", "DELETE"]),
        };
        assert!(curl.arg(url).stdout(Stdio::null()).status().unwrap().success());
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn digest(&self, name: &str) -> String {
        compass_registry::Digest::of(&std::fs::read(self.path(name)).unwrap()).hex()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn package_to_store_is_readable() {
    let Some(world) = World::required() else { return };
    world.packaged("out");
    let stored = world.packaged("s3://releases/team");
    assert_eq!(stored["bundle"], URL);
    assert_eq!(stored["sha256"], world.digest(&format!("out/{BUNDLE}")));
    let base = "team/plugins/demo/";
    assert_eq!(world.keys(), [format!("{base}{BUNDLE}"), format!("{base}{BUNDLE}.sha256")]);

    let again = world.packaged("s3://releases/team");
    assert_eq!((&again["present"], &again["sha256"]), (&Value::Bool(true), &stored["sha256"]));
    let bundle = format!("out/{BUNDLE}");
    let published = world.json(&["publish", &bundle, "--to", "s3://releases/team"]);
    assert_eq!(published["present"], true);

    assert_eq!(world.json(&["inspect", URL]), world.json(&["inspect", &bundle]));
    assert_eq!(world.json(&["verify", URL])["holds"], true);
    assert_eq!(world.json(&["diff", URL, &bundle])["newBytes"], 0);
    world.json(&["extract", URL, "--yaml", "-o", "yaml"]);
    let manifest = std::fs::read(world.path("yaml/demo.yaml")).unwrap();
    assert_eq!(manifest, std::fs::read(world.path("repo/release-plugins/demo.yaml")).unwrap());
    let site = format!("{}/site", world.registry.host());
    let installed = world.json(&["install", URL, "--registry", &site]);
    assert_eq!(installed["images"].as_array().unwrap().len(), 1);
}

#[test]
fn publish_other_bytes_is_error() {
    let Some(world) = World::required() else { return };
    world.packaged("one");
    world.release(9);
    world.packaged("other");
    let to = ["--to", "s3://releases/team"];
    let one = format!("one/{BUNDLE}");
    let published = world.json(&["publish", &one, to[0], to[1]]);
    assert_eq!(published["present"], false);
    let other = format!("other/{BUNDLE}");
    let output = world.run(&["publish", &other, to[0], to[1]]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains(URL) && error.contains("increase the version"), "{error}");
    let arguments = world.package("s3://releases/team");
    let output = world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!output.status.success());
    assert_eq!(world.json(&["verify", URL])["sha256"], world.digest(&one));
}

#[test]
fn verify_remote_checksum_is_compared() {
    let Some(world) = World::required() else { return };
    let packaged = world.packaged("out");
    let bundle = world.path("out").join(BUNDLE);
    world.put(BUNDLE, Some(&bundle));
    let (stored, web) =
        (format!("s3://releases/{BUNDLE}"), format!("{}/releases/{BUNDLE}", world.s3));
    let right = packaged["sha256"].as_str().unwrap();
    let wrong = right.chars().rev().collect::<String>();
    let states = [
        (Some(right), Value::Bool(true), true),
        (Some(&wrong), Value::Bool(false), false),
        (None, Value::Null, true),
    ];
    for (digest, checksum, holds) in states {
        let file = digest.map(|digest| world.write("checksum", &format!("{digest}  {BUNDLE}\n")));
        world.put(&format!("{BUNDLE}.sha256"), file.as_deref());
        for address in [&stored, &web] {
            let output = world.run(&["verify", address, "--format", "json"]);
            assert_eq!(output.status.success(), holds, "{address} with {digest:?}");
            let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&verified["checksum"], &verified["holds"]), (&checksum, &holds.into()));
        }
    }
}

#[test]
fn publish_existing_bundle_completes_checksum() {
    let Some(world) = World::required() else { return };
    world.packaged("out");
    let bundle = format!("out/{BUNDLE}");
    let publish = ["publish", &bundle, "--to", "s3://releases/team"];
    world.json(&publish);
    let key = format!("team/plugins/demo/{BUNDLE}");
    world.put(&format!("{key}.sha256"), None);
    assert_eq!(world.json(&publish)["present"], true);
    assert_eq!(world.json(&["verify", URL])["checksum"], true, "it is written again");

    // The bundle was removed, and the checksum is of another file.
    world.put(&key, None);
    let stale = world.write("stale", &format!("{}  {BUNDLE}\n", "0a".repeat(32)));
    world.put(&format!("{key}.sha256"), Some(&stale));
    assert_eq!(world.json(&publish)["present"], false);
    assert_eq!(world.json(&["verify", URL])["checksum"], true, "it is replaced");

    // The checksum is right, and the bundle is another file.
    world.put(&key, Some(&world.write("other", "something else")));
    let output = world.run(&publish);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains(URL));
}

#[test]
fn publish_killed_leaves_no_object() {
    let Some(world) = World::required() else { return };
    for wait in [60, 120, 200, 300] {
        let mut child = world.start_package("s3://releases/team");
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        for key in world.keys() {
            // If the upload finished before the kill, the object is complete.
            let url = format!("s3://releases/{key}");
            assert!(
                Path::new(&key).extension().is_some_and(|end| end == "sha256")
                    || world.json(&["verify", &url])["holds"] == true
            );
        }
    }
    let stored = world.packaged("s3://releases/team");
    assert_eq!(world.json(&["verify", URL])["sha256"], stored["sha256"]);
}

#[test]
fn publish_interrupted_aborts_upload() {
    let Some(world) = World::required() else { return };
    let mut interrupted = 0;
    // Repeat until some runs are interrupted during the upload.
    for attempt in 0..60 {
        let mut child = world.start_package(&format!("s3://releases/{attempt}"));
        let mut begun = false;
        if attempt % 3 == 0 {
            std::thread::sleep(Duration::from_millis(10 * attempt));
        } else {
            while !begun && child.try_wait().unwrap().is_none() {
                begun = world.uploads() > 0;
            }
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!(world.uploads(), 0, "after attempt {attempt}, which ended with {code:?}");
        interrupted += usize::from(begun && code == Some(130));
        if interrupted == 4 {
            return;
        }
    }
    panic!("no upload was slow enough to be interrupted");
}

#[test]
fn publish_missing_store_is_error() {
    let Some(world) = World::required() else { return };
    for (to, fragment) in
        [("s3://nobody/x", "nobody"), ("oss://releases", "OSS_ENDPOINT"), ("ftp://x", "ftp")]
    {
        let arguments = world.package(to);
        let output = world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(fragment), "{error}");
    }
}
