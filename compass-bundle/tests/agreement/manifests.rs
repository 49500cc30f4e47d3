//! Image lists: those of Docker and those of OCI layouts.

use compass_registry::{Digest, media_type};
use serde_json::{Value, json};

use super::archives::Parts;
use super::choices::Choices;
use super::images::Image;
use super::mutation::Mutation;
use super::tar::{Packing, file, link};

/// The compression and compressed bytes of a layer.
type Packed = (Packing, Vec<u8>);

pub(crate) fn describe(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub(crate) fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

/// An index of images or indexes.
pub(crate) fn index_of(manifests: &[Value]) -> Vec<u8> {
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
    });
    index.to_string().into_bytes()
}

/// Adds an image as `docker save` before version 25, skopeo and kaniko do.
pub(crate) fn add_docker(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    packed: &[Packed],
    tags: &Value,
) {
    let config = match choices.below(3) {
        0 => format!("{}.json", image.config_digest().hex()),
        1 => format!("config-{}.json", image.number),
        _ => blob_path(&image.config),
    };
    let style = choices.below(5);
    let mut layers = Vec::new();
    for (number, (packing, bytes)) in packed.iter().enumerate() {
        let id = Digest::of(format!("{} {number}", image.number).as_bytes()).hex();
        let (path, written) = match style {
            0 => (format!("{id}/layer.tar"), format!("{id}/layer.tar")),
            1 => (format!("{id}.tar{}", packing.end()), format!("/{id}.tar{}", packing.end())),
            2 => (format!("{id}/layer.tar"), format!("{id}\\layer.tar")),
            3 => (format!("{id}\\layer.tar"), format!("{id}/layer.tar")),
            _ => {
                // Docker names layers that two images share in this way.
                let path = format!("{}/layer.tar", Digest::of(bytes).hex());
                let target = choices.pick(&[format!("../{path}"), format!("/{path}")]).clone();
                parts.entries.push(link(b'2', format!("{id}/layer.tar"), target));
                (path, format!("{id}/layer.tar"))
            }
        };
        parts.entries.push(file(path, bytes.clone()));
        layers.push(written);
    }
    parts.entries.push(file(config.clone(), image.config.clone()));
    let layers = if layers.is_empty() && choices.once_in(2) { Value::Null } else { json!(layers) };
    parts.docker.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
}

/// Adds an image in the format of OCI layouts.
pub(crate) fn add_layout(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    packed: &[Packed],
    (annotations, mutation): (Value, Option<Mutation>),
) {
    parts.is_layout = true;
    let layers = add_layers(choices, parts, packed, mutation);
    parts.add_blob(&image.config);
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &image.config), "layers": layers,
    });
    if choices.once_in(3) {
        manifest.as_object_mut().unwrap().remove("mediaType");
    }
    if mutation == Some(Mutation::ImageAndIndex) {
        manifest["manifests"] = json!([describe(media_type::OCI_MANIFEST, b"x")]);
    }
    let manifest = manifest.to_string().into_bytes();
    parts.add_blob(&manifest);
    let mut entry = add_indexes(choices, parts, &manifest, mutation);
    if mutation == Some(Mutation::WrongIndexSize) {
        entry["size"] = json!(1);
    }
    entry["annotations"] = annotations;
    parts.index.push(entry);
}

fn add_layers(
    choices: &mut Choices,
    parts: &mut Parts,
    packed: &[Packed],
    mutation: Option<Mutation>,
) -> Vec<Value> {
    let kind = |packing: &Packing| match packing {
        Packing::Gzip | Packing::Stored => media_type::OCI_LAYER_GZIP,
        Packing::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    };
    let mut layers: Vec<_> =
        packed.iter().map(|(packing, bytes)| describe(kind(packing), bytes)).collect();
    if mutation == Some(Mutation::WrongSize) {
        layers[0]["size"] = json!(packed[0].1.len() + 1);
    }
    let mut missing = 0;
    if mutation.is_none() && choices.once_in(10) {
        // Base layers of Windows images may be missing.
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        layers.iter_mut().take(1).for_each(|layer| layer["mediaType"] = json!(foreign));
        missing = usize::from(parts.may_lack_layers && choices.once_in(2));
    }
    for (_, bytes) in &packed[missing.min(packed.len())..] {
        parts.add_blob(bytes);
    }
    layers
}

/// Adds indexes around a manifest, or none. Returns the outermost descriptor.
fn add_indexes(
    choices: &mut Choices,
    parts: &mut Parts,
    manifest: &[u8],
    mutation: Option<Mutation>,
) -> Value {
    let lacks_inner = mutation == Some(Mutation::MissingInnerManifest);
    let mut entry = describe(media_type::OCI_MANIFEST, manifest);
    let levels = if lacks_inner { 2 } else { 0 } + choices.below(3);
    for level in 0..levels {
        if choices.once_in(2) {
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        }
        let mut images = vec![entry];
        let is_outermost = level + 1 == levels;
        // Docker keeps indexes of which it has pulled only some platforms.
        let is_partial = is_outermost && choices.once_in(3);
        if is_partial || (lacks_inner && !is_outermost) {
            let mut absent = describe(media_type::OCI_MANIFEST, format!("{level}").as_bytes());
            absent["platform"] = json!({"os": "linux", "architecture": "arm64"});
            images.push(absent);
        }
        let index = index_of(&images);
        parts.add_blob(&index);
        entry = describe(media_type::OCI_INDEX, &index);
    }
    entry
}
