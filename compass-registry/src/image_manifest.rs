//! Image manifests and image indexes: their bytes, and the descriptors in them.

mod schema;

use bytes::Bytes;

use self::schema::Schema;
pub use self::schema::{media_type_of, sniff_media_type};
use crate::{Algorithm, Descriptor, Digest, Error};

/// Media types of manifests, configurations and layers.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_MANIFEST_LIST: &str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI image layer, compressed with gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI image layer, uncompressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI image layer, compressed with zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

/// The maximum size of a manifest in bytes. The distribution specification asks registries to
/// accept 4 MiB.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// The maximum size in bytes of all manifests of one image, including its index. A typical manifest
/// has a few thousand bytes.
pub const MAX_IMAGE_MANIFESTS_BYTES: u64 = 8 << 20;

/// An image manifest or index, exactly as a registry stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    descriptor: Descriptor,
    bytes: Bytes,
}

/// The content that a [`RawManifest`] refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few are kept at once")]
pub enum Manifest {
    /// One image.
    Image {
        /// The configuration.
        config: Descriptor,
        /// The layers, lowest first.
        layers: Vec<Descriptor>,
    },
    /// Images for several platforms. An index of a build cache contains blobs instead
    /// ([`Descriptor::is_manifest`]).
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// Returns the blobs that a registry with the image stores. For an image, these are the
    /// configuration and the distributable layers; for an index, the entries that are not
    /// manifests.
    pub fn distributable_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.blobs().filter(|blob| !blob.is_nondistributable())
    }

    /// Returns the layers that registries need not store ([`Descriptor::is_nondistributable`]).
    pub fn nondistributable_layers(&self) -> impl Iterator<Item = &Descriptor> {
        self.blobs().filter(|blob| blob.is_nondistributable())
    }

    fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let is_index = matches!(self, Self::Index(_));
        self.descriptors().filter(move |one| !is_index || !one.is_manifest())
    }

    /// Returns everything that the manifest refers to.
    fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, rest) = match self {
            Self::Image { config, layers } => (Some(config), layers),
            Self::Index(entries) => (None, entries),
        };
        config.into_iter().chain(rest)
    }
}

impl RawManifest {
    /// Creates a manifest with a SHA-256 digest.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    /// Creates a manifest with a digest of this algorithm.
    pub fn with_algorithm(
        algorithm: Algorithm,
        media_type: impl Into<String>,
        bytes: impl Into<Bytes>,
    ) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::with_algorithm(media_type, &bytes, algorithm), bytes }
    }

    /// Returns media type, digest and size.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the digest.
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether this is an index.
    pub fn is_index(&self) -> bool {
        Self::is_index_type(&self.descriptor.media_type)
    }

    /// Whether a media type is that of an index.
    pub(crate) fn is_index_type(media_type: &str) -> bool {
        matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_MANIFEST_LIST)
    }

    /// Whether a media type is that of an image manifest or index.
    pub fn is_manifest_type(media_type: &str) -> bool {
        matches!(
            media_type,
            media_type::OCI_MANIFEST
                | media_type::OCI_INDEX
                | media_type::DOCKER_MANIFEST
                | media_type::DOCKER_MANIFEST_LIST
        )
    }

    /// Parses the manifest into the descriptors that it refers to.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] if the manifest is malformed, of an unknown type, or could be read
    /// both as an image and as an index.
    pub fn parse(&self) -> Result<Manifest, Error> {
        Schema::read(&self.bytes, &self.descriptor.media_type).map_err(|reason| {
            Error::InvalidContent { what: format!("manifest {}", self.digest()), reason }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_docker_manifest_like_oci() {
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
    fn parse_invalid_manifest_is_rejected() {
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
        assert!(error.contains("more than any blob"), "{error}");
    }
}
