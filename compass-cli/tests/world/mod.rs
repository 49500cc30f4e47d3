//! Registries and daemons of this machine, with temporary data.
#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../machine/mod.rs"]
mod machine;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use machine::skip;

const PARTS: [&str; 9] = [
    "docker-registry",
    "skopeo",
    "podman",
    "containerd",
    "ctr",
    "dockerd",
    "docker",
    "umoci",
    "curl",
];

/// The programs and permissions that these tests need but that are missing.
fn missing_parts() -> Vec<&'static str> {
    let runs = |script: &str| {
        Command::new("sh").args(["-c", script]).output().is_ok_and(|output| output.status.success())
    };
    let mut missing: Vec<_> =
        PARTS.into_iter().filter(|part| !runs(&format!("command -v {part}"))).collect();
    if !runs("[ \"$(id -u)\" = 0 ]") {
        missing.push("root");
    }
    missing
}

/// A directory, two of Debian's registries, and daemons that a test starts.
pub(crate) struct World {
    directory: tempfile::TempDir,
    source: String,
    site: String,
    children: Mutex<Vec<Child>>,
}

impl World {
    /// Starts the registries; `None` if a program is missing and `COMPASS_INTEROP` does not require it.
    pub(crate) fn required() -> Option<Self> {
        let missing = missing_parts();
        if missing.is_empty() {
            return Some(Self::start());
        }
        skip(&missing.join(", "));
        None
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = Self { directory, source: free(), site: free(), children: Mutex::default() };
        for (name, host) in [("source", &world.source), ("site", &world.site)] {
            world.run_registry(name, host, "");
        }
        world
    }

    /// Starts another registry; returns its host. `more` is added to the `http` section of its
    /// configuration.
    pub(crate) fn start_registry(&self, name: &str, address: &str, more: &str) -> String {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        drop(listener);
        self.run_registry(name, &host, more);
        host
    }

    fn run_registry(&self, name: &str, host: &str, more: &str) {
        let storage = self.path(name);
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'{more}}}\n",
            storage.display()
        );
        let file = self.path(&format!("{name}.yml"));
        std::fs::write(&file, config).unwrap();
        let mut registry = Command::new("docker-registry");
        registry.arg("serve").arg(file).env("REGISTRY_STORAGE_DELETE_ENABLED", "true");
        self.spawn(&mut registry, name);
        wait_for(|| TcpStream::connect(host).is_ok(), name);
    }

    /// Starts `compass serve --writable`; returns its host.
    pub(crate) fn serve(&self, arguments: &[&str]) -> String {
        let host = free();
        self.serve_at(&host, &[&["--writable", "served"], arguments].concat());
        host
    }

    /// Starts `compass serve` at an address; returns the ID of the process.
    pub(crate) fn serve_at(&self, host: &str, arguments: &[&str]) -> u32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command.args(["serve", "--listen", host]).args(arguments);
        let process = self.spawn(command.current_dir(self.directory.path()), "serve");
        wait_for(|| TcpStream::connect(host).is_ok(), "serve");
        process
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a script in the directory of this world; returns its stdout.
    pub(crate) fn sh(&self, script: &str) -> String {
        let root = self.directory.path();
        let compass = Path::new(env!("CARGO_BIN_EXE_compass")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(root)
            .env("PATH", format!("{}:{path}", compass.display()))
            .env("XDG_STATE_HOME", root.join("state"))
            .env("SOURCE", &self.source)
            .env("SITE", &self.site)
            .env("DOCKER", format!("docker -H unix://{}/docker.sock", root.display()))
            .env("CTR", format!("ctr -a {}/containerd.sock", root.display()))
            .env(
                "PODMAN",
                format!(
                    "podman --root {0}/podman-root --runroot {0}/podman-run --storage-driver vfs",
                    root.display()
                ),
            )
            .output()
            .unwrap();
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}\n{out}\n{errors}");
        out.trim_end().to_owned()
    }

    /// Writes a plugin into the release repository of this world.
    pub(crate) fn add_plugin(&self, name: &str, version: &str) {
        let directory = self.path("repo/release-plugins");
        std::fs::create_dir_all(&directory).unwrap();
        let manifest = format!(
            "metadata: {{name: {name}}}\nspec:\n  version: {version}\n  service:\n    port: 9001\n    \
             image: harbor.caicloud.xyz/release/compass-plugins-{name}:{version}\n  \
             modules: [{{name: {name}, slots: [system.{name}]}}]\n"
        );
        std::fs::write(directory.join(format!("{name}.yaml")), manifest).unwrap();
        self.sh("compass check --repo repo");
    }

    /// Asserts that an unpacked image has the original files.
    pub(crate) fn same_files(&self, root: &str) {
        self.sh(&format!(
            "cmp one/hello.txt {root}/app/hello.txt; cmp two/blob.bin {root}/data/blob.bin
             [ $(readlink {root}/app/link) = hello.txt ]"
        ));
    }

    pub(crate) fn start_docker(&self) {
        let root = self.directory.path().display();
        let mut dockerd = Command::new("/usr/sbin/dockerd");
        dockerd.args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"]);
        for (option, file) in [
            ("--data-root", "docker-data"),
            ("--exec-root", "docker-exec"),
            ("--pidfile", "docker.pid"),
        ] {
            dockerd.arg(option).arg(self.path(file));
        }
        dockerd.arg("-H").arg(format!("unix://{root}/docker.sock"));
        self.spawn(&mut dockerd, "dockerd");
        let docker = format!("unix://{root}/docker.sock");
        let answers = || {
            let version = Command::new("docker").args(["-H", &docker, "version"]).output();
            version.is_ok_and(|output| output.status.success())
        };
        wait_for(answers, "dockerd");
    }

    pub(crate) fn start_containerd(&self) {
        let mut containerd = Command::new("containerd");
        let config = self.path("containerd.toml");
        std::fs::write(
            &config,
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
        )
        .unwrap();
        for (option, file) in [
            ("--config", "containerd.toml"),
            ("--root", "containerd-data"),
            ("--state", "containerd-state"),
            ("--address", "containerd.sock"),
        ] {
            containerd.arg(option).arg(self.path(file));
        }
        self.spawn(&mut containerd, "containerd");
        let socket = self.path("containerd.sock");
        let answers = || {
            let version = Command::new("ctr").arg("-a").arg(&socket).arg("version").output();
            version.is_ok_and(|output| output.status.success())
        };
        wait_for(answers, "containerd");
    }

    /// Runs a Python program until this world is dropped; its output is in `<name>.log`.
    pub(crate) fn python(&self, arguments: &[&str], name: &str) {
        let mut command = Command::new("python3");
        self.spawn(command.args(arguments).current_dir(self.directory.path()), name);
    }

    /// Starts a program; returns the ID of its process.
    fn spawn(&self, command: &mut Command, name: &str) -> u32 {
        let log = std::fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let id = child.id();
        self.children.lock().unwrap().push(child);
        id
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.children.get_mut().unwrap().iter_mut().rev() {
            // On SIGTERM, daemons remove their mounts.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            for _ in 0..100 {
                if child.try_wait().is_ok_and(|status| status.is_some()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A free address.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub(crate) fn wait_for(ready: impl Fn() -> bool, what: &str) {
    for _ in 0..300 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} did not start");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
