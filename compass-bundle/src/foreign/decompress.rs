//! Decompression by detected format.

use std::io::{Cursor, Error};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt as _;
use tokio_util::io::InspectReader;

use super::compression::{Compression, Match};
use super::decompressor::{Decompressor, InputCounter};
use super::limits::{DecoderMemory, Limits};
use super::reader::Reader;

/// Content after all compressions are removed.
pub(crate) enum Decompressed {
    Tar(Reader),
    /// Something other than a tar archive, or an unsupported compression.
    Other {
        /// The unsupported compression format, if that is the reason.
        unsupported: Option<&'static str>,
    },
}

impl Decompressed {
    /// Returns the tar archive.
    ///
    /// # Errors
    /// [`NotABundle`](crate::Error::NotABundle) for other files; `name` names the file.
    pub(crate) fn into_tar(self, name: &str) -> Result<Reader, crate::Error> {
        match self {
            Self::Tar(tar) => Ok(tar),
            Self::Other { unsupported: None } => {
                Err(crate::Error::not_a_bundle(name, "it is not a tar archive"))
            }
            Self::Other { unsupported: Some(format) } => {
                let reason = format!("it {}", unsupported_reason(format));
                Err(crate::Error::not_a_bundle(name, reason))
            }
        }
    }
}

/// Reason and advice for an unsupported compression format.
pub(super) fn unsupported_reason(format: &str) -> String {
    format!("is compressed with {format}, which is not supported: compress it with gzip or zstd")
}

/// Content after the outermost compression is removed.
pub(crate) enum Decoded {
    Plain(Reader),
    Compressed(Compression, Reader),
    Unsupported(&'static str),
    /// The content starts like this compression, but no compressor writes such a start, and it cannot
    /// be decompressed. It was consumed.
    Undecodable(Compression),
}

/// Maximum nesting of compressions. Some scripts compress the output of `docker save | gzip` again.
const MAX_COMPRESSIONS: usize = 2;

/// Size of a tar header in bytes.
const HEADER_SIZE: u64 = 512;

/// Removes the outermost compression.
pub(crate) async fn decode(reader: Reader, limits: &Limits) -> std::io::Result<Decoded> {
    let input = InputCounter::default();
    decode_counted(count_input(reader, &input), &input, limits).await
}

/// As [`decode`]. `input` counts the bytes of the outermost reader, which the caller has set up.
async fn decode_counted(
    reader: Reader,
    input: &InputCounter,
    limits: &Limits,
) -> std::io::Result<Decoded> {
    let (head, whole) = peek_header(reader).await?;
    let (compression, is_sure) = match Compression::sniff(&head) {
        _ if is_tar(&head) => return Ok(Decoded::Plain(whole)),
        Match::No => return Ok(Decoded::Plain(whole)),
        Match::Unsupported(name) => return Ok(Decoded::Unsupported(name)),
        Match::Maybe(compression) => (compression, false),
        Match::Yes(compression) => (compression, true),
    };
    let inner = Decompressor::new(compression, whole, Arc::clone(input), limits.clone())?;
    if is_sure {
        return Ok(Decoded::Compressed(compression, Box::pin(inner)));
    }
    Ok(match peek_header(Box::pin(inner)).await {
        Ok((_, reader)) => Decoded::Compressed(compression, reader),
        Err(_) => Decoded::Undecodable(compression),
    })
}

/// Removes up to two compressions.
///
/// # Errors
/// An I/O error if content has a valid compression header but cannot be decompressed, or if it is
/// compressed more than twice.
pub(crate) async fn decompress(reader: Reader, limits: &Limits) -> std::io::Result<Decompressed> {
    let input = InputCounter::default();
    let mut reader = count_input(reader, &input);
    for _ in 0..=MAX_COMPRESSIONS {
        reader = match decode_counted(reader, &input, limits).await? {
            Decoded::Unsupported(name) => {
                return Ok(Decompressed::Other { unsupported: Some(name) });
            }
            Decoded::Compressed(_, reader) => reader,
            Decoded::Undecodable(_) => return Ok(Decompressed::Other { unsupported: None }),
            Decoded::Plain(reader) => {
                let (head, reader) = peek_header(reader).await?;
                return Ok(match is_tar(&head) {
                    true => Decompressed::Tar(reader),
                    false => Decompressed::Other { unsupported: None },
                });
            }
        };
    }
    Err(Error::other("it is compressed more than twice"))
}

/// The error for content that only starts like a compressed file.
pub(crate) fn undecodable(compression: Compression) -> Error {
    Error::other(format!("it starts like {compression}, but cannot be decompressed"))
}

/// Decompresses zstd. The decoder shares `memory` with others.
pub(crate) fn decode_zstd(reader: Reader, memory: DecoderMemory) -> std::io::Result<Reader> {
    let (input, limits) = (InputCounter::default(), Limits::with_memory(memory));
    Ok(Box::pin(Decompressor::new(Compression::Zstd, reader, input, limits)?))
}

fn count_input(reader: Reader, input: &InputCounter) -> Reader {
    let input = Arc::clone(input);
    Box::pin(InspectReader::new(reader, move |bytes| {
        input.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }))
}

/// Reads the first bytes of a reader; returns them, and a reader that starts with them.
async fn peek_header(mut reader: Reader) -> std::io::Result<(Vec<u8>, Reader)> {
    let mut head = Vec::new();
    (&mut reader).take(HEADER_SIZE).read_to_end(&mut head).await?;
    let whole = Box::pin(Cursor::new(head.clone()).chain(reader));
    Ok((head, whole))
}

/// Whether bytes are a tar header with a valid checksum.
pub(super) fn is_tar(head: &[u8]) -> bool {
    let Ok(head) = <&[u8; 512]>::try_from(head) else { return false };
    let field = String::from_utf8_lossy(&head[148..156]).into_owned();
    let field = field.trim_matches(['\0', ' ']);
    let Ok(stored) = u32::from_str_radix(field, 8) else { return false };
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    // The checksum of a block of zeros matches as well.
    sum == stored && head[0] != 0
}
