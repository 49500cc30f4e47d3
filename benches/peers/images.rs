//! The images that everybody works on.

use std::io::Write as _;
use std::sync::Arc;

use compass_benches::Failure;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use compass_registry::{
    CopyOptions, Descriptor, Digest, Hasher, ImageSink as _, RawManifest, Repository, Tag,
    TagOrDigest, copy, media_type,
};
use serde_json::json;

/// The tag of all images.
pub(crate) const TAG: &str = "v0.1.0";

/// The image that packages are made of: 950 MB in three layers, 3.8 GB unpacked.
pub(crate) const LARGE: &str = "compass-plugins-large";

/// An image of one layer of 225 MB.
pub(crate) const MIDDLE: &str = "middle";

/// Images that share a base of 8 MB and have two layers of 0.2 to 1.8 MB each.
pub(crate) const SMALL: u64 = 40;

/// A part of a file: so much of it is noise, the rest compresses to almost nothing.
const PART: usize = 256 << 10;

/// A layer as registries have it.
#[derive(Clone)]
struct Layer {
    compressed: Vec<u8>,
    unpacked: Digest,
}

/// Pushes what a registry does not have yet.
pub(crate) async fn push_all(host: &str) -> Result<(), Failure> {
    let client = Client::new(host, ClientOptions::default())?;
    let large = || (1..=3).map(|seed| layer(seed, 950_000_000 / 3, 4)).collect();
    push(&client, LARGE, large).await?;
    push(&client, MIDDLE, || Ok(vec![layer(4, 225_000_000, 2)?])).await?;
    let base = layer(5, 8_000_000, 2)?;
    for number in 0..SMALL {
        let size = |step: u64| 200_000 + (number * step % SMALL) * 1_600_000 / (SMALL - 1);
        let own = |seed: u64, size: u64| layer(100 + seed, size, 2);
        let layers =
            || Ok(vec![base.clone(), own(2 * number, size(7))?, own(2 * number + 1, size(13))?]);
        push(&client, &small(number), layers).await?;
    }
    Ok(())
}

/// The name of one of the small images.
pub(crate) fn small(number: u64) -> String {
    format!("app-{number}")
}

/// A tar archive with one file, which takes so many bytes compressed and so many times as many
/// unpacked.
fn layer(seed: u64, compressed: u64, times: usize) -> Result<Layer, Failure> {
    let parts = usize::try_from(compressed)?.div_ceil(PART);
    let zeros = vec![0; PART * (times - 1)];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut hasher = Hasher::default();
    let mut write = |bytes: &[u8]| {
        hasher.update(bytes);
        gzip.write_all(bytes)
    };
    write(&header(parts * PART * times))?;
    for part in 0..parts as u64 {
        write(&random_bytes(seed << 32 | part, PART))?;
        write(&zeros)?;
    }
    write(&[0; 1024])?;
    Ok(Layer { unpacked: hasher.finish(), compressed: gzip.finish()? })
}

/// A ustar header of the file `data`.
fn header(size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    header[..4].copy_from_slice(b"data");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

async fn push(
    client: &Client,
    name: &str,
    layers: impl FnOnce() -> Result<Vec<Layer>, Failure>,
) -> Result<(), Failure> {
    let (name, tag): (Repository, Tag) = (format!("release/{name}").parse()?, TAG.parse()?);
    let locator = TagOrDigest::from(tag.clone());
    if client.manifest_digest(&name, &locator).await?.is_some() {
        return Ok(());
    }
    let layers = layers()?;
    let unpacked: Vec<_> = layers.iter().map(|layer| layer.unpacked).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": unpacked},
    });
    let config = config.to_string().into_bytes();
    let described = |layer: &Layer| Descriptor::of(media_type::OCI_LAYER_GZIP, &layer.compressed);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &config),
        "layers": layers.iter().map(described).collect::<Vec<_>>(),
    });
    let storage = MemoryStorage::default();
    storage.add_blob(&name, config);
    for layer in layers {
        storage.add_blob(&name, layer.compressed);
    }
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    storage.put_manifest(&name, &manifest, Some(&tag)).await?;
    let options = CopyOptions::default();
    copy(Arc::new(storage), (&name, &locator), client, (&name, Some(&tag)), &options).await?;
    Ok(())
}
