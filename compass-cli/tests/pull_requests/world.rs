//! A forge, two registries, a store, and clones of a release repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use compass_registry::Tag;
use compass_registry::storage::{MemoryStorage, Storage as _};
use compass_registry::testing::{FaultyRegistry, SampleImage, Script};
use serde_json::Value;

use crate::forge_server::{ForgeServer, TOKEN};

/// The body of a release.
pub(crate) const BODY: &str = "**Release note**:\nThe scheduler no longer forgets nodes.\n\n/kind \
                               release\n/queue need-queue\n/cc @paula @ines\n";

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) forge: ForgeServer,
    pub(crate) source: FaultyRegistry,
    pub(crate) release: FaultyRegistry,
    storage: (MemoryStorage, MemoryStorage),
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = (MemoryStorage::default(), MemoryStorage::default());
        let (source, release) = runtime.block_on(async {
            let source = FaultyRegistry::start(storage.0.clone(), Script::default()).await;
            let release = FaultyRegistry::start(storage.1.clone(), Script::default()).await;
            (source.unwrap(), release.unwrap())
        });
        let forge = ForgeServer::start();
        let directory = tempfile::tempdir().unwrap();
        let world = Self { directory, runtime, forge, source, release, storage };
        world.create_repository();
        world
    }

    fn create_repository(&self) {
        let (source, release) = (self.source.host(), self.release.host());
        let auth = |host: &str| format!(r#""{host}": {{"auth": "cm9ib3Q6aHVudGVyMg=="}}"#);
        let auths = [auth(&source), auth(&release)].join(",");
        self.write("auth.json", &format!(r#"{{"auths": {{{auths}}}}}"#));
        self.git(".", &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
        self.git(".", &["clone", "--quiet", "origin.git", "author"]);
        let policy = format!(
            "version: 1\nregistries: {{source: '{source}/caicloud', release: '{release}/release'}}\n\
             store: 'file://{}'\nreview:\n  cc: ['@paula', '@ines']\n  roles:\n    platform-release: \
             ['@paula', '@release-robot']\n    infra: ['@ines', '@release-robot']\n",
            self.path("store").display()
        );
        self.write("author/.compass.yaml", &policy);
        self.write("author/release-plugins/gpu.yaml", &self.plugin("gpu", "v0.1.0", 9001));
        self.write("author/README.md", "Releases.\n");
        self.commit("main", "First release");
        self.git(".", &["clone", "--quiet", "origin.git", "clone"]);
        self.connect_forge();
    }

    /// Starts a new forge for the same repository, without pull requests.
    #[allow(dead_code, reason = "the tests of the bot use it")]
    pub(crate) fn restart_forge(&mut self) {
        self.forge = ForgeServer::start();
        self.connect_forge();
    }

    fn connect_forge(&self) {
        let origin = self.path("origin.git");
        let base = git(&origin, &["rev-parse", "refs/heads/main"]);
        self.forge.act(|forge| {
            forge.git = Some(origin);
            forge.base_commit = base;
        });
    }

    /// The manifest of a plugin, with its image in the release registry.
    pub(crate) fn plugin(&self, name: &str, version: &str, port: u16) -> String {
        Self::plugin_at(&self.release.host(), name, version, port)
    }

    /// The manifest of a plugin, with its image in a registry.
    fn plugin_at(host: &str, name: &str, version: &str, port: u16) -> String {
        format!(
            "metadata: {{name: {name}}}\nspec:\n  version: {version}\n  service:\n    port: {port}\n    \
             image: {host}/release/compass-plugins-{name}:{version}\n  modules: [{{name: {name}, slots: \
             [system.{name}]}}]\n"
        )
    }

    /// The reference of a plugin's image in the source registry.
    pub(crate) fn source_image(&self, name: &str, version: &str) -> String {
        format!("{}/caicloud/compass-plugins-{name}:{version}", self.source.host())
    }

    /// Pushes the image of a plugin to the source registry.
    pub(crate) fn push_image(&self, name: &str, version: &str) {
        self.store_image(&self.storage.0, "caicloud", name, version);
    }

    /// Pushes an image `NAME:TAG` to the project of the source registry.
    #[allow(dead_code, reason = "the tests of the bot release plugins only")]
    pub(crate) fn push(&self, image: &str) {
        self.push_to("caicloud", image);
    }

    /// Pushes an image `NAME:TAG` to another project of the source registry.
    #[allow(dead_code, reason = "the tests of the bot release plugins only")]
    pub(crate) fn push_to(&self, project: &str, image: &str) {
        let (name, tag) = image.split_once(':').unwrap();
        self.store(&self.storage.0, &format!("{project}/{name}"), tag);
    }

    /// Pushes the image of a plugin to the release registry.
    pub(crate) fn sync_image(&self, name: &str, version: &str) {
        self.store_image(&self.storage.1, "release", name, version);
    }

    /// Pushes another image under the tag of a plugin to the release registry.
    pub(crate) fn sync_other_image(&self, name: &str, version: &str) {
        let image = SampleImage::with_layers(vec![b"other".to_vec()]);
        let repository = format!("release/compass-plugins-{name}").parse().unwrap();
        let tag = version.parse().unwrap();
        self.runtime.block_on(image.store(&self.storage.1, &repository, &tag)).unwrap();
    }

    /// Removes the image of a plugin from the source registry, if it has the image.
    pub(crate) fn remove_image(&self, name: &str, version: &str) {
        self.remove_image_of(true, name, version);
    }

    /// Removes the image of a plugin from the source or the release registry, if it has the image.
    pub(crate) fn remove_image_of(&self, is_source: bool, name: &str, version: &str) {
        let (storage, project) = match is_source {
            true => (&self.storage.0, "caicloud"),
            false => (&self.storage.1, "release"),
        };
        let repository = format!("{project}/compass-plugins-{name}").parse().unwrap();
        let tag = version.parse::<Tag>().unwrap().into();
        // Fails if the registry does not have the image.
        let _ = self.runtime.block_on(storage.delete_manifest(&repository, &tag));
    }

    fn store_image(&self, storage: &MemoryStorage, project: &str, name: &str, version: &str) {
        self.store(storage, &format!("{project}/compass-plugins-{name}"), version);
    }

    fn store(&self, storage: &MemoryStorage, repository: &str, tag: &str) {
        let name = repository.rsplit('/').next().unwrap();
        let image = SampleImage::with_layers(vec![vec![7; 50_000], name.as_bytes().to_vec()]);
        let (repository, tag) = (repository.parse().unwrap(), tag.parse().unwrap());
        self.runtime.block_on(image.store(storage, &repository, &tag)).unwrap();
    }

    /// Commits the files of the author's clone to a branch, and pushes it; returns the commit.
    pub(crate) fn commit(&self, branch: &str, message: &str) -> String {
        self.git("author", &["checkout", "--quiet", "-B", branch]);
        self.git("author", &["add", "--all"]);
        self.git("author", &["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git("author", &["push", "--quiet", "--force", "origin", branch]);
        self.git("author", &["rev-parse", "HEAD"])
    }

    /// Commits a new version of a plugin to a branch that starts at `main`; returns the commit.
    pub(crate) fn change(&self, branch: &str, name: &str, version: &str) -> String {
        self.change_at(&self.release.host(), branch, name, version)
    }

    /// As [`Self::change`], with the image in a registry.
    fn change_at(&self, host: &str, branch: &str, name: &str, version: &str) -> String {
        self.git("author", &["checkout", "--quiet", "--force", "main"]);
        let path = format!("author/release-plugins/{name}.yaml");
        let port = 9001 + name.bytes().map(u16::from).sum::<u16>();
        self.write(&path, &Self::plugin_at(host, name, version, port));
        self.commit(branch, &format!("Release {name} {version}"))
    }

    /// Opens the pull request of a plugin by `alice`; returns its number.
    pub(crate) fn open_release(&self, name: &str, version: &str) -> u64 {
        self.open_release_at(&self.release.host(), name, version)
    }

    /// As [`Self::open_release`], with the image in a registry.
    pub(crate) fn open_release_at(&self, host: &str, name: &str, version: &str) -> u64 {
        let head = self.change_at(host, &format!("change-{name}"), name, version);
        self.forge.act(|forge| forge.open_pull("alice", BODY, &head))
    }

    /// Opens a pull request by `alice` that releases the plugins `log` and `net`, and comments that the
    /// images are pushed; returns its number.
    pub(crate) fn open_two_plugins(&self) -> u64 {
        self.change_policy("review:", "rules: {change-scope: off}\nreview:");
        let mut pushed = "image(s) pushed to\n".to_owned();
        for (name, port) in [("log", 9101), ("net", 9102)] {
            let manifest = self.plugin(name, "v0.2.0", port);
            self.write(&format!("author/release-plugins/{name}.yaml"), &manifest);
            self.push_image(name, "v0.2.0");
            pushed += &format!("{}\n", self.source_image(name, "v0.2.0"));
        }
        let head = self.commit("two-plugins", "Release log and net");
        self.forge.act(|forge| {
            let number = forge.open_pull("alice", BODY, &head);
            forge.comment(number, "alice", &format!("{pushed}/queue patches-need-sync-image\n"));
            number
        })
    }

    /// Replaces a text of the policy of the base branch.
    pub(crate) fn change_policy(&self, from: &str, to: &str) {
        self.git("author", &["checkout", "--quiet", "--force", "main"]);
        let policy = std::fs::read_to_string(self.path("author/.compass.yaml")).unwrap();
        self.write("author/.compass.yaml", &policy.replace(from, to));
        self.commit("main", "Change the policy");
    }

    /// The comment of the author after the images were pushed.
    pub(crate) fn pushed(&self, name: &str, version: &str) -> String {
        let image = self.source_image(name, version);
        format!("image(s) pushed to\n{image}\n/queue patches-need-sync-image\n")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn git(&self, directory: &str, arguments: &[&str]) -> String {
        git(&self.path(directory), arguments)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command
            .args(arguments)
            .envs(self.forge.environment())
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TMPDIR", self.temporary())
            .current_dir(self.path("clone"));
        command
    }

    /// The directory for temporary files of commands.
    fn temporary(&self) -> PathBuf {
        let path = self.path("tmp");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Runs `compass`, and asserts that it prints no secret and leaves no temporary file.
    pub(crate) fn compass(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        for secret in [TOKEN, FaultyRegistry::PASSWORD] {
            assert!(!out.contains(secret) && !error.contains(secret), "{secret}: {out}{error}");
        }
        let left = std::fs::read_dir(self.temporary()).unwrap().count();
        assert_eq!(left, 0, "temporary files are left: {arguments:?}");
        Ran { code: output.status.code().unwrap(), out, error }
    }

    /// Reviews a pull request, and returns the JSON.
    pub(crate) fn review(&self, number: u64, more: &[&str]) -> Value {
        let number = number.to_string();
        let arguments = [&["review", "--number", &number, "--format", "json"], more].concat();
        let ran = self.compass(&arguments);
        serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.error))
    }

    /// Applies the review of a pull request; returns the written changes.
    pub(crate) fn apply(&self, number: u64) -> Vec<String> {
        let value = self.review(number, &["--apply"]);
        let written = value["written"].as_array().unwrap_or_else(|| panic!("{value:#}"));
        written.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// The labels of a pull request, ordered.
    pub(crate) fn labels(&self, number: u64) -> Vec<String> {
        let mut labels = self.forge.act(|forge| forge.pull(number).labels.clone());
        labels.sort();
        labels
    }
}

pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=alice", "-c", "user.email=alice@example.com"])
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
