//! An S3 server (`weed`), a registry and a release repository.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

use crate::machine::skip;

pub(crate) const BUNDLE: &str = "compass-plugins-demo-v0.1.0.tar.gz";
pub(crate) const SECRET: &str = "hunter2hunter2";

const BUCKET: &str = "releases";

/// The server of all tests that run at the same time.
static SERVER: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());

/// A running `weed server`. It is stopped when the last test ends.
pub(crate) struct S3Server {
    process: Child,
    pub(crate) address: String,
    /// The directory of its data.
    _data: tempfile::TempDir,
}

impl S3Server {
    /// Starts the server, or returns the running one. Returns `None` if the program is missing.
    fn shared() -> Option<Arc<Self>> {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let program = std::env::var("COMPASS_S3_SERVER").unwrap_or_else(|_| "weed".to_owned());
        let Some(server) = Self::start(&program) else {
            skip(&program);
            return None;
        };
        let server = Arc::new(server);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    fn start(program: &str) -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("s3.json");
        let keys = format!("{{\"accessKey\": \"robot\", \"secretKey\": \"{SECRET}\"}}");
        let identities = format!(
            "{{\"identities\": [{{\"name\": \"anonymous\", \"actions\": [\"Read\"]}}, \
             {{\"name\": \"robot\", \"credentials\": [{keys}], \"actions\": [\"Admin\"]}}]}}"
        );
        std::fs::write(&config, identities).unwrap();
        // All are bound at the same time, so that they differ.
        let sockets: Vec<_> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> =
            sockets.iter().map(|one| one.local_addr().unwrap().port().to_string()).collect();
        drop(sockets);
        let names = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
        ];
        let mut command = Command::new(program);
        command.args(["server", "-filer", "-s3", "-s3.iam=false", "-ip=127.0.0.1"]);
        command.args(["-ip.bind=127.0.0.1", "-volume.max=50", "-master.telemetry=false"]);
        // Other services of the program would need further ports.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.args(names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")));
        command.arg(format!("-s3.config={}", config.display()));
        command.arg(format!("-dir={}", data.path().display()));
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = silent.spawn().ok()?;
        let address = format!("http://127.0.0.1:{}", ports[0]);
        let server = Self { process, address, _data: data };
        // A server that accepts connections may not be ready to store objects yet.
        let ready = (0..600).any(|_| {
            server.curl(&["-X", "PUT"], BUCKET).stdout(Stdio::null()).status().unwrap();
            let file = config.display().to_string();
            let mut written = server.curl(&["-T", &file], &format!("{BUCKET}/ready"));
            let made = written.stdout(Stdio::null()).status().unwrap().success();
            if !made {
                std::thread::sleep(Duration::from_millis(100));
            }
            made
        });
        assert!(ready, "{program} does not start");
        Some(server)
    }

    /// A signed request to a path.
    fn curl(&self, arguments: &[&str], path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        curl.arg(format!("robot:{SECRET}")).args(["-o", "-"]).args(arguments);
        curl.arg(format!("{}/{path}", self.address)).stderr(Stdio::null());
        curl
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    storage: MemoryStorage,
    pub(crate) registry: Server,
    pub(crate) server: Arc<S3Server>,
    /// The keys of the test have this prefix.
    prefix: &'static str,
}

impl World {
    /// Prepares a world, whose objects have the prefix. Returns `None` if the server is missing.
    pub(crate) fn required(prefix: &'static str) -> Option<Self> {
        let server = S3Server::shared()?;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = MemoryStorage::default();
        let registry = runtime.block_on(Server::start(
            storage.clone(),
            "127.0.0.1:0",
            ServerOptions::default(),
        ));
        let directory = tempfile::tempdir().unwrap();
        let registry = registry.unwrap();
        let world = Self { directory, runtime, storage, registry, server, prefix };
        world.release(1);
        Some(world)
    }

    /// The URL of the store.
    pub(crate) fn store(&self) -> String {
        format!("s3://{BUCKET}/{}", self.prefix)
    }

