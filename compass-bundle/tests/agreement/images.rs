//! Random images, with or without a mutation.

use compass_registry::Digest;
use serde_json::{Value, json};

use super::choices::Choices;
use super::mutation::Mutation;
use super::tar::{Entry, Style, file, link, tar};

/// An image, independent of any archive format.
pub(crate) struct Image {
    /// Uncompressed layers, all different.
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) number: usize,
}

impl Image {
    pub(crate) fn any(choices: &mut Choices, number: usize, mutation: Option<Mutation>) -> Self {
        let layers = any_layers(choices, number, mutation);
        let mut ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        match mutation {
            Some(Mutation::SwappedLayers) => ids.swap(0, 1),
            Some(Mutation::OtherLayer) => ids[0] = Digest::of(b"another").to_string(),
            Some(Mutation::TooFewDiffIds) => drop(ids.pop()),
            _ => {}
        }
        let root = match ids.is_empty() {
            true => choices.pick(&[json!({"type": "layers"}), json!({"diff_ids": null})]).clone(),
            false => json!({"type": "layers", "diff_ids": ids}),
        };
        let config = json!({
            "architecture": "amd64", "os": "linux", "number": number, "rootfs": root,
        });
        let mut config = config.to_string().into_bytes();
        if mutation == Some(Mutation::ConfigIsNoJson) {
            config.truncate(config.len() / 2);
        }
        Self { layers, config, number }
    }

    /// An image without layers.
    pub(crate) fn empty(number: usize) -> Self {
        let config = json!({"number": number, "rootfs": {"diff_ids": []}});
        Self { layers: Vec::new(), config: config.to_string().into_bytes(), number }
    }

    pub(crate) fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// Its names, as in `RepoTags` and in annotations.
    pub(crate) fn any_names(&self, choices: &mut Choices) -> (Value, Value) {
        let number = self.number;
        let full = format!("reg.example/team/app-{number}:v1");
        let named = |name: &str| json!({"io.containerd.image.name": name});
        match choices.below(9) {
            0 => (
                json!([format!("app-{number}:v1")]),
                json!({"org.opencontainers.image.ref.name": "v1"}),
            ),
            1 => (json!([format!("team/app-{number}")]), json!({})),
            2 => (Value::Null, json!({})),
            3 => (json!(["<none>:<none>"]), json!({})),
            4 => (json!([""]), json!({"org.opencontainers.image.ref.name": "latest"})),
            5 => (json!([full, format!("reg.example/team/app-{number}:v2")]), named(&full)),
            6 => (json!([]), named(&full)),
            _ => (json!([full]), named(&full)),
        }
    }
}

fn any_layers(choices: &mut Choices, image: usize, mutation: Option<Mutation>) -> Vec<Vec<u8>> {
    // Swapping layers needs two of them.
    let least = if mutation.is_some() { 2 } else { 0 };
    let mut layers: Vec<_> =
        (0..least + choices.below(3)).map(|layer| any_layer(choices, image, layer)).collect();
    if choices.once_in(4) {
        // A base that images share.
        layers.insert(0, tar(&[file("etc/base", "shared\n")], Style::plain()));
    }
    if choices.once_in(12) {
        // The layer that Docker writes for a step without changes.
        layers.push(vec![0; 1024]);
    }
    layers
}

/// Generates the content of a layer, unique by image and layer number.
fn any_layer(choices: &mut Choices, image: usize, layer: usize) -> Vec<u8> {
    let own = format!("layer {layer} of image {image}\n");
    let mut entries = vec![file(format!("etc/{image}-{layer}"), own.into_bytes())];
    match choices.below(6) {
        0 => entries.push(file("manifest.json", &br#"[{"Config":"x","Layers":["y"]}]"#[..])),
        1 => entries.push(link(b'2', "bin/sh", "/bin/busybox")),
        2 => entries.push(Entry { kind: b'6', ..file("run/pipe", "") }),
        3 => entries.push(file(vec![b'x'; 150], "long")),
        4 => entries.push(file("opt/inner.tar", tar(&[file("a", "b")], Style::plain()))),
        _ => {}
    }
    tar(&entries, Style::plain())
}
