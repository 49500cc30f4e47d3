//! Content of files in archives after decompression.

use compass_registry::{Algorithm, Digest};

use super::compression::Compression;
use super::decompress::{Decoded, decode};
use super::hashing_reader::{Digests, HashingReader};
use super::limits::Limits;
use super::probe::NestedContent;

/// Number of decompressed bytes after which content without a tar header is no longer read. The
/// smallest layer is an empty tar archive: 1 KiB of zeros.
pub(super) const MAX_NON_TAR: u64 = 1 << 20;

/// The content of a file after decompression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryContent {
    Plain,
    Compressed {
        compression: Compression,
        digest: Digest,
        size: u64,
    },
    /// Compressed, but not a tar archive.
    NotATar,
    /// Decompression failed for this reason.
    Unreadable(String),
    /// Compressed with a format that is not supported.
    Unsupported(&'static str),
}

/// Reads a file of an archive to its end.
///
/// Returns its content after decompression, and the images or archives that a nested archive
/// contains.
pub(super) async fn read_content(
    raw: &HashingReader,
    limits: &Limits,
) -> (EntryContent, NestedContent) {
    match decode(raw.reader(), limits).await {
        Err(error) => (EntryContent::Unreadable(error.to_string()), NestedContent::Nothing),
        Ok(Decoded::Unsupported(name)) => (EntryContent::Unsupported(name), NestedContent::Nothing),
        // The raw bytes are hashed by the caller.
        Ok(Decoded::Undecodable(_)) => (EntryContent::Plain, NestedContent::Nothing),
        Ok(Decoded::Plain(reader)) => {
            let hashed = HashingReader::new(reader);
            hashed.start_probe();
            // Read errors of the outer archive are reported when the entry is skipped.
            let _ = hashed.skip_rest().await;
            (EntryContent::Plain, hashed.take_probe().inside())
        }
        Ok(Decoded::Compressed(compression, reader)) => {
            let hashed = HashingReader::new(reader);
            hashed.start_probe();
            let content = read_compressed(&hashed, compression).await;
            (content, hashed.take_probe().inside())
        }
    }
}

/// Reads compressed content to its end, which verifies its checksum.
async fn read_compressed(hashed: &HashingReader, compression: Compression) -> EntryContent {
    hashed.start_hashing(Algorithm::Sha256, 0);
    match finish_compressed(hashed, compression, MAX_NON_TAR).await {
        EntryContent::NotATar if hashed.is_tar() => {
            finish_compressed(hashed, compression, u64::MAX).await
        }
        content => content,
    }
}

/// As [`read_compressed`], for a reader that is hashing already, up to `limit` bytes.
pub(super) async fn finish_compressed(
    hashed: &HashingReader,
    compression: Compression,
    limit: u64,
) -> EntryContent {
    match hashed.skip_up_to(limit).await {
        Ok(true) => {
            let Digests { sha256: digest, size, .. } = hashed.finish();
            EntryContent::Compressed { compression, digest, size }
        }
        Ok(false) => EntryContent::NotATar,
        Err(error) => EntryContent::Unreadable(error.to_string()),
    }
}