    /// The URL of the published bundle.
    pub(crate) fn url(&self) -> String {
        format!("{}/plugins/demo/{BUNDLE}", self.store())
    }

    /// The URL of an object for a client without credentials.
    pub(crate) fn web(&self, key: &str) -> String {
        format!("{}/{BUCKET}/{}/{key}", self.server.address, self.prefix)
    }

    /// Releases an image of 20 MB, which is uploaded in three parts.
    pub(crate) fn release(&self, seed: u64) {
        self.release_version("v0.1.0", &[(seed, 12_000_000), (2, 8_000_000)]);
    }

    /// Releases a version whose image has layers of these seeds and sizes.
    pub(crate) fn release_version(&self, version: &str, layers: &[(u64, usize)]) {
        let layers = layers.iter().map(|(seed, size)| random_bytes(*seed, *size)).collect();
        let image = SampleImage::with_layers(layers);
        let name = "release/compass-plugins-demo".parse().unwrap();
        let tag = version.parse().unwrap();
        self.runtime.block_on(image.store(&self.storage, &name, &tag)).unwrap();
        let plugins = self.path("repo/release-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let manifest = format!(
            "metadata: {{name: demo}}\nspec:\n  version: {version}\n  modules: []\n  service: {{port: \
             9001, image: 'harbor.caicloud.xyz/release/compass-plugins-demo:{version}'}}\n"
        );
        std::fs::write(plugins.join("demo.yaml"), manifest).unwrap();
        // `publish` needs committed files.
        for arguments in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "x"]] {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]);
            git.args(arguments).current_dir(self.path("repo")).status().unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("XDG_STATE_HOME", self.directory.path())
            .env("AWS_ENDPOINT_URL", &self.server.address)
            .env("AWS_ACCESS_KEY_ID", "robot")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        let all = [&output.stdout[..], &output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains(SECRET), "the output contains a secret");
        output
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn package(&self, to: &str) -> Vec<String> {
        let from = format!("{}/release", self.registry.host());
        ["package", "plugin", "demo", "--repo", "repo", "--from", &from, "-o", to]
            .map(str::to_owned)
            .to_vec()
    }

    pub(crate) fn packaged(&self, to: &str) -> Value {
        let arguments = self.package(to);
        self.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The keys below the prefix.
    pub(crate) fn keys(&self) -> Vec<String> {
        let listed = self.server.curl(&[], BUCKET).output().unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        let keys = listed.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
        let own = keys.filter_map(|key| key.strip_prefix(self.prefix)?.strip_prefix('/'));
        own.map(str::to_owned).collect()
    }

    /// Starts `compass` as a process.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The number of unfinished uploads below the prefix.
    pub(crate) fn uploads(&self) -> usize {
        let listed = self.server.curl(&[], &format!("{BUCKET}?uploads=")).output().unwrap();
        assert!(listed.status.success());
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        listed.matches(&format!("<Key>{}/", self.prefix)).count()
    }

    /// Creates a bucket.
    pub(crate) fn create_bucket(&self, name: &str) {
        // It fails if the bucket exists.
        let _ = self.server.curl(&["-X", "PUT"], name).stdout(Stdio::null()).status();
    }

    /// Removes the object at a path that begins with its bucket.
    pub(crate) fn delete(&self, path: &str) {
        let mut curl = self.server.curl(&["-X", "DELETE"], path);
        assert!(curl.stdout(Stdio::null()).status().unwrap().success());
    }

    /// Stores an object, or removes it.
    pub(crate) fn put(&self, key: &str, file: Option<&Path>) {
        let path = format!("{BUCKET}/{}/{key}", self.prefix);
        let file = file.map(|file| file.display().to_string());
        let arguments = match &file {
            Some(file) => vec!["-T", file],
            None => vec!["-X", "DELETE"],
        };
        let mut curl = self.server.curl(&arguments, &path);
        assert!(curl.stdout(Stdio::null()).status().unwrap().success());
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn digest(&self, name: &str) -> String {
        compass_registry::Digest::of(&std::fs::read(self.path(name)).unwrap()).hex()
    }
}
