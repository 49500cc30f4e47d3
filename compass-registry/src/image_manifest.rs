//! Image manifests and image indexes: raw bytes, and what they refer to.

use bytes::Bytes;
use oci_spec::image as oci;

use crate::{Algorithm, Descriptor, Digest, Error, Platform};

/// Media types that this crate knows by name.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, gzipped.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI image layer, uncompressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI image layer, compressed with zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

/// The largest manifest that is read; the distribution specification asks registries to take 4 MiB.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Bytes of all manifests of one image, its index with them. One has a few thousand.
pub const MAX_IMAGE_MANIFESTS_BYTES: u64 = 8 << 20;

/// An image manifest or index exactly as a registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    descriptor: Descriptor,
    bytes: Bytes,
}

/// What a [`RawManifest`] refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image {
        /// The image configuration.
        config: Descriptor,
        /// The layers, lowest first.
        layers: Vec<Descriptor>,
    },
    /// Images for several platforms.
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// The blobs that a registry with the image holds: the configuration, and the layers that are
    /// not kept elsewhere. An index has none of its own.
    pub fn held_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match self {
            Self::Image { config, layers } => (Some(config), layers.as_slice()),
            Self::Index(_) => (None, [].as_slice()),
        };
        config.into_iter().chain(layers.iter().filter(|layer| !layer.is_held_elsewhere()))
    }
}

impl RawManifest {
    /// Takes bytes and their media type.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    /// Takes bytes that are known by a digest of this algorithm.
    pub fn known_by(
        algorithm: Algorithm,
        media_type: impl Into<String>,
        bytes: impl Into<Bytes>,
    ) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::with(media_type, &bytes, algorithm), bytes }
    }

    /// Media type, digest and size.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest.
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether this is an index and not an image.
    pub fn is_index(&self) -> bool {
        matches!(
            self.descriptor.media_type.as_str(),
            media_type::OCI_INDEX | media_type::DOCKER_LIST
        )
    }

    /// Whether a media type is that of an image manifest or index.
    pub fn is_manifest_type(media_type: &str) -> bool {
        matches!(
            media_type,
            media_type::OCI_MANIFEST
                | media_type::OCI_INDEX
                | media_type::DOCKER_MANIFEST
                | media_type::DOCKER_LIST
        )
    }

    /// Reads what the manifest refers to.
    ///
    /// # Errors
    /// [`Error::BadContent`] where it is not a manifest of a known kind.
    pub fn parse(&self) -> Result<Manifest, Error> {
        let what = || format!("manifest {}", self.digest());
        let bad = |reason: String| Error::BadContent { what: what(), reason };
        match self.descriptor.media_type.as_str() {
            media_type::OCI_INDEX | media_type::DOCKER_LIST => {
                let index: oci::ImageIndex =
                    serde_json::from_slice(&self.bytes).map_err(|error| bad(error.to_string()))?;
                let images = index.manifests().iter().map(convert);
                images.collect::<Result<_, _>>().map(Manifest::Index)
            }
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
                let image: oci::ImageManifest =
                    serde_json::from_slice(&self.bytes).map_err(|error| bad(error.to_string()))?;
                Ok(Manifest::Image {
                    config: convert(image.config())?,
                    layers: image.layers().iter().map(convert).collect::<Result<_, _>>()?,
                })
            }
            other => Err(bad(format!("its media type `{other}` is not known here"))),
        }
    }
}

/// The media type that a manifest's own bytes claim, for places that store none beside it.
pub fn sniff_media_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sniff {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let sniff: Sniff = serde_json::from_slice(bytes).ok()?;
    sniff.media_type.or_else(|| match (sniff.manifests, sniff.config) {
        (Some(_), None) => Some(media_type::OCI_INDEX.to_owned()),
        (None, Some(_)) => Some(media_type::OCI_MANIFEST.to_owned()),
        _ => None,
    })
}

/// No blob has more bytes than this: so the sizes of all blobs that manifests name can be added up.
const MAX_BLOB_BYTES: u64 = 1 << 44;

fn convert(descriptor: &oci::Descriptor) -> Result<Descriptor, Error> {
    if descriptor.size() > MAX_BLOB_BYTES {
        return Err(Error::BadContent {
            what: format!("the size of {}", descriptor.digest()),
            reason: format!("{} bytes are more than any blob has", descriptor.size()),
        });
    }
    Ok(Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string().parse()?,
        size: descriptor.size(),
        platform: descriptor.platform().as_ref().map(|platform| Platform {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_manifest_is_read_like_an_oci_one() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{digest}","size":1}},"layers":[]}}"#
        );
        let raw = RawManifest::new(media_type::DOCKER_MANIFEST, text.clone());
        let Manifest::Image { config, layers } = raw.parse().unwrap() else { panic!("an image") };
        assert_eq!((config.digest, layers.len()), (digest, 0));
        assert_eq!(config.media_type, "application/vnd.docker.container.image.v1+json");
        assert_eq!(sniff_media_type(text.as_bytes()).as_deref(), Some(media_type::OCI_MANIFEST));
    }

    #[test]
    fn what_is_not_a_manifest_is_refused() {
        for text in ["", "{}", "[]", "null", r#"{"schemaVersion":2}"#] {
            assert!(RawManifest::new(media_type::OCI_MANIFEST, text).parse().is_err(), "{text}");
        }
        assert!(RawManifest::new("text/plain", "{}").parse().is_err());
        let of_size = |size: u64| {
            let digest = Digest::of(b"x");
            let text = format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{digest}","size":{size}}},"layers":[]}}"#
            );
            RawManifest::new(media_type::OCI_MANIFEST, text).parse()
        };
        assert!(of_size(1 << 40).is_ok());
        let error = of_size(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("more than any blob has"), "{error}");
    }
}
