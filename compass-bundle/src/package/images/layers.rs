//! Compares the layers of an image with its configuration.

use super::Archive;
use crate::diff_ids;
use crate::package::archive::{Content, ScannedEntry};

/// A layer of an image, as it is in an archive.
pub(super) struct Layer<'e> {
    /// What the layer is called in messages.
    pub(super) name: String,
    /// Nothing if the layer is elsewhere.
    pub(super) entry: Option<&'e ScannedEntry>,
}

/// Problems of an image's layers, by its configuration.
pub(super) fn wrong_layers(
    archive: &Archive<'_>,
    config: &ScannedEntry,
    layers: &[Layer<'_>],
) -> Vec<String> {
    if !config.is_whole() {
        return vec![archive.problem("the configuration is not JSON, or is too large")];
    }
    let expected = match diff_ids::read(&config.head) {
        Ok(expected) => expected,
        Err(reason) => {
            return vec![archive.problem(format!("the configuration is not readable: {reason}"))];
        }
    };
    if let Err(reason) = diff_ids::require_count(expected.len(), layers.len()) {
        return vec![
            archive.problem(format!("the configuration does not fit the image: {reason}")),
        ];
    }
    let wrong = layers.iter().zip(&expected).filter_map(|(layer, id)| wrong_layer(layer, id));
    wrong.map(|what| archive.problem(what)).collect()
}

fn wrong_layer(layer: &Layer<'_>, expected: &str) -> Option<String> {
    let (name, entry) = (&layer.name, layer.entry?);
    match &entry.content {
        Content::Unreadable(reason) => return Some(format!("layer {name}: {reason}")),
        Content::Unsupported(format) => {
            return Some(format!(
                "layer {name} is compressed with {format}, which no runtime reads"
            ));
        }
        Content::NoArchive => return Some(format!("layer {name} is not a tar archive")),
        Content::Plain | Content::Packed { .. } => {}
    }
    let sha512 = || (entry.content == Content::Plain).then(|| entry.digests.named.to_string());
    let own = entry.diff_id()?.to_string();
    if own == expected || sha512().as_deref() == Some(expected) {
        return None;
    }
    let expected: String = expected.chars().take(140).collect();
    Some(format!(
        "layer {name} has the diff ID {own}, and the configuration names `{}`",
        expected.escape_debug()
    ))
}
