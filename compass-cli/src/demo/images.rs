//! Images as developers push them: shared base layers, and two layers of their own.

use std::io::Write as _;
use std::sync::Arc;

use compass_registry::{Digest, ImageBuilder, ImageSink, Layer, Platform, Reference, media_type};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tokio::task::spawn_blocking;

use crate::error::{CliError, Result};

const MIB: usize = 1 << 20;

/// A layer: the seed of its content, and its uncompressed size in MiB.
#[derive(Debug, Clone, Copy)]
struct DemoLayer(u64, usize);

const BASE: [DemoLayer; 2] = [DemoLayer(1, 24), DemoLayer(2, 60)];

/// The base layers of all images.
pub(crate) struct Base(Vec<Layer>);

impl Base {
    pub(crate) async fn generate() -> Result<Self> {
        let mut layers = Vec::new();
        for layer in BASE {
            layers.push(spawn_blocking(move || layer.generate()).await??);
        }
        Ok(Self(layers))
    }
}

/// An image with two layers of its own, which are small or large.
pub(crate) struct DemoImage {
    /// The seed of its layers.
    pub(crate) number: u64,
    pub(crate) is_small: bool,
}

impl DemoImage {
    pub(crate) async fn push(
        &self,
        sink: Arc<dyn ImageSink>,
        reference: &Reference,
        base: &Base,
    ) -> Result<Digest> {
        let sizes = if self.is_small { [3, 1] } else { [50, 30] };
        let mut layers = base.0.clone();
        for (seed, size) in (10 * self.number + 10..).zip(sizes) {
            let layer = DemoLayer(seed, size);
            layers.push(spawn_blocking(move || layer.generate()).await??);
        }
        let builder = ImageBuilder::new(Platform::new("linux", "amd64"));
        let builder = layers.into_iter().fold(builder, ImageBuilder::layer);
        let image = builder.cmd(["/app/run"]).working_dir("/app").build();
        Ok(image.push(sink, &reference.into()).await?.digest)
    }
}

impl DemoLayer {
    /// A gzipped tar of files, three quarters of them incompressible.
    fn generate(self) -> Result<Layer> {
        let Self(seed, mebibytes) = self;
        let mut rng = Rng(seed);
        let mut tar = Vec::with_capacity((mebibytes + 1) * MIB);
        for number in 0..mebibytes {
            let content = if number % 4 == 3 { text(MIB, number) } else { rng.bytes(MIB) };
            let path = format!("app/layer-{seed}/file-{number:03}");
            tar.extend_from_slice(&tar_header(&path, content.len()));
            tar.extend_from_slice(&content);
        }
        tar.extend_from_slice(&[0; 1024]);
        let mut encoder: GzEncoder<Vec<u8>> =
            GzBuilder::new().write(Vec::new(), Compression::fast());
        let failed = |error: std::io::Error| CliError::external(&error);
        encoder.write_all(&tar).map_err(failed)?;
        let compressed = encoder.finish().map_err(failed)?;
        Ok(Layer::compressed(media_type::OCI_LAYER_GZIP, compressed, Digest::of(&tar)))
    }
}

fn text(bytes: usize, number: usize) -> Vec<u8> {
    let line =
        format!("{number}: the quick brown release engineer jumps over the lazy wiki page\n");
    line.bytes().cycle().take(bytes).collect()
}

/// A plain ustar header (POSIX.1-1988) of a file whose size is a multiple of the block size.
fn tar_header(path: &str, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut field = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, path);
    field(100, "0000755\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{size:011o}\0"));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Pseudo-random bytes (xorshift64*).
struct Rng(u64);

impl Rng {
    fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut random = Vec::with_capacity(bytes);
        while random.len() < bytes {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            random.extend_from_slice(&self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        random.truncate(bytes);
        random
    }
}
