//! `compass package` with faulty inputs: an error that names the image and the blob, the exit code, no
//! file under the final name, and no endless wait.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod machine;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{DiskStorage, Storage};
use compass_registry::{Descriptor, Digest, RawManifest, Repository, Tag, media_type};

use machine::SmallDisk;

/// A registry on disk with one image, and a release repository that names it.
struct Registry {
    directory: tempfile::TempDir,
    host: String,
    layer: Digest,
    _runtime: tokio::runtime::Runtime,
    _server: Server,
}

const LAYER_BYTES: usize = 8 << 20;

impl Registry {
    /// `size_error` is added to the size of the layer in the image manifest.
    fn start(size_error: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = DiskStorage::new(directory.path().join("registry"));
        let layer: Vec<u8> = (0..LAYER_BYTES).map(|n| (n * 31 % 251).to_le_bytes()[0]).collect();
        let mut described = Descriptor::of(media_type::OCI_LAYER_GZIP, &layer);
        let digest = described.digest;
        described.size += size_error;
        let config = br#"{"os":"linux","architecture":"amd64"}"#;
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": Descriptor::of(media_type::OCI_CONFIG, config),
            "layers": [described],
        });
        let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
        let server = runtime.block_on(async {
            let name: Repository = "release/compass-plugins-demo".parse().unwrap();
            for blob in [layer, config.to_vec()] {
                let mut upload = storage.begin_upload(&name).await.unwrap();
                let digest = Digest::of(&blob);
                upload.append(blob.into()).await.unwrap();
                upload.commit(&digest).await.unwrap();
            }
            let tag: Tag = "v0.1.0".parse().unwrap();
            Storage::put_manifest(&storage, &name, &manifest, Some(&tag)).await.unwrap();
            Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap()
        });
        let plugins = directory.path().join("repo/release-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        std::fs::create_dir(directory.path().join("out")).unwrap();
        let yaml = "metadata: {name: demo}\nspec:\n  version: v0.1.0\n  service:\n    port: 9001\n    \
            image: harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0\n  \
            modules: [{name: demo, slots: [system.demo]}]\n";
        std::fs::write(plugins.join("demo.yaml"), yaml).unwrap();
        let host = server.host();
        Self { directory, host, layer: digest, _runtime: runtime, _server: server }
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn layer_file(&self) -> PathBuf {
        self.directory.path().join("registry/blobs/sha256").join(self.layer.hex())
    }

    fn command(&self, host: &str, out: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command
            .args(["package", "plugin", "demo", "--from", &format!("{host}/release"), "--repo"])
            .arg(self.directory.path().join("repo"))
            .arg("-o")
            .arg(out)
            .stdin(Stdio::null());
        command
    }

    fn package(&self, host: &str) -> Output {
        self.command(host, &self.out()).output().unwrap()
    }

    /// Asserts an external error that names the image and the layer, and no remaining files.
    fn assert_refused(&self, output: &Output, fragment: &str) {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(error.contains("compass-plugins-demo:v0.1.0"), "{error}");
        assert!(error.contains(&self.layer.to_string()), "{error}");
        assert!(error.contains(fragment), "{error}");
        assert!(only_parts(&self.out()), "{:?}", names_in(&self.out()));
    }
}

