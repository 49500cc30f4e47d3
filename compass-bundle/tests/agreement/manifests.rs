//! How images are described: as Docker does, or as OCI layouts are.

use compass_registry::{Digest, media_type};
use serde_json::{Value, json};

use super::archives::Parts;
use super::choices::Choices;
use super::flaw::Flaw;
use super::images::Image;
use super::tar::{Packing, file, link};

/// A layer as it is packed.
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

/// As `docker save` before version 25, skopeo and kaniko write.
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
                // As Docker wrote layers that two images share.
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

/// As OCI layouts hold images.
pub(crate) fn add_layout(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    packed: &[Packed],
    (annotations, flaw): (Value, Option<Flaw>),
) {
    parts.is_layout = true;
    let layers = add_layers(choices, parts, packed, flaw);
    parts.add_blob(&image.config);
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &image.config), "layers": layers,
    });
    if choices.once_in(3) {
        manifest.as_object_mut().unwrap().remove("mediaType");
    }
    if flaw == Some(Flaw::ImageAndIndex) {
        manifest["manifests"] = json!([describe(media_type::OCI_MANIFEST, b"x")]);
    }
    let manifest = manifest.to_string().into_bytes();
    parts.add_blob(&manifest);
    let mut entry = add_indexes(choices, parts, &manifest, flaw);
    if flaw == Some(Flaw::WrongIndexSize) {
        entry["size"] = json!(1);
    }
    entry["annotations"] = annotations;
    parts.index.push(entry);
}

fn add_layers(
    choices: &mut Choices,
    parts: &mut Parts,
    packed: &[Packed],
    flaw: Option<Flaw>,
) -> Vec<Value> {
    let kind = |packing: &Packing| match packing {
        Packing::Gzip | Packing::Stored => media_type::OCI_LAYER_GZIP,
        Packing::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    };
    let mut layers: Vec<_> =
        packed.iter().map(|(packing, bytes)| describe(kind(packing), bytes)).collect();
    if flaw == Some(Flaw::WrongSize) {
        layers[0]["size"] = json!(packed[0].1.len() + 1);
    }
    let mut missing = 0;
    if flaw.is_none() && choices.once_in(10) {
        // Base layers of Windows may be missing.
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        layers.iter_mut().take(1).for_each(|layer| layer["mediaType"] = json!(foreign));
        missing = usize::from(parts.may_lack_layers && choices.once_in(2));
    }
    for (_, bytes) in &packed[missing.min(packed.len())..] {
        parts.add_blob(bytes);
    }
    layers
}

/// Indexes around a manifest, or none. Gives what describes the outermost.
fn add_indexes(
    choices: &mut Choices,
    parts: &mut Parts,
    manifest: &[u8],
    flaw: Option<Flaw>,
) -> Value {
    let lacks_inner = flaw == Some(Flaw::MissingInnerManifest);
    let mut entry = describe(media_type::OCI_MANIFEST, manifest);
    let levels = if lacks_inner { 2 } else { 0 } + choices.below(3);
    for level in 0..levels {
        if choices.once_in(2) {
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        }
        let mut images = vec![entry];
        let is_outermost = level + 1 == levels;
        // Docker keeps indexes of which it has some platforms only.
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
