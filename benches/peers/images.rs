//! The images that all tools copy.

use std::io::Write as _;
use std::sync::Arc;

use compass_benches::BenchError;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::testing::random_bytes;
use compass_registry::{
    Destination, Hasher, ImageBuilder, ImageSink as _, Layer, Platform, Repository, Tag, media_type,
};

/// The tag of all images.
pub(crate) const TAG: &str = "v0.1.0";

/// An image of 950 MB in three layers, 3.8 GB unpacked.
pub(crate) const LARGE: &str = "compass-plugins-large";

/// An image of one layer of 225 MB.
pub(crate) const MIDDLE: &str = "middle";

/// The number of small images.
/// They share a base of 8 MB, and have two layers of 0.2 to 1.8 MB each.
pub(crate) const SMALL: u64 = 40;

/// The number of images of a product, of the same kind as the small ones, which are among them.
pub(crate) const PRODUCT: u64 = 180;

/// The size of the incompressible parts of a file, in bytes.
/// The rest compresses to almost nothing.
const RANDOM_PART: usize = 256 << 10;

/// The images that a comparison needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ImageSet {
    Large,
    Middle,
    Small,
    Product,
}

/// Pushes the images of a set that a registry does not have.
pub(crate) async fn push(host: &str, images: ImageSet) -> Result<(), BenchError> {
    let client = Client::new(host, ClientOptions::default())?;
    match images {
        ImageSet::Large => {
            let layers = || (1..=3).map(|seed| layer(seed, 950_000_000 / 3, 4)).collect();
            push_image(&client, LARGE, layers).await
        }
        ImageSet::Middle => {
            push_image(&client, MIDDLE, || Ok(vec![layer(4, 225_000_000, 2)?])).await
        }
        ImageSet::Small => push_small(&client, SMALL).await,
        ImageSet::Product => push_small(&client, PRODUCT).await,
    }
}

async fn push_small(client: &Client, count: u64) -> Result<(), BenchError> {
    let base = layer(5, 8_000_000, 2)?;
    for number in 0..count {
        let size = |step: u64| 200_000 + (number * step % SMALL) * 1_600_000 / (SMALL - 1);
        let own = |seed: u64, size: u64| layer(100 + seed, size, 2);
        let layers =
            || Ok(vec![base.clone(), own(2 * number, size(7))?, own(2 * number + 1, size(13))?]);
        push_image(client, &small(number), layers).await?;
    }
    Ok(())
}

/// The name of a small image.
pub(crate) fn small(number: u64) -> String {
    format!("app-{number}")
}

/// Creates a gzip-compressed tar archive with one file.
/// It has about `compressed` bytes, and `times` as many decompressed.
fn layer(seed: u64, compressed: u64, times: usize) -> Result<Layer, BenchError> {
    let parts = usize::try_from(compressed)?.div_ceil(RANDOM_PART);
    let zeros = vec![0; RANDOM_PART * (times - 1)];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut hasher = Hasher::default();
    let mut write = |bytes: &[u8]| {
        hasher.update(bytes);
        gzip.write_all(bytes)
    };
    write(&header(parts * RANDOM_PART * times))?;
    for part in 0..parts as u64 {
        write(&random_bytes(seed << 32 | part, RANDOM_PART))?;
        write(&zeros)?;
    }
    write(&[0; 1024])?;
    Ok(Layer::compressed(media_type::OCI_LAYER_GZIP, gzip.finish()?, hasher.finish()))
}

/// The ustar header of a file `data`.
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

async fn push_image(
    client: &Client,
    name: &str,
    layers: impl FnOnce() -> Result<Vec<Layer>, BenchError>,
) -> Result<(), BenchError> {
    let (name, tag): (Repository, Tag) = (format!("release/{name}").parse()?, TAG.parse()?);
    if client.manifest_digest(&name, &tag.clone().into()).await?.is_some() {
        return Ok(());
    }
    let builder = ImageBuilder::new(Platform::new("linux", "amd64"));
    let image = layers()?.into_iter().fold(builder, ImageBuilder::layer).build();
    image.push(Arc::new(client.clone()), &Destination::new(name, tag)).await?;
    Ok(())
}
