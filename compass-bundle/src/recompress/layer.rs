//! Recompression of one layer.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use compass_registry::storage::Storage;
use compass_registry::{
    Descriptor, Digest, Error as RegistryError, Hasher, ImageSource, Manifest, Progress,
    RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob, media_type, open_blob,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::TryStreamExt as _;
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncReadExt as _, BufReader};
use tokio_util::io::StreamReader;

use super::RecompressedLayer;
use crate::Error;
use crate::foreign::decompress::{Decoded, decode, decode_zstd, undecodable};
use crate::foreign::limits::{DecoderMemory, Limits};
use crate::foreign::reader::Reader;

/// Bytes per read and per encoder call.
const CHUNK: usize = 128 << 10;

/// The current compression of a layer that is to be recompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerCompression {
    Plain,
    Zstd,
}

impl LayerCompression {
    /// The compression by media type. `None` for layers that are gzipped, or do not contain files.
    pub(super) fn of(layer: &Descriptor) -> Option<Self> {
        Some(Self::named(&layer.media_type)?.0)
    }

    /// The compression that a media type declares, and the media type of the gzipped layer.
    /// Docker's suffix is `.gzip`, that of OCI is `+gzip`.
    fn named(media_type: &str) -> Option<(Self, String)> {
        let (base, mark) = match media_type {
            _ if media_type.starts_with("application/vnd.oci.image.layer.v1.tar") => {
                ("application/vnd.oci.image.layer.v1.tar", '+')
            }
            _ if media_type.starts_with("application/vnd.docker.image.rootfs.diff.tar") => {
                ("application/vnd.docker.image.rootfs.diff.tar", '.')
            }
            _ => return None,
        };
        let compression = match media_type.strip_prefix(base)? {
            "" => Self::Plain,
            compressed if compressed.strip_prefix(mark) == Some("zstd") => Self::Zstd,
            _ => return None,
        };
        Some((compression, format!("{base}{mark}gzip")))
    }
}

/// The repository in the staging storage.
pub(super) fn repository() -> Result<Repository, RegistryError> {
    "compass/recompressed".parse()
}

/// A task that recompresses one layer.
pub(super) struct Recompression {
    pub(super) source: Arc<dyn ImageSource>,
    pub(super) repository: Repository,
    pub(super) layer: Descriptor,
    pub(super) diff_ids: BTreeSet<String>,
    pub(super) memory: DecoderMemory,
    pub(super) staged: Arc<dyn Storage>,
    pub(super) progress: Arc<dyn Progress>,
}

impl Recompression {
    pub(super) async fn run(self) -> Result<RecompressedLayer, Error> {
        if let Some(after) = self.cached().await? {
            self.progress.advance(self.layer.size);
            return Ok(RecompressedLayer { before: self.layer, after });
        }
        let Some((compression, gzipped)) = LayerCompression::named(&self.layer.media_type) else {
            return Ok(RecompressedLayer { after: self.layer.clone(), before: self.layer });
        };
        let blob = open_blob(Arc::clone(&self.source), &self.repository, &self.layer);
        let compressed = StreamReader::new(self.counted(blob).map_err(std::io::Error::other));
        let mut decompressed = self.decompress(compression, Box::pin(compressed)).await?;
        let mut upload = self.staged.begin_upload(&repository()?).await?;
        let (mut hasher, mut content) = (Hasher::default(), Hasher::default());
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut chunk = Vec::with_capacity(CHUNK);
        // The output must not depend on the chunks of the input: encode chunks of one size, and
        // never flush.
        while read_chunk(&mut decompressed, &mut chunk).await.map_err(|error| self.failed(error))? {
            content.update(&chunk);
            gzip.write_all(&chunk).map_err(|error| self.failed(error))?;
            let compressed = std::mem::take(gzip.get_mut());
            hasher.update(&compressed);
            upload.append(compressed.into()).await?;
        }
        let diff_id = content.finish();
        self.require_diff_id(diff_id)?;
        let rest = gzip.finish().map_err(|error| self.failed(error))?;
        hasher.update(&rest);
        upload.append(rest.into()).await?;
        let (digest, size) = (hasher.finish(), upload.offset());
        upload.commit(&digest).await?;
        let after = Descriptor { media_type: gzipped, digest, size, platform: None };
        self.store(&after, diff_id).await?;
        Ok(RecompressedLayer { before: self.layer, after })
    }

    /// Compares the diff ID with those in the configurations of the layer's images.
    fn require_diff_id(&self, own: Digest) -> Result<(), Error> {
        match self.diff_ids.iter().find(|expected| **expected != own.to_string()) {
            Some(expected) => {
                let expected: String = expected.chars().take(140).collect();
                let reason = format!(
                    "it has the diff ID {own}, but the configuration of its image lists `{}`",
                    expected.escape_debug()
                );
                Err(self.failed(std::io::Error::other(reason)))
            }
            None => Ok(()),
        }
    }