/// Whether the directory only has files that a later run can continue with.
fn only_parts(directory: &Path) -> bool {
    names_in(directory).iter().all(|name| name.contains(".tar.gz.part"))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn flipped_bit_in_layer_is_error() {
    let registry = Registry::start(0);
    let mut bytes = std::fs::read(registry.layer_file()).unwrap();
    bytes[LAYER_BYTES / 2] ^= 4;
    std::fs::write(registry.layer_file(), bytes).unwrap();
    registry.assert_refused(&registry.package(&registry.host), "the content has digest");
}

#[test]
fn truncated_layer_is_error() {
    let registry = Registry::start(0);
    let bytes = std::fs::read(registry.layer_file()).unwrap();
    std::fs::write(registry.layer_file(), &bytes[..LAYER_BYTES / 2]).unwrap();
    let fragment = format!("has {} bytes instead of {LAYER_BYTES}", LAYER_BYTES / 2);
    registry.assert_refused(&registry.package(&registry.host), &fragment);
}

#[test]
fn wrong_size_in_manifest_is_error() {
    let registry = Registry::start(1);
    let fragment = format!("has {LAYER_BYTES} bytes instead of {}", LAYER_BYTES + 1);
    registry.assert_refused(&registry.package(&registry.host), &fragment);
}

/// A proxy that forwards a number of bytes from the registry, over all connections.
struct Proxy {
    host: String,
    reached: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Keeps the connection open without sending.
    Silence,
    /// Closes this and every other connection.
    Death,
}

impl Proxy {
    fn start(to: &str, limit: usize, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (to, reached) = (to.to_owned(), Arc::new(AtomicBool::new(false)));
        let (shared, passed) = (Arc::clone(&reached), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if shared.load(Ordering::SeqCst) && then == Then::Death {
                    continue;
                }
                let server = TcpStream::connect(&to).unwrap();
                let (mut ask, mut asked) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut ask, &mut asked));
                let (reached, passed) = (Arc::clone(&shared), Arc::clone(&passed));
                std::thread::spawn(move || pass(server, client, (limit, &passed), then, &reached));
            }
        });
        Self { host, reached }
    }
}

fn pass(
    mut server: TcpStream,
    mut client: TcpStream,
    (limit, passed): (usize, &AtomicUsize),
    then: Then,
    reached: &AtomicBool,
) {
    let mut chunk = [0; 16 << 10];
    while let Ok(count @ 1..) = server.read(&mut chunk) {
        if client.write_all(&chunk[..count]).is_err() {
            return;
        }
        let passed = passed.fetch_add(count, Ordering::SeqCst) + count;
        let dead = then == Then::Death && reached.load(Ordering::SeqCst);
        if passed > limit || dead {
            reached.store(true, Ordering::SeqCst);
            match then {
                Then::Silence => std::thread::sleep(Duration::from_mins(2)),
                Then::Death => drop(client.shutdown(Shutdown::Both)),
            }
            return;
        }
    }
}

#[test]
fn dying_registry_is_error() {
    let registry = Registry::start(0);
    let proxy = Proxy::start(&registry.host, 3 << 20, Then::Death);
    registry.assert_refused(&registry.package(&proxy.host), &proxy.host);
}

#[test]
fn missing_registry_is_error() {
    let registry = Registry::start(0);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = registry.command(&nobody, &registry.out());
    let output = command.args(["--retry-connect", "1"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains(&nobody) && error.contains("refused"), "{error}");
    assert!(error.contains("compass-plugins-demo:v0.1.0"), "{error}");
}

#[test]
fn ctrl_c_leaves_no_files() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let registry = Registry::start(0);
        let proxy = Proxy::start(&registry.host, 3 << 20, Then::Silence);
        let mut child =
            registry.command(&proxy.host, &registry.out()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while !proxy.reached.load(Ordering::SeqCst) {
            assert!(began.elapsed() < Duration::from_mins(1), "the layer never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(only_parts(&registry.out()));
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(only_parts(&registry.out()));
        let output = registry.package(&registry.host);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut names = names_in(&registry.out());
        names.sort();
        let bundle = "compass-plugins-demo-v0.1.0.tar.gz";
        assert_eq!(names, [bundle.to_owned(), format!("{bundle}.sha256")]);
    }
}

#[test]
fn full_disk_leaves_no_files() {
    let registry = Registry::start(0);
    let small = registry.out();
    let Some(disk) = SmallDisk::mount(&small, "1m") else { return };
    let output = registry.package(&registry.host);
    let left = names_in(&small);
    drop(disk);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("the disk has") && error.contains("free some space"), "{error}");
    assert_eq!(left, [""; 0]);
}

#[test]
fn undisturbed_run_is_reproducible() {
    let registry = Registry::start(0);
    let mut sums = Vec::new();
    for name in ["here", "there/deeper"] {
        let out = registry.directory.path().join(name);
        let output = registry.command(&registry.host, &out).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        sums.push(Digest::of(
            &std::fs::read(out.join("compass-plugins-demo-v0.1.0.tar.gz")).unwrap(),
        ));
    }
    assert_eq!(sums[0], sums[1]);
}
