//! Formats of image lists, detected from the keys of a JSON file.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The format of a `manifest.json` or `index.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManifestFormat {
    /// The list of images that `docker save` writes.
    Docker,
    /// The index of an OCI layout.
    OciIndex,
    /// The manifest of one image in skopeo's `dir:` format.
    SkopeoDir,
    /// A file of another program that has the same name.
    Unrelated,
}

/// Detects the format of a metadata file. Unreadable files keep the format that their name implies,
/// so that reading them reports the error.
pub(super) fn manifest_format(name: &str, json: &[u8]) -> ManifestFormat {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Keys {
        schema_version: Option<IgnoredAny>,
        manifests: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
    }
    let is_index = name.ends_with("index.json");
    let keys = serde_json::from_slice::<Keys>(json);
    let begins_with = |byte: &[u8]| json.trim_ascii_start().starts_with(byte);
    match (is_index, keys) {
        (true, Ok(Keys { manifests: None, schema_version: None, .. })) => ManifestFormat::Unrelated,
        (true, _) if begins_with(b"[") => ManifestFormat::Unrelated,
        (true, _) => ManifestFormat::OciIndex,
        (false, _) if is_unrelated_list(json) => ManifestFormat::Unrelated,
        (false, _) if !begins_with(b"{") => ManifestFormat::Docker,
        (false, Ok(Keys { manifests, config, layers, .. })) => {
            let is_manifest = manifests.is_some() || (config.is_some() && layers.is_some());
            if is_manifest { ManifestFormat::SkopeoDir } else { ManifestFormat::Unrelated }
        }
        (false, Err(_)) => ManifestFormat::Docker,
    }
}

/// The keys that identify an image in the list of `docker save`. Docker itself matches keys
/// case-insensitively.
#[derive(Deserialize)]
struct DockerKeys {
    #[serde(rename = "Config")]
    config: Option<IgnoredAny>,
    #[serde(rename = "Layers")]
    layers: Option<IgnoredAny>,
    #[serde(rename = "config")]
    small_config: Option<IgnoredAny>,
    #[serde(rename = "layers")]
    small_layers: Option<IgnoredAny>,
}

fn docker_keys(json: &[u8]) -> Option<Vec<DockerKeys>> {
    serde_json::from_slice(json).ok()
}

/// Whether a JSON document is an image list of `docker save`.
pub(super) fn has_images(json: &[u8]) -> bool {
    let is_image = |keys: &DockerKeys| {
        let is_small = keys.small_config.is_some() && keys.small_layers.is_some();
        keys.config.is_some() || keys.layers.is_some() || is_small
    };
    docker_keys(json).is_some_and(|all| all.iter().any(is_image))
}

/// Whether a JSON document is a list of objects none of which is an image.
fn is_unrelated_list(json: &[u8]) -> bool {
    docker_keys(json).is_some_and(|all| !all.is_empty()) && !has_images(json)
}
