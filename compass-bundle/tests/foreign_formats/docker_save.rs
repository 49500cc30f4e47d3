//! Builders for images in the formats of several tools.

use compass_registry::{Digest, media_type};
use serde_json::{Value, json};

use super::archives::{file, tar};

/// An image, independent of any archive format.
pub(crate) struct Image {
    /// Layers as they are stored.
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
}

impl Image {
    pub(crate) fn new(number: usize) -> Self {
        let layer = |layer: usize| tar(&[file(&format!("etc/{number}-{layer}"), b"here\n")]);
        Self::of(number, &[layer(0), layer(1)])
    }

    pub(crate) fn of(number: usize, layers: &[Vec<u8>]) -> Self {
        let ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        Self::described(number, layers, &json!({"type": "layers", "diff_ids": ids}))
    }

    pub(crate) fn described(number: usize, layers: &[Vec<u8>], root: &Value) -> Self {
        let config =
            json!({"architecture": "amd64", "os": "linux", "number": number, "rootfs": root});
        Self { layers: layers.to_vec(), config: config.to_string().into_bytes() }
    }

    /// The same image with compressed layers.
    pub(crate) fn packed(&self, pack: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let layers = self.layers.iter().map(|layer| pack(layer)).collect();
        Self { layers, config: self.config.clone() }
    }
}

pub(crate) fn describe(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub(crate) fn manifest(image: &Image, kind: &str) -> Value {
    let layers: Vec<_> = image.layers.iter().map(|layer| describe(kind, layer)).collect();
    json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &image.config), "layers": layers,
    })
}

pub(crate) fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests})
}

/// An image archive under construction.
#[derive(Clone, Default)]
pub(crate) struct Saved {
    pub(crate) entries: Vec<(String, Vec<u8>)>,
    pub(crate) docker: Vec<Value>,
    pub(crate) index: Vec<Value>,
}

impl Saved {
    /// Adds a blob, and returns its path.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> String {
        let path = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        if self.entries.iter().all(|(other, _)| *other != path) {
            self.entries.push((path.clone(), bytes.to_vec()));
        }
        path
    }

    /// Lists an image in `manifest.json`.
    pub(crate) fn docker(mut self, image: &Image, tags: &Value) -> Self {
        let layers: Vec<_> = image.layers.iter().map(|layer| self.blob(layer)).collect();
        let config = self.blob(&image.config);
        self.docker.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
        self
    }

    /// Lists an image in `index.json`.
    pub(crate) fn layout(mut self, image: &Image, annotations: &Value) -> Self {
        image.layers.iter().for_each(|layer| drop(self.blob(layer)));
        self.blob(&image.config);
        self.listed(&manifest(image, media_type::OCI_LAYER), annotations)
    }

    /// Lists a manifest or an index in `index.json`.
    pub(crate) fn listed(mut self, manifest: &Value, annotations: &Value) -> Self {
        let mut entry = self.inner(manifest);
        entry["annotations"] = annotations.clone();
        self.index.push(entry);
        self
    }

    /// Adds a manifest or an index, and returns its descriptor.
    pub(crate) fn inner(&mut self, manifest: &Value) -> Value {
        let kind = manifest["mediaType"].as_str().unwrap();
        let bytes = manifest.to_string().into_bytes();
        self.blob(&bytes);
        describe(kind, &bytes)
    }

    /// All files of the archive.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.entries.clone();
        if !self.index.is_empty() {
            files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
            let index = json!({"schemaVersion": 2, "manifests": self.index}).to_string();
            files.push(("index.json".to_owned(), index.into_bytes()));
        }
        if !self.docker.is_empty() {
            files.push(("manifest.json".to_owned(), json!(self.docker).to_string().into_bytes()));
        }
        files
    }

    pub(crate) fn tar(&self) -> Vec<u8> {
        self.tar_with(&[])
    }

    /// The archive with additional files.
    pub(crate) fn tar_with(&self, more: &[(&str, &str)]) -> Vec<u8> {
        let mut entries: Vec<_> =
            self.files().iter().map(|(path, content)| file(path, content)).collect();
        entries.extend(more.iter().map(|(path, content)| file(path, content.as_bytes())));
        tar(&entries)
    }
}

/// A name in `RepoTags`, and the same name in containerd's annotation.
pub(crate) fn app(number: usize) -> (String, Value) {
    let name = format!("reg.example/team/app-{number}:v1");
    let annotations = json!({"io.containerd.image.name": name});
    (name, annotations)
}
