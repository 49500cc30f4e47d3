//! What the layers of an image unpack to, by its configuration (OCI image specification, "Image
//! Configuration", `rootfs.diff_ids`).

use compass_registry::{Descriptor, media_type};
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    rootfs: Option<RootFs>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

/// Whether the layers of an image are archives of files that its configuration names. Other things
/// have manifests too: charts, signatures, attestations of builds.
pub(crate) fn are_compared(config: &Descriptor, layers: &[Descriptor]) -> bool {
    let is_image = matches!(
        config.media_type.as_str(),
        media_type::OCI_CONFIG | "application/vnd.docker.container.image.v1+json"
    );
    is_image && layers.iter().all(|layer| is_of_files(&layer.media_type))
}

fn is_of_files(media_type: &str) -> bool {
    let is_layer = media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.");
    is_layer && !media_type.contains("encrypted")
}

/// Reads the diff IDs of a configuration. A list that is missing or `null` is empty.
pub(crate) fn read(config: &[u8]) -> Result<Vec<String>, String> {
    let parsed: Config = serde_json::from_slice(config).map_err(|error| error.to_string())?;
    Ok(parsed.rootfs.unwrap_or_default().diff_ids.unwrap_or_default())
}

/// Requires one diff ID for each layer.
pub(crate) fn require_count(named: usize, layers: usize) -> Result<(), String> {
    match named == layers {
        true => Ok(()),
        false => Err(format!("it names {named} layers, and the image has {layers}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_null_lists_are_empty() {
        for (config, count) in [
            (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:a","sha256:b"]}}"#, 2),
            (r#"{"rootfs":{"type":"layers","diff_ids":null}}"#, 0),
            (r#"{"rootfs":{"type":"layers"}}"#, 0),
            (r#"{"rootfs":null}"#, 0),
            ("{}", 0),
        ] {
            assert_eq!(read(config.as_bytes()).unwrap().len(), count, "{config}");
        }
        for config in ["", "[]", r#"{"rootfs":{"diff_ids":"sha256:a"}}"#] {
            assert!(read(config.as_bytes()).is_err(), "{config}");
        }
    }

    #[test]
    fn only_images_of_files_are_compared() {
        let of = |media_type: &str| Descriptor::of(media_type, b"x");
        let config = of(media_type::OCI_CONFIG);
        for (layer, expected) in [
            (media_type::OCI_LAYER_GZIP, true),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", false),
            ("application/vnd.in-toto+json", false),
        ] {
            assert_eq!(are_compared(&config, &[of(layer)]), expected, "{layer}");
        }
        let chart = of("application/vnd.cncf.helm.config.v1+json");
        assert!(!are_compared(&chart, &[of(media_type::OCI_LAYER_GZIP)]));
    }
}