    fn counted(
        &self,
        blob: VerifiedBlob,
    ) -> impl futures_util::Stream<Item = Result<bytes::Bytes, RegistryError>> + Send + use<> {
        let progress = Arc::clone(&self.progress);
        blob.inspect_ok(move |chunk| progress.advance(chunk.len() as u64))
    }

    async fn decompress(
        &self,
        compression: LayerCompression,
        compressed: Reader,
    ) -> Result<Pin<Box<dyn AsyncBufRead + Send>>, Error> {
        let decompressed = match compression {
            LayerCompression::Zstd => decode_zstd(compressed, self.memory.clone()),
            LayerCompression::Plain => match decode(compressed, &Limits::default()).await {
                Ok(Decoded::Plain(reader)) => Ok(reader),
                Ok(Decoded::Compressed(compression, _)) => Err(media_type_mismatch(compression)),
                Ok(Decoded::Unsupported(name)) => Err(media_type_mismatch(name)),
                Ok(Decoded::Undecodable(compression)) => Err(undecodable(compression)),
                Err(error) => Err(error),
            },
        };
        let decompressed = decompressed.map_err(|error| self.failed(error))?;
        Ok(Box::pin(BufReader::with_capacity(CHUNK, decompressed)))
    }

    /// Returns the error of the source, or describes invalid content.
    fn failed(&self, error: std::io::Error) -> Error {
        let what = format!("{}@{}", self.repository, self.layer.digest);
        let error = match error.downcast::<RegistryError>() {
            Ok(error) => error,
            Err(error) => RegistryError::InvalidContent { what, reason: error.to_string() },
        };
        error.into()
    }

    /// The tag that maps the original layer to the recompressed one.
    fn tag(&self) -> Result<Tag, Error> {
        Ok(self.layer.digest.to_string().replace(':', "-").parse()?)
    }

    async fn cached(&self) -> Result<Option<Descriptor>, Error> {
        let stored =
            Storage::manifest(&*self.staged, &repository()?, &TagOrDigest::Tag(self.tag()?))
                .await?;
        let Some(Ok(Manifest::Index(layers))) = stored.map(|note| note.parse()) else {
            return Ok(None);
        };
        let [after, content] = &layers[..] else { return Ok(None) };
        let size = self.staged.blob_size(&repository()?, &after.digest).await?;
        if size != Some(after.size) {
            return Ok(None);
        }
        self.require_diff_id(content.digest)?;
        Ok(Some(after.clone()))
    }

    /// Stores the digest and diff ID of the recompressed layer for later runs.
    async fn store(&self, after: &Descriptor, diff_id: Digest) -> Result<(), Error> {
        let content = json!({"mediaType": media_type::OCI_LAYER, "digest": diff_id, "size": 0});
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [after, content],
        });
        let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
        Ok(self.staged.put_manifest(&repository()?, &index, Some(&self.tag()?)).await?)
    }
}

fn media_type_mismatch(compression: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(format!(
        "it is {compression}, but its media type declares another compression"
    ))
}

/// Reads a full chunk, or the rest. Returns false at the end.
async fn read_chunk(
    reader: &mut (dyn AsyncBufRead + Send + Unpin),
    chunk: &mut Vec<u8>,
) -> std::io::Result<bool> {
    chunk.clear();
    reader.take(CHUNK as u64).read_to_end(chunk).await?;
    Ok(!chunk.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_media_type_returns_compression() {
        for (media_type, expected) in [
            (media_type::OCI_LAYER, Some((LayerCompression::Plain, media_type::OCI_LAYER_GZIP))),
            (
                media_type::OCI_LAYER_ZSTD,
                Some((LayerCompression::Zstd, media_type::OCI_LAYER_GZIP)),
            ),
            (media_type::OCI_LAYER_GZIP, None),
            (
                "application/vnd.docker.image.rootfs.diff.tar",
                Some((
                    LayerCompression::Plain,
                    "application/vnd.docker.image.rootfs.diff.tar.gzip",
                )),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.zstd",
                Some((LayerCompression::Zstd, "application/vnd.docker.image.rootfs.diff.tar.gzip")),
            ),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", None),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", None),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
            ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", None),
            ("application/json", None),
        ] {
            let expected = expected.map(|(compression, gzipped)| (compression, gzipped.to_owned()));
            assert_eq!(LayerCompression::named(media_type), expected, "{media_type}");
        }
    }
}
