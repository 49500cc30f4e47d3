//! Comparison of an image's layers with its configuration.

use compass_registry::Descriptor;

use super::ArchiveContext;
use crate::diff_ids;
use crate::foreign::archive::ScannedEntry;
use crate::foreign::compression::Compression;
use crate::foreign::entry_content::EntryContent;

/// A layer of an image in an archive.
pub(super) struct Layer<'e> {
    /// Name of the layer in messages.
    pub(super) name: String,
    /// `None` if the archive does not contain the layer.
    pub(super) entry: Option<&'e ScannedEntry>,
}

/// Problems of layers that do not match the configuration.
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
            return vec![archive.problem(format!("the configuration is unreadable: {reason}"))];
        }
    };
    if let Err(reason) = diff_ids::require_count(expected.len(), layers.len()) {
        return vec![
            archive.problem(format!("the configuration does not match the image: {reason}")),
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
                "layer {name} is compressed with {format}, which no runtime supports"
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
        "layer {name} has the diff ID {own}, but the configuration lists `{}`",
        expected.escape_debug()
    ))
}

/// Returns why containerd cannot unpack a layer that Docker and Podman can unpack.
///
/// containerd selects the decoder by media type first (`DiffCompression` of containerd/images).
pub(super) fn unusual_compression(layer: &Descriptor, entry: &ScannedEntry) -> Option<String> {
    let EntryContent::Compressed { compression, .. } = &entry.content else { return None };
    let (digest, kind) = (layer.digest, layer.media_type.as_str());
    let reason = match compression {
        Compression::Xz | Compression::Bzip2 => "which containerd does not support".to_owned(),
        Compression::Gzip | Compression::Zstd if is_uncompressed(kind) => {
            format!(
                "but its media type `{kind}` is that of uncompressed layers: containerd cannot unpack it"
            )
        }
        Compression::Gzip | Compression::Zstd => return None,
    };
    Some(format!("layer {digest} is compressed with {compression}, {reason}"))
}

/// Whether an OCI media type declares an uncompressed layer. Docker's media types do not.
fn is_uncompressed(media_type: &str) -> bool {
    let is_tar = media_type.rsplit('.').next() == Some("tar");
    is_tar && media_type.starts_with("application/vnd.oci.image.layer.")
}
