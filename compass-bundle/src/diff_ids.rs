//! Diff IDs: the digests of the uncompressed layers in an image configuration.
//!
//! OCI image specification, "Image Configuration", `rootfs.diff_ids`.

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

/// Whether the diff IDs of an image describe its layers. Charts, signatures and attestations have
/// manifests, but no diff IDs.
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

/// Parses the diff IDs of a configuration. A missing or `null` list is empty.
pub(crate) fn read(config: &[u8]) -> Result<Vec<String>, String> {
    let parsed: Config = serde_json::from_slice(config).map_err(|error| error.to_string())?;
    Ok(parsed.rootfs.unwrap_or_default().diff_ids.unwrap_or_default())
}

/// Returns an error unless there is one diff ID for each layer.
pub(crate) fn require_count(named: usize, layers: usize) -> Result<(), String> {
    match named == layers {
        true => Ok(()),
        false => Err(format!("it lists {named} layers, but the image has {layers}")),
    }
}

/// Parses the diff IDs of an image in a registry, one for each layer. Returns `None` for an empty
/// list: artifacts may use the media types of images.
pub(crate) fn read_for(config: &[u8], layers: usize) -> Result<Option<Vec<String>>, String> {
    let ids = read(config).map_err(|reason| format!("it is unreadable: {reason}"))?;
    if ids.is_empty() {
        return Ok(None);
    }
    require_count(ids.len(), layers)?;
    Ok(Some(ids))
}

/// Compares layer descriptors with the configuration and returns the first mismatch.
///
/// The number of layers and the digests of uncompressed layers are compared.
pub(crate) fn problem(config: &[u8], layers: &[Descriptor]) -> Option<String> {
    let expected = match read_for(config, layers.len()) {
        Ok(expected) => expected?,
        Err(reason) => {
            return Some(format!("the configuration does not match the image: {reason}"));
        }
    };
    let mut plain = layers.iter().zip(&expected).filter(|(layer, _)| is_uncompressed(layer));
    let (layer, id) = plain.find(|(layer, id)| {
        let own = layer.digest.to_string();
        id.split(':').next() == own.split(':').next() && **id != own
    })?;
    let (id, own): (String, _) = (id.chars().take(140).collect(), layer.digest);
    Some(format!("the configuration lists the layer `{}` instead of {own}", id.escape_debug()))
}

fn is_uncompressed(layer: &Descriptor) -> bool {
    let plain = [media_type::OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar"];
    plain.contains(&layer.media_type.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_missing_list_is_empty() {
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
    fn problem_mismatched_layers_are_reported() {
        let plain = Descriptor::of(media_type::OCI_LAYER, b"plain");
        let packed = Descriptor::of(media_type::OCI_LAYER_GZIP, b"packed");
        let other = Descriptor::of(media_type::OCI_LAYER, b"other").digest;
        let config = |ids: &[String]| serde_json::json!({"rootfs": {"diff_ids": ids}}).to_string();
        let own = plain.digest.to_string();
        for (ids, expected) in [
            (vec![own.clone(), other.to_string()], None),
            (vec![other.to_string(), own.clone()], Some("lists the layer")),
            (vec!["sha512:x".to_owned(), own.clone()], None),
            (vec![own.clone()], Some("lists 1 layers, but the image has 2")),
            (vec![], None),
        ] {
            let found = problem(config(&ids).as_bytes(), &[plain.clone(), packed.clone()]);
            assert_eq!(found.is_some(), expected.is_some(), "{ids:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    #[test]
    fn are_compared_only_for_images() {
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
