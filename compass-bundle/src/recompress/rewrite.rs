//! Manifests and indexes with the descriptors of recompressed layers.

use std::collections::HashMap;

use compass_registry::internal::MAX_INDEX_DEPTH;
use compass_registry::{Descriptor, Digest, RawManifest};
use serde_json::Value;

use crate::Error;
use crate::plan::image::ArchiveImage;

/// Annotations that describe compressed bytes, and become invalid.
const OF_COMPRESSION: [&str; 2] = ["io.github.containers.zstd-chunked.", "containerd.io/snapshot/"];

/// Replaces the descriptors of recompressed layers in an image.
pub(super) fn image(
    image: ArchiveImage,
    changed: &HashMap<Digest, Descriptor>,
) -> Result<ArchiveImage, Error> {
    let mut changed = changed.clone();
    let mut children = image.children.clone();
    // An index contains the digests of its children, so that nested indexes take several rounds.
    for _ in 0..MAX_INDEX_DEPTH {
        for (before, after) in image.children.iter().zip(&mut children) {
            *after = manifest(before, &changed)?;
            // An unchanged index keeps its bytes and digest.
            if after.digest() != before.digest() {
                changed.insert(before.digest(), after.descriptor().clone());
            }
        }
    }
    let root = manifest(&image.root, &changed)?;
    Ok(ArchiveImage { root, children, ..image })
}

/// Replaces descriptors in a manifest or index. Returns it unchanged if it contains none of them.
fn manifest(
    manifest: &RawManifest,
    changed: &HashMap<Digest, Descriptor>,
) -> Result<RawManifest, Error> {
    let unreadable = |error: serde_json::Error| {
        Error::InvalidInput(format!("manifest {} is unreadable: {error}", manifest.digest()))
    };
    let mut document: Value = serde_json::from_slice(manifest.bytes()).map_err(unreadable)?;
    let mut touched = false;
    for list in ["layers", "manifests"] {
        for entry in document.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let digest = entry["digest"].as_str().and_then(|digest| digest.parse().ok());
            if let Some(after) = digest.and_then(|digest: Digest| changed.get(&digest)) {
                manifest_format(entry, after);
                touched = true;
            }
        }
    }
    if !touched {
        return Ok(manifest.clone());
    }
    let bytes = serde_json::to_vec(&document).map_err(unreadable)?;
    Ok(RawManifest::new(manifest.descriptor().media_type.clone(), bytes))
}

fn manifest_format(entry: &mut Value, after: &Descriptor) {
    entry["mediaType"] = after.media_type.clone().into();
    entry["digest"] = after.digest.to_string().into();
    entry["size"] = after.size.into();
    if let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !OF_COMPRESSION.iter().any(|prefix| key.starts_with(prefix)));
    }
}

#[cfg(test)]
mod tests {
    use compass_registry::media_type;
    use serde_json::json;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn manifest_replaces_only_changed_descriptors() {
        let text = json!({
            "schemaVersion": 2, "annotations": {"org.opencontainers.image.title": "kept"},
            "layers": [
                {"mediaType": media_type::OCI_LAYER_ZSTD, "digest": digest("zstd"), "size": 4,
                 "annotations": {"io.github.containers.zstd-chunked.manifest-position": "1:2:3",
                                 "own": "kept"}},
                {"mediaType": media_type::OCI_LAYER_GZIP, "digest": digest("gzip"), "size": 5},
            ],
        });
        let before = RawManifest::new(media_type::OCI_MANIFEST, text.to_string());
        let after = Descriptor::of(media_type::OCI_LAYER_GZIP, b"zstd, gzipped");
        let changed = HashMap::from([(digest("zstd"), after.clone())]);
        let rewritten = manifest(&before, &changed).unwrap();
        let document: Value = serde_json::from_slice(rewritten.bytes()).unwrap();
        let mut expected = text;
        expected["layers"][0] = json!({
            "mediaType": media_type::OCI_LAYER_GZIP, "digest": after.digest, "size": 13,
            "annotations": {"own": "kept"},
        });
        assert_eq!(document, expected);
        assert_eq!(rewritten.descriptor().media_type, media_type::OCI_MANIFEST);
    }

    #[test]
    fn image_unchanged_index_keeps_bytes() {
        let child = RawManifest::new(media_type::OCI_MANIFEST, "{ \"layers\" : [ ] }");
        let text = json!({"manifests": [child.descriptor()], "schemaVersion": 2});
        // JSON with other formatting than that of this crate.
        let root = RawManifest::new(media_type::OCI_INDEX, format!(" {text}"));
        let mut before = ArchiveImage::new("h.example/a:v1".parse().unwrap(), root);
        before.children = vec![child];
        let changed =
            HashMap::from([(digest("zstd"), Descriptor::of(media_type::OCI_LAYER_GZIP, b"x"))]);
        let after = image(before.clone(), &changed).unwrap();
        assert_eq!((after.root, after.children), (before.root, before.children));
    }

    #[test]
    fn manifest_unchanged_keeps_bytes() {
        let before = RawManifest::new(media_type::OCI_MANIFEST, "{ \"layers\" : [ ] }");
        let changed =
            HashMap::from([(digest("zstd"), Descriptor::of(media_type::OCI_LAYER_GZIP, b"x"))]);
        assert_eq!(manifest(&before, &changed).unwrap(), before);
    }
}
