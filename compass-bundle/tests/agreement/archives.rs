//! Image archives as tools save them.

use compass_registry::media_type;
use serde_json::{Value, json};

use super::choices::Choices;
use super::images::Image;
use super::manifests::{add_docker, add_layout, blob_path, describe, index_of};
use super::mutation::Mutation;
use super::tar::{Entry, Packing, Style, file, tar};

/// The content of one archive.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) entries: Vec<Entry>,
    pub(crate) docker: Vec<Value>,
    pub(crate) index: Vec<Value>,
    pub(crate) is_layout: bool,
    /// Whether the archive may omit non-distributable layers.
    pub(crate) may_lack_layers: bool,
}

impl Parts {
    pub(crate) fn add_blob(&mut self, bytes: &[u8]) {
        let path = blob_path(bytes).into_bytes();
        if self.entries.iter().all(|entry| entry.path != path) {
            self.entries.push(file(path, bytes));
        }
    }

    /// The index of the entry with this content.
    fn position_of(&self, bytes: &[u8]) -> usize {
        self.entries.iter().position(|entry| entry.content == bytes).unwrap()
    }

    /// The index of the first entry that is a layer.
    fn first_layer(&self) -> usize {
        let is_layer = |entry: &Entry| entry.kind == b'0' && !entry.content.starts_with(b"{");
        self.entries.iter().position(is_layer).unwrap()
    }
}

/// Formats of image archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `docker save` before version 25, skopeo, kaniko.
    Docker,
    /// An OCI layout.
    Layout,
    /// Both in one archive, as Docker 25 writes it.
    Both,
    /// Skopeo's `dir:`, which contains one image.
    Directory,
}

/// Generates an image archive, with a defect if `mutation` is given.
pub(crate) fn archive(
    choices: &mut Choices,
    images: &[Image],
    mutation: Option<Mutation>,
) -> Vec<u8> {
    let form = match mutation.and_then(Mutation::form) {
        Some(form) => form,
        None if mutation.is_none() && images.len() == 1 && choices.once_in(6) => Form::Directory,
        None => *choices.pick(&[Form::Docker, Form::Layout, Form::Both]),
    };
    let mut parts = Parts::default();
    for image in images {
        add_image(choices, &mut parts, image, (form, mutation));
    }
    if let Some(mutation) = mutation {
        break_parts(choices, &mut parts, &images[0], mutation);
    }
    match form {
        Form::Directory => tar(&directory(parts), Style::any(choices)),
        _ => finish(choices, parts, mutation),
    }
}

pub(crate) fn add_image(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    (form, mutation): (Form, Option<Mutation>),
) {
    let packings = match form {
        Form::Docker => &Packing::ALL[..],
        _ => &[Packing::Plain, Packing::Gzip, Packing::Stored, Packing::Zstd],
    };
    let pack = |choices: &mut Choices, layer| {
        let packing = *choices.pick(packings);
        (packing, packing.pack(layer, choices))
    };
    let packed: Vec<_> = image.layers.iter().map(|layer| pack(choices, layer)).collect();
    let (mut tags, annotations) = image.any_names(choices);
    if mutation == Some(Mutation::UnusableName) {
        tags = json!(["reg.example/team/app:v 1"]);
    }
    if form == Form::Docker {
        add_docker(choices, parts, image, &packed, &tags);
        return;
    }
    parts.may_lack_layers = form != Form::Both;
    add_layout(choices, parts, image, &packed, (annotations, mutation));
    let differs = mutation == Some(Mutation::OtherLayersInManifest);
    if form == Form::Both && (differs || !choices.once_in(6)) {
        let kept = packed.len() - usize::from(differs);
        let layers: Vec<_> = packed[..kept].iter().map(|(_, bytes)| blob_path(bytes)).collect();
        let config = blob_path(&image.config);
        parts.docker.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
    }
}

fn break_parts(choices: &mut Choices, parts: &mut Parts, image: &Image, mutation: Mutation) {
    match mutation {
        Mutation::IndexOfNothing => {
            let index = index_of(&[describe(media_type::OCI_MANIFEST, b"elsewhere")]);
            parts.add_blob(&index);
            parts.index.push(describe(media_type::OCI_INDEX, &index));
        }
        Mutation::NameOfAnother => {
            let name = json!("reg.example/team/two:v1");
            parts.index[0]["annotations"] = json!({"io.containerd.image.name": name});
            add_docker(choices, parts, &Image::empty(95), &[], &json!([name]));
        }
        Mutation::OtherContentTwice => {
            let path = parts.entries[parts.position_of(&image.config)].path.clone();
            parts.entries.push(file(path, "{}"));
        }
        Mutation::MissingConfig => drop(parts.entries.remove(parts.position_of(&image.config))),
        Mutation::MissingLayer => {
            // Images that share a layer may each contain a copy.
            let path = parts.entries[parts.first_layer()].path.clone();
            parts.entries.retain(|entry| entry.path != path);
        }
        Mutation::FlippedBit => {
            let at = parts.first_layer();
            let layer = &mut parts.entries[at].content;
            let at = choices.below(layer.len());
            layer[at] ^= 1 << choices.below(8);
        }
        _ => {}
    }
}

/// Converts a layout to the file names of `skopeo copy dir:`, where the root manifest has a fixed
/// name.
fn directory(parts: Parts) -> Vec<Entry> {
    let root = parts.index[0]["digest"].as_str().unwrap().replace("sha256:", "");
    let mut entries = vec![file("version", "Directory Transport Version: 1.1\n")];
    for entry in parts.entries {
        let hex = String::from_utf8(entry.path).unwrap().replace("blobs/sha256/", "");
        let is_manifest = entry.content.windows(15).any(|bytes| bytes == b"\"schemaVersion\"");
        let path = match is_manifest {
            true if hex == root => "manifest.json".to_owned(),
            true => format!("{hex}.manifest.json"),
            false => hex,
        };
        entries.push(file(path, entry.content));
    }
    entries
}

/// Adds the image lists to an archive, and serializes it.
fn finish(choices: &mut Choices, mut parts: Parts, mutation: Option<Mutation>) -> Vec<u8> {
    if parts.is_layout {
        let version =
            if mutation == Some(Mutation::OtherLayoutVersion) { "2.0.0" } else { "1.0.0" };
        let mark = json!({"imageLayoutVersion": version}).to_string();
        if mutation != Some(Mutation::LostIndex) || choices.once_in(2) {
            parts.entries.push(file("oci-layout", mark));
        }
        let index = json!({"schemaVersion": 2, "manifests": parts.index});
        if mutation != Some(Mutation::LostIndex) {
            parts.entries.push(file("index.json", text_of(choices, &index)));
        }
    } else if choices.once_in(8) {
        let text = *choices.pick(&[
            r#"{"schemaVersion":2,"manifests":null}"#,
            r#"{"schemaVersion":2,"manifests":[]}"#,
            r#"{"schemaVersion":2}"#,
        ]);
        parts.entries.push(file("index.json", text));
    }
    if !parts.docker.is_empty() {
        let list = text_of(choices, &json!(parts.docker));
        parts.entries.push(file("manifest.json", list));
    }
    if choices.once_in(2) {
        parts.entries.reverse();
    }
    tar(&parts.entries, Style::any(choices))
}

/// Formats JSON in one of several styles.
fn text_of(choices: &mut Choices, value: &Value) -> String {
    match choices.below(6) {
        0 => format!("{value:#}\n"),
        1 => format!("\n \t{value}"),
        _ => value.to_string(),
    }
}
