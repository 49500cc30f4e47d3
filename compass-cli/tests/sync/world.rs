//! Two registries that require credentials.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{FaultyRegistry, SampleImage, Script, read_image};
use compass_registry::{Digest, ImageRef, RawManifest, media_type};
use serde_json::Value;

/// Two registries, and a release repository whose policy names them.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) storage: (MemoryStorage, MemoryStorage),
    pub(crate) source: FaultyRegistry,
    pub(crate) release: FaultyRegistry,
}

impl World {
    pub(crate) fn new(images: &[&str], fault: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = (MemoryStorage::default(), MemoryStorage::default());
        let (source, release) = runtime.block_on(async {
            let source = FaultyRegistry::start(storage.0.clone(), fault).await.unwrap();
            let release = FaultyRegistry::start(storage.1.clone(), Script::default()).await;
            (source, release.unwrap())
        });
        let world = Self { directory, runtime, storage, source, release };
        for image in images {
            world.push(image);
        }
        let policy = format!(
            "version: 1\nregistries: {{source: '{}/caicloud', release: '{}/release'}}\n",
            world.source.host(),
            world.release.host()
        );
        world.write(".compass.yaml", &policy);
        let auth = |host: String| format!(r#""{host}": {{"auth": "cm9ib3Q6aHVudGVyMg=="}}"#);
        let auths = [auth(world.source.host()), auth(world.release.host())].join(",");
        world.write("auth.json", &format!(r#"{{"auths": {{{auths}}}}}"#));
        world
    }

    pub(crate) fn push(&self, image: &str) {
        let (name, tag) = image.split_once(':').unwrap();
        let shared = vec![7; 100_000];
        let image = SampleImage::with_layers(vec![shared, name.as_bytes().to_vec()]);
        let (name, tag) = (name.parse().unwrap(), tag.parse().unwrap());
        self.runtime.block_on(image.store(&self.storage.0, &name, &tag)).unwrap();
    }

    /// Pushes an image index for these architectures; returns its digest.
    pub(crate) fn push_index(&self, repository: &str, architectures: &[&str]) -> Digest {
        let repository = repository.parse().unwrap();
        let children = architectures.iter().map(|architecture| {
            let image = SampleImage::with_layers(vec![architecture.as_bytes().to_vec()]);
            let tag = architecture.parse().unwrap();
            self.runtime.block_on(image.store(&self.storage.0, &repository, &tag)).unwrap();
            serde_json::json!({
                "mediaType": media_type::OCI_MANIFEST,
                "digest": image.manifest.digest(),
                "size": image.manifest.bytes().len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        });
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": children.collect::<Vec<_>>(),
        });
        let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
        let put = self.storage.0.put_manifest(&repository, &index, None);
        self.runtime.block_on(put).unwrap();
        index.digest()
    }

    /// Pushes an image without its non-distributable base layer; returns the digest of that layer.
    pub(crate) fn push_without_base(&self, image: &str) -> Digest {
        let (name, tag) = image.split_once(':').unwrap();
        let (name, tag) = (name.parse().unwrap(), tag.parse().unwrap());
        let image = SampleImage::with_layers(vec![b"own".to_vec()]);
        self.runtime.block_on(image.store(&self.storage.0, &name, &tag)).unwrap();
        let layer = Digest::of(b"base");
        let mut manifest: Value = serde_json::from_slice(image.manifest.bytes()).unwrap();
        manifest["layers"].as_array_mut().unwrap().push(serde_json::json!({
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": layer,
            "size": 4,
        }));
        let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
        let put = self.storage.0.put_manifest(&name, &manifest, Some(&tag));
        self.runtime.block_on(put).unwrap();
        layer
    }

    pub(crate) fn has(&self, image: &str) -> bool {
        let (name, tag) = image.split_once(':').unwrap();
        let (name, tag): (_, compass_registry::Tag) = (name.parse().unwrap(), tag.parse().unwrap());
        let release = &self.storage.1;
        let there = self.runtime.block_on(Storage::manifest(release, &name, &tag.clone().into()));
        if there.unwrap().is_none() {
            return false;
        }
        let image = ImageRef::new(name, tag);
        self.runtime.block_on(read_image(Arc::new(release.clone()), &image)).unwrap();
        true
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
            .current_dir(self.directory.path());
        command
    }

    /// Runs `compass`; returns exit code, stdout and stderr after asserting that they contain no secret.
    pub(crate) fn compass(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        for secret in [FaultyRegistry::PASSWORD, "cm9ib3Q6aHVudGVyMg", "token-1", "token-2"] {
            assert!(!out.contains(secret) && !error.contains(secret), "{secret}: {out}{error}");
        }
        (output.status.code().unwrap(), out, error)
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(!text.contains(FaultyRegistry::PASSWORD), "{text}");
        serde_json::from_str(&text).unwrap()
    }
}
