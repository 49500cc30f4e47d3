//! Images as developers push them: shared base layers, and two layers of their own.

use std::io::Write as _;

use bytes::Bytes;
use compass_registry::{
    Descriptor, Digest, Error, ImageSink, RawManifest, Reference, VerifiedBlob, media_type,
};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::error::{CliError, Result};

const MIB: usize = 1 << 20;

/// A layer: the seed of its content, and its uncompressed size in MiB.
#[derive(Debug, Clone, Copy)]
struct Layer(u64, usize);

const BASE: [Layer; 2] = [Layer(1, 24), Layer(2, 60)];

/// The base layers of all images.
pub(crate) struct Base(Vec<(Bytes, Digest)>);

impl Base {
    pub(crate) async fn generate() -> Result<Self> {
        let mut layers = Vec::new();
        for layer in BASE {
            layers.push(spawn_blocking(move || layer.generate()).await??);
        }
        Ok(Self(layers))
    }
}

/// Pushes an image. Its number is the seed of its own layers, which are smaller if it is small.
pub(crate) async fn push(
    sink: &dyn ImageSink,
    reference: &Reference,
    base: &Base,
    (number, is_small): (u64, bool),
) -> Result<Digest> {
    let sizes = if is_small { [3, 1] } else { [50, 30] };
    let mut contents = base.0.clone();
    for layer in [Layer(10 * number + 10, sizes[0]), Layer(10 * number + 11, sizes[1])] {
        contents.push(spawn_blocking(move || layer.generate()).await??);
    }
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for (compressed, diff_id) in contents {
        layers.push(put(sink, reference, media_type::OCI_LAYER_GZIP, compressed).await?);
        diff_ids.push(diff_id);
    }
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/app/run"], "WorkingDir": "/app"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Bytes::from(config.to_string());
    let config = put(sink, reference, media_type::OCI_CONFIG, config).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": layers,
    });
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    sink.put_manifest(reference.repository(), &manifest, reference.tag()).await?;
    Ok(manifest.digest())
}

async fn put(
    sink: &dyn ImageSink,
    reference: &Reference,
    media_type: &str,
    bytes: Bytes,
) -> Result<Descriptor, Error> {
    let descriptor = Descriptor::of(media_type, &bytes);
    if !sink.has_blob(reference.repository(), &descriptor).await? {
        let bytes = stream::once(async { Ok(bytes) }).boxed();
        let blob = VerifiedBlob::new(reference.to_string(), descriptor.clone(), bytes);
        sink.put_blob(reference.repository(), blob).await?;
    }
    Ok(descriptor)
}

impl Layer {
    /// A gzipped tar of files, three quarters of them incompressible, and the digest of the tar.
    fn generate(self) -> Result<(Bytes, Digest)> {
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
        Ok((encoder.finish().map_err(failed)?.into(), Digest::of(&tar)))
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
