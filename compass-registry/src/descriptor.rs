//! Descriptors: media type, digest and size of content.

use serde::{Deserialize, Deserializer, Serialize};

use crate::platform::PlatformFields;
use crate::{Algorithm, Digest, Platform, RawManifest};

/// Identifies content by type, digest and size (OCI image specification, "Descriptor").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type. Old tools omit it in an index; then it is empty.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The platform of an image, if its index names one.
    #[serde(default, deserialize_with = "platform", skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Describes content by its SHA-256 digest.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::with_algorithm(media_type, bytes, Algorithm::Sha256)
    }

    pub(crate) fn with_algorithm(
        media_type: impl Into<String>,
        bytes: &[u8],
        algorithm: Algorithm,
    ) -> Self {
        Self {
            media_type: media_type.into(),
            digest: algorithm.digest(bytes),
            size: bytes.len() as u64,
            platform: None,
        }
    }
}

impl Descriptor {
    /// Whether this is a layer that registries need not store, such as a base layer of Windows.
    /// Hosts download it from its publisher (OCI image specification, § Non-Distributable Layers).
    pub fn is_nondistributable(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }

    /// Whether an entry of an index is an image manifest or an index. The index of a build cache
    /// has layers and a cache configuration instead, which are blobs.
    pub fn is_manifest(&self) -> bool {
        let kind = self.media_type.as_str();
        RawManifest::is_manifest_type(kind)
            || kind.is_empty()
            || kind == "application/json"
            || kind.contains("manifest")
            || kind.contains(".index.")
    }
}

/// Parses a platform whose fields may be missing, null or empty.
fn platform<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Platform>, D::Error> {
    let fields: Option<PlatformFields> = Deserialize::deserialize(value)?;
    Ok(fields.and_then(PlatformFields::platform))
}
