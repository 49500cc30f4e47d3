//! Manifests written by the types of `oci-spec` are parsed identically. OS versions are omitted,
//! because oci-spec 0.10 writes `os_version` instead of `os.version`.
#![allow(clippy::unwrap_used)]

use compass_registry::{Descriptor, Digest, Manifest, RawManifest, media_type};
use oci_spec::image as oci;
use proptest::prelude::*;

fn descriptor(kind: &str, (content, size): &(Vec<u8>, u64)) -> oci::Descriptor {
    let digest: oci::Digest = Digest::of(content).to_string().parse().unwrap();
    oci::Descriptor::new(kind.into(), *size, digest)
}

fn assert_same(read: &Descriptor, written: &oci::Descriptor) {
    assert_eq!(read.media_type, written.media_type().to_string());
    assert_eq!(read.digest.to_string(), written.digest().to_string());
    assert_eq!(read.size, written.size());
}

fn blobs() -> impl Strategy<Value = Vec<(Vec<u8>, u64)>> {
    let blob = (prop::collection::vec(any::<u8>(), 0..9), 0..1_u64 << 40);
    prop::collection::vec(blob, 1..5)
}

#[test]
fn media_types_match_oci_spec() {
    for (ours, theirs) in [
        (media_type::OCI_MANIFEST, oci::MediaType::ImageManifest),
        (media_type::OCI_INDEX, oci::MediaType::ImageIndex),
        (media_type::OCI_CONFIG, oci::MediaType::ImageConfig),
        (media_type::OCI_LAYER, oci::MediaType::ImageLayer),
        (media_type::OCI_LAYER_GZIP, oci::MediaType::ImageLayerGzip),
        (media_type::OCI_LAYER_ZSTD, oci::MediaType::ImageLayerZstd),
    ] {
        assert_eq!(ours, theirs.to_string());
    }
}

proptest! {
    #[test]
    fn image_manifest_matches_oci_spec(blobs in blobs(), has_type: bool) {
        let config = descriptor(media_type::OCI_CONFIG, &blobs[0]);
        let layers: Vec<_> =
            blobs[1..].iter().map(|blob| descriptor(media_type::OCI_LAYER_GZIP, blob)).collect();
        let mut written = oci::ImageManifestBuilder::default()
            .schema_version(oci::SCHEMA_VERSION)
            .config(config.clone())
            .layers(layers.clone())
            .build()
            .unwrap();
        written.set_media_type(has_type.then_some(oci::MediaType::ImageManifest));
        let raw = RawManifest::new(media_type::OCI_MANIFEST, written.to_string().unwrap());
        let Manifest::Image { config: read, layers: read_layers } = raw.parse().unwrap() else {
            panic!("it is an image");
        };
        assert_same(&read, &config);
        assert_eq!(read_layers.len(), layers.len());
        read_layers.iter().zip(&layers).for_each(|(read, written)| assert_same(read, written));
    }

    #[test]
    fn index_matches_oci_spec(
        blobs in blobs(),
        architecture in "amd64|arm64|arm|riscv64",
        variant in prop::option::of("v[5-9]"),
        os in "linux|windows",
    ) {
        let mut platform = oci::PlatformBuilder::default()
            .architecture(oci::Arch::from(architecture.as_str()))
            .os(oci::Os::from(os.as_str()))
            .build()
            .unwrap();
        platform.set_variant(variant.clone());
        let mut images: Vec<_> =
            blobs.iter().map(|blob| descriptor(media_type::OCI_MANIFEST, blob)).collect();
        images[0].set_platform(Some(platform));
        let written = oci::ImageIndexBuilder::default()
            .schema_version(oci::SCHEMA_VERSION)
            .media_type(oci::MediaType::ImageIndex)
            .manifests(images.clone())
            .build()
            .unwrap();
        let raw = RawManifest::new(media_type::OCI_INDEX, written.to_string().unwrap());
        let Manifest::Index(read) = raw.parse().unwrap() else { panic!("it is an index") };
        assert_eq!(read.len(), images.len());
        read.iter().zip(&images).for_each(|(read, written)| assert_same(read, written));
        let own = read[0].platform.as_ref().unwrap();
        assert_eq!((&own.architecture, &own.os), (&architecture, &os));
        assert_eq!(own.variant, variant);
    }
}
