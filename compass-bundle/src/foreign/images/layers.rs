//! Compares the layers of an image with its configuration.

use compass_registry::Descriptor;

use super::ArchiveContext;
use crate::diff_ids;
use crate::foreign::archive::{EntryContent, ScannedEntry};
use crate::foreign::compression::Compression;

/// A layer of an image, as it is in an archive.
pub(super) struct Layer<'e> {
    /// What the layer is called in messages.
    pub(super) name: String,
    /// Nothing if the layer is elsewhere.
    pub(super) entry: Option<&'e ScannedEntry>,
}

/// Problems of an image's layers, by its configuration.
pub(super) fn layer_problems(
    archive: &ArchiveContext<'_>,
    config: &ScannedEntry,
    layers: &[Layer<'_>],
) -> Vec<String> {
    if !config.has_full_content() {
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
    let wrong = layers.iter().zip(&expected).filter_map(|(layer, id)| layer_problem(layer, id));
    wrong.map(|what| archive.problem(what)).collect()
}

fn layer_problem(layer: &Layer<'_>, expected: &str) -> Option<String> {
    let (name, entry) = (&layer.name, layer.entry?);
    match &entry.content {
        EntryContent::Unreadable(reason) => return Some(format!("layer {name}: {reason}")),
        EntryContent::Unsupported(format) => {
            return Some(format!(
                "layer {name} is compressed with {format}, which no runtime reads"
            ));
        }
        EntryContent::NotATar => return Some(format!("layer {name} is not a tar archive")),
        EntryContent::Plain | EntryContent::Compressed { .. } => {}
    }
    let sha512 = || (entry.content == EntryContent::Plain).then(|| entry.digests.named.to_string());
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

/// Why containerd does not unpack a layer that Docker and Podman do. They look at the content, and
/// containerd at the media type first (`DiffCompression` of containerd/images).
pub(super) fn unusual_compression(layer: &Descriptor, entry: &ScannedEntry) -> Option<String> {
    let EntryContent::Compressed { compression, .. } = &entry.content else { return None };
    let (digest, kind) = (layer.digest, layer.media_type.as_str());
    let reason = match compression {
        Compression::Xz | Compression::Bzip2 => "which containerd does not read".to_owned(),
        Compression::Gzip | Compression::Zstd if is_uncompressed(kind) => {
            format!(
                "and has the type `{kind}` of layers without compression: containerd does not unpack it"
            )
        }
        Compression::Gzip | Compression::Zstd => return None,
    };
    Some(format!("layer {digest} is compressed with {compression}, {reason}"))
}

/// Whether a media type of OCI layers says that they are not compressed. That of Docker says nothing.
fn is_uncompressed(media_type: &str) -> bool {
    let is_tar = media_type.rsplit('.').next() == Some("tar");
    is_tar && media_type.starts_with("application/vnd.oci.image.layer.")
}
