//! Descriptors: media type, digest and size of content.

use serde::{Deserialize, Deserializer, Serialize};

use crate::platform::PlatformFields;
use crate::{Algorithm, Digest, Platform, RawManifest};

/// What content is, and how to prove it (OCI image specification, "Descriptor").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type. Old tools leave it out of an index, and then it is empty.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
    /// The platform that an image is for, if an image index names it.
    #[serde(default, deserialize_with = "platform", skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Describes bytes at hand, by their SHA-256 digest.
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
    /// Whether this is a layer that registries need not hold, such as a base layer of Windows:
    /// whoever runs the image fetches it from its owner (OCI image specification,
    /// § Non-Distributable Layers).
    pub fn is_nondistributable(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }

    /// Whether an entry of an image index is an image manifest or another index. Indexes of build
    /// caches have layers and a cache configuration instead, which are blobs.
    pub fn is_manifest(&self) -> bool {
        let kind = self.media_type.as_str();
        RawManifest::is_manifest_type(kind)
            || kind.is_empty()
            || kind == "application/json"
            || kind.contains("manifest")
            || kind.contains(".index.")
    }
}

/// A platform whose fields may be missing, null or empty.
fn platform<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Platform>, D::Error> {
    let fields: Option<PlatformFields> = Deserialize::deserialize(value)?;
    Ok(fields.and_then(PlatformFields::platform))
}
