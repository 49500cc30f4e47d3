//! A release repository and its registry.

use std::path::PathBuf;
use std::process::Command;

use compass_registry::storage::{MemoryStorage, Storage as _};
use compass_registry::testing::{FaultyRegistry, SampleImage, Script};
use compass_registry::{RawManifest, Repository, Tag, media_type};
use serde_json::{Value, json};

pub(crate) struct World {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    storage: MemoryStorage,
    pub(crate) registry: FaultyRegistry,
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) error: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = MemoryStorage::default();
        let started = FaultyRegistry::start(storage.clone(), Script::default());
        let registry = runtime.block_on(started).unwrap();
        let world = Self { directory, runtime, storage, registry };
        let host = world.registry.host();
        world.write(
            "repo/.compass.yaml",
            &format!(
                "version: 1\nregistries: {{release: '{host}/release'}}\nrules: \
                 {{plugin-image-reference: off}}\n"
            ),
        );
        let auth = json!({"auths": {host: {"auth": "cm9ib3Q6aHVudGVyMg=="}}});
        world.write("auth.json", &auth.to_string());
        world
    }

    /// Writes a plugin with one image, `release/<name>:v1`.
    pub(crate) fn add_plugin(&self, name: &str) {
        let image = format!("{}/release/{name}:v1", self.registry.host());
        let manifest = format!(
            "metadata: {{name: {name}}}\nspec:\n  version: v1.0.0\n  service:\n    port: 9001\n    \
             image: {image}\n  modules: [{{name: {name}, slots: [system.{name}]}}]\n"
        );
        self.write(&format!("repo/release-plugins/{name}.yaml"), &manifest);
    }

    pub(crate) fn push(&self, name: &str, image: &SampleImage) {
        self.push_tag(name, "v1", image);
    }

    pub(crate) fn push_tag(&self, name: &str, tag: &str, image: &SampleImage) {
        let repository: Repository = format!("release/{name}").parse().unwrap();
        let tag: Tag = tag.parse().unwrap();
        self.runtime.block_on(image.store(&self.storage, &repository, &tag)).unwrap();
    }

    /// Pushes an image index with an image for each architecture.
    pub(crate) fn push_index_of(&self, name: &str, architectures: &[&str]) {
        let entries = architectures.iter().map(|architecture| {
            let layer = architecture.as_bytes().to_vec();
            let image = SampleImage::with_layers(vec![layer]);
            self.push(name, &image);
            json!({
                "mediaType": media_type::OCI_MANIFEST, "digest": image.manifest.digest(),
                "size": image.manifest.bytes().len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        });
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
            "manifests": entries.collect::<Vec<_>>(),
        });
        let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
        let (repository, tag) = (format!("release/{name}").parse().unwrap(), "v1".parse().unwrap());
        let put = self.storage.put_manifest(&repository, &index, Some(&tag));
        self.runtime.block_on(put).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command
            .args(arguments)
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"))
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir(self.directory.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    pub(crate) fn package(&self, name: &str, more: &[&str]) -> Ran {
        self.run(&[&["package", "plugin", name, "--repo", "repo"], more].concat())
    }

    /// The JSON of `compass inspect`.
    pub(crate) fn inspect(&self, bundle: &str) -> Value {
        let ran = self.run(&["inspect", bundle, "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.error);
        serde_json::from_slice(&ran.out).unwrap()
    }
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code().unwrap(), out: output.stdout, error }
}
