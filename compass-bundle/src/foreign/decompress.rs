//! Takes compression off, as the content says.

use std::io::{Cursor, Error, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::{InspectReader, StreamReader};

use super::compression::{Compression, Match};
use super::decompressor::{BUFFER_SIZE, Decompressor, InputCounter};
use super::limits::{DecoderMemory, Limits};
use crate::read::BundleSource;

/// Bytes on their way.
pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// The content without its compression.
pub(crate) enum Decompressed {
    Tar(Reader),
    /// Something else, or nothing that can be read.
    Other {
        /// The format that it is compressed with and that is not read here.
        unsupported: Option<&'static str>,
    },
}

/// A file without its outermost compression.
pub(crate) enum Decoded {
    Plain(Reader),
    Compressed(Compression, Reader),
    Unsupported(&'static str),
}

/// Bytes that are asked for at once from far away.
const REMOTE_READ_SIZE: u64 = 4 << 20;

/// Old scripts compress twice: `docker save | gzip` into a file that is gzipped again.
const MAX_COMPRESSIONS: usize = 2;

/// A tar header is as long.
const HEADER_SIZE: u64 = 512;

/// The bytes of a file in order.
pub(crate) fn reader_of(source: Arc<dyn BundleSource>) -> Reader {
    Box::pin(StreamReader::new(chunks_of(source).boxed()))
}

fn chunks_of(source: Arc<dyn BundleSource>) -> impl Stream<Item = Result<Bytes>> + Send {
    let step = if source.local().is_some() { BUFFER_SIZE as u64 } else { REMOTE_READ_SIZE };
    stream::try_unfold((source, 0), move |(source, position)| async move {
        let next = source.size().min(position + step);
        if position == next {
            return Ok(None);
        }
        let bytes = source.read(position..next).await.map_err(Error::other)?;
        Ok::<_, Error>(Some((bytes, (source, next))))
    })
}

/// Takes the outermost compression off. What only begins like gzip is something else.
pub(crate) async fn decode(reader: Reader, limits: &Limits) -> Result<Decoded> {
    let input = InputCounter::default();
    decode_counted(count_input(reader, &input), &input, limits).await
}

/// As [`decode`], of a reader whose bytes are count_input where they come from.
async fn decode_counted(reader: Reader, input: &InputCounter, limits: &Limits) -> Result<Decoded> {
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
        // Its own bytes are hashed where they come from, and nothing else is asked of it.
        Err(_) => Decoded::Plain(Box::pin(tokio::io::empty())),
    })
}

/// Takes compression off, once or twice. What has a header as compressors write it and cannot be
/// decompressed is damaged.
pub(crate) async fn decompress(reader: Reader, limits: &Limits) -> Result<Decompressed> {
    let input = InputCounter::default();
    let mut reader = count_input(reader, &input);
    for _ in 0..=MAX_COMPRESSIONS {
        reader = match decode_counted(reader, &input, limits).await? {
            Decoded::Unsupported(name) => {
                return Ok(Decompressed::Other { unsupported: Some(name) });
            }
            Decoded::Compressed(_, reader) => reader,
            Decoded::Plain(reader) => {
                let (head, reader) = peek_header(reader).await?;
                return Ok(match is_tar(&head) {
                    true => Decompressed::Tar(reader),
                    false => Decompressed::Other { unsupported: None },
                });
            }
        };
    }
    Err(Error::other("it is compressed again and again"))
}

/// The content of zstd, whose decoder shares memory with others.
pub(crate) fn decode_zstd(reader: Reader, memory: DecoderMemory) -> Result<Reader> {
    let (input, limits) = (InputCounter::default(), Limits::with_memory(memory));
    Ok(Box::pin(Decompressor::new(Compression::Zstd, reader, input, limits)?))
}

fn count_input(reader: Reader, input: &InputCounter) -> Reader {
    let input = Arc::clone(input);
    Box::pin(InspectReader::new(reader, move |bytes| {
        input.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }))
}

/// The first bytes of a reader, and a reader of all of them.
async fn peek_header(mut reader: Reader) -> Result<(Vec<u8>, Reader)> {
    let mut head = Vec::new();
    (&mut reader).take(HEADER_SIZE).read_to_end(&mut head).await?;
    let whole = Box::pin(Cursor::new(head.clone()).chain(reader));
    Ok((head, whole))
}

/// Whether bytes begin with a tar header: its checksum is right.
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
    // Of a block of zeros it is right as well.
    sum == stored && head[0] != 0
}
