//! The images of the fixture bundles: layers of lengths around the size of a gzip block, image
//! indexes, and media types that are packaged differently.

use compass_registry::storage::{MemoryStorage, Storage as _};
use compass_registry::testing::random_bytes;
use compass_registry::{Descriptor, Digest, RawManifest, media_type};
use serde_json::{Value, json};

const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const OCI_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The longest block of a stored gzip member.
const BLOCK: usize = 65_535;

/// A layer as a registry stores it, and the digest of its uncompressed content.
struct Layer {
    media_type: &'static str,
    bytes: Vec<u8>,
    diff_id: Digest,
}

impl Layer {
    /// A layer whose compressed form is not examined.
    fn opaque(media_type: &'static str, bytes: Vec<u8>) -> Self {
        let diff_id = Digest::of(&bytes);
        Self { media_type, bytes, diff_id }
    }

    fn noise(seed: u64, bytes: usize) -> Self {
        Self::opaque(media_type::OCI_LAYER_GZIP, random_bytes(seed, bytes))
    }

    fn zstd(content: &[u8]) -> Self {
        Self { media_type: OCI_ZSTD, bytes: zstd(content), diff_id: Digest::of(content) }
    }
}

/// Stores every image that the release repositories of the [`World`](super::world::World) name, in
/// the projects of the source registry and of the release registry.
pub(super) async fn store(storage: &MemoryStorage) {
    let base = || Layer::noise(1, 200_000);
    let gpu = [base(), Layer::noise(2, BLOCK), Layer::noise(3, BLOCK + 1), Layer::noise(4, 1)];
    let web = [base(), Layer::noise(5, 2 * BLOCK), Layer::noise(6, 0)];
    let hotfix = [base(), Layer::noise(7, 3 * BLOCK - 1)];
    let tar = [
        tar("app/run", &random_bytes(12, 70_000)),
        tar("app/data", "a".repeat(300_000).as_bytes()),
    ];
    let own = Layer::opaque(OCI_NONDISTRIBUTABLE, random_bytes(13, 700));
    let mixed = [Layer::opaque(OCI_TAR, tar[0].clone()), Layer::zstd(&tar[1]), base(), own];
    let index = [("amd64", 8), ("arm64", 9), ("s390x", 10)];
    let index = index.map(|(architecture, seed)| {
        (architecture, image(architecture, &[base(), Layer::noise(seed, 3000)]))
    });
    for project in ["caicloud", "release"] {
        for (name, tag, layers) in [
            ("compass-plugins-gpu-manager", "v0.1.1", &gpu[..]),
            ("compass-plugins-mixed", "v1.0.0", &mixed),
            ("console-web", "v3.1.53", &web),
            ("console-web", "v2.7.0-20180605-p1", &hotfix),
        ] {
            put(storage, &format!("{project}/{name}"), Some(tag), &image("amd64", layers)).await;
        }
        let name = format!("{project}/compass-plugins-log-viewer");
        put_index(storage, &name, "v1.2.0", &index).await;
    }
    // Shares no layer: which image of an installation transfers a shared one depends on timing.
    let docker = docker_image(&[Layer::noise(11, 5000)]);
    put(storage, "library/coredns", Some("1.11.3"), &docker).await;
}

/// A manifest, and the blobs that it names.
struct Image {
    manifest: RawManifest,
    blobs: Vec<Vec<u8>>,
}

fn image(architecture: &str, layers: &[Layer]) -> Image {
    let types = layers.iter().map(|layer| layer.media_type).collect::<Vec<_>>();
    build((media_type::OCI_MANIFEST, media_type::OCI_CONFIG), architecture, layers, &types)
}

fn docker_image(layers: &[Layer]) -> Image {
    let types = vec![DOCKER_LAYER; layers.len()];
    build((DOCKER_MANIFEST, DOCKER_CONFIG), "amd64", layers, &types)
}

fn build(
    (manifest_type, config_type): (&str, &str),
    architecture: &str,
    layers: &[Layer],
    layer_types: &[&str],
) -> Image {
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/app/run"]},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>()},
    });
    let config = config.to_string().into_bytes();
    let described = layers.iter().zip(layer_types);
    let described = described.map(|(layer, media_type)| describe(media_type, &layer.bytes));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type,
        "config": describe(config_type, &config),
        "layers": described.collect::<Vec<_>>(),
    });
    let blobs = layers.iter().map(|layer| layer.bytes.clone());
    Image {
        manifest: RawManifest::new(manifest_type, manifest.to_string()),
        blobs: std::iter::once(config).chain(blobs).collect(),
    }
}

fn describe(media_type: &str, bytes: &[u8]) -> Value {
    serde_json::to_value(Descriptor::of(media_type, bytes)).unwrap()
}

async fn put(storage: &MemoryStorage, repository: &str, tag: Option<&str>, image: &Image) {
    let repository = repository.parse().unwrap();
    for blob in &image.blobs {
        storage.add_blob(&repository, blob.clone());
    }
    let tag = tag.map(|tag| tag.parse().unwrap());
    storage.put_manifest(&repository, &image.manifest, tag.as_ref()).await.unwrap();
}

async fn put_index(storage: &MemoryStorage, repository: &str, tag: &str, images: &[(&str, Image)]) {
    let mut entries = Vec::new();
    for (architecture, image) in images {
        put(storage, repository, None, image).await;
        let mut entry = serde_json::to_value(image.manifest.descriptor()).unwrap();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries});
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    put(storage, repository, Some(tag), &Image { manifest: index, blobs: Vec::new() }).await;
}

/// A tar archive of one file (POSIX ustar).
fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut field =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    for (at, text) in [(0, path), (100, "0000755\0"), (108, "0000000\0"), (116, "0000000\0")] {
        field(at, text);
    }
    field(124, &format!("{:011o}\0", content.len()));
    for (at, text) in [(136, "00000000000\0"), (148, "        "), (156, "0"), (257, "ustar\x0000")]
    {
        field(at, text);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = content.len().next_multiple_of(512) - content.len();
    [&header[..], content, &vec![0; padding + 1024]].concat()
}

/// A zstd frame of raw blocks (RFC 8878), which no version of a compressor can change.
fn zstd(content: &[u8]) -> Vec<u8> {
    const LONGEST_BLOCK: usize = 128 << 10;
    // A single segment with its content size in four bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    frame.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    let mut blocks = content.chunks(LONGEST_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let is_last = u32::from(blocks.peek().is_none());
        let header = u32::try_from(block.len()).unwrap() << 3 | is_last;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}
