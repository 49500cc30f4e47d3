//! Decompression of all members of a file, with verification of the end.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::GzipDecoder;
use flate2::DecompressError;
use tokio::io::{AsyncBufRead as _, AsyncRead, BufReader, ReadBuf};

use super::compression::Compression;
use super::decoder::Decoder;
use super::limits::{InflateLimit, Limits, TooLarge};
use super::padding::Padding;
use super::reader::Reader;

/// Buffer size in front of a decoder, in bytes.
const BUFFER_SIZE: usize = 128 << 10;

/// Bytes that were read from the outermost compressed file.
pub(super) type InputCounter = Arc<AtomicU64>;

/// Decompresses all members, frames or streams of a file.
///
/// Reading ends without an error only if every checksum matches and only zeros follow, which `gzip`
/// accepts as well.
pub(super) struct Decompressor {
    compression: Compression,
    member: Member,
    between_members: bool,
    padding: Padding,
    /// The first error. The decoders report the end of the file if they are polled after an error.
    failed: Option<(ErrorKind, String)>,
    /// Bytes that were decompressed.
    inflated: u64,
    input: InputCounter,
    limit: InflateLimit,
}

type Input = BufReader<Reader>;

enum Member {
    Gzip(GzipDecoder<Input>),
    Other(Decoder),
}

/// Maximum expansion of deflate (about 1032), and the size from which it is enforced. A higher
/// ratio means gzip within gzip, which could keep the reader busy for days.
const MAX_DEFLATE_RATIO: u64 = 1100;
const RATIO_CHECKED_ABOVE: u64 = 1 << 30;

impl Decompressor {
    /// `input` counts the bytes that `reader` consumes.
    pub(super) fn new(
        compression: Compression,
        reader: Reader,
        input: InputCounter,
        limits: Limits,
    ) -> Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_SIZE, reader);
        let member = match compression {
            Compression::Gzip => Member::Gzip(GzipDecoder::new(reader)),
            Compression::Zstd => Member::Other(Decoder::zstd(reader, limits.memory)?),
            Compression::Xz => Member::Other(Decoder::xz(reader, limits.memory)?),
            Compression::Bzip2 => Member::Other(Decoder::bzip2(reader, limits.memory)),
        };
        Ok(Self {
            compression,
            member,
            between_members: false,
            padding: Padding::default(),
            failed: None,
            inflated: 0,
            input,
            limit: limits.inflate,
        })
    }

    /// Counts decompressed bytes and enforces the limits.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.inflated += bytes as u64;
        let most = self.input.load(Ordering::Relaxed).saturating_mul(MAX_DEFLATE_RATIO);
        if self.compression == Compression::Gzip
            && self.inflated > most.saturating_add(RATIO_CHECKED_ABOVE)
        {
            return Err(Error::other("its decompressed size exceeds the maximum ratio of gzip"));
        }
        self.limit.count(bytes as u64)
    }

    fn poll_members(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        loop {
            if !self.between_members {
                ready!(self.member.poll_read(cx, buffer))?;
                if buffer.filled().len() > before || buffer.remaining() == 0 {
                    return Poll::Ready(Ok(()));
                }
                self.between_members = true;
            }
            // Only the .xz format allows zeros between streams.
            let may_continue = self.padding.is_none() || self.compression == Compression::Xz;
            let mut rest = Pin::new(self.member.input());
            match ready!(rest.as_mut().poll_fill_buf(cx))? {
                [] => return Poll::Ready(Ok(())),
                [first, ..] if may_continue && self.compression.may_start_member(*first) => {
                    self.member.restart()?;
                    self.between_members = false;
                }
                bytes => {
                    // Consume zeros separately from the bytes that follow them.
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    let size = if zeros == 0 { bytes.len() } else { zeros };
                    self.padding.take(&bytes[..size])?;
                    rest.consume(size);
                }
            }
        }
    }
}

impl Member {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self {
            Self::Gzip(decoder) => Pin::new(decoder).poll_read(cx, buffer),
            Self::Other(decoder) => decoder.poll_read(cx, buffer),
        }
    }

    fn input(&mut self) -> &mut Input {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Other(decoder) => &mut decoder.input,
        }
    }

    /// Starts the next member, frame or stream.
    fn restart(&mut self) -> Result<()> {
        match self {
            Self::Gzip(decoder) => {
                let nothing: Reader = Box::pin(tokio::io::empty());
                let nothing = BufReader::with_capacity(1, nothing);
                let rest = std::mem::replace(decoder.get_mut(), nothing);
                *decoder = GzipDecoder::new(rest);
                Ok(())
            }
            Self::Other(decoder) => decoder.restart(),
        }
    }
}

impl AsyncRead for Decompressor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if let Some((kind, failed)) = &self.failed {
            return Poll::Ready(Err(Error::new(*kind, failed.clone())));
        }
        let before = buffer.filled().len();
        let read = ready!(self.poll_members(cx, buffer));
        let read = read.map_err(|error| with_format(self.compression, error));
        let read = read.and_then(|()| self.count(buffer.filled().len() - before));
        self.failed = read.as_ref().err().map(|error| (error.kind(), error.to_string()));
        Poll::Ready(read)
    }
}

fn is_too_large(error: &Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()).is_some()
}

/// Adds the format to an error of a decoder. Errors of the underlying reader have other kinds and
/// stay unchanged.
fn with_format(compression: Compression, error: Error) -> Error {
    let is_deflate =
        || error.get_ref().and_then(|inner| inner.downcast_ref::<DecompressError>()).is_some();
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::other(format!("its {compression} is truncated")),
        kind if is_too_large(&error) => {
            Error::new(kind, format!("it is {compression}, and {error}"))
        }
        kind if kind == ErrorKind::InvalidData || is_deflate() => {
            Error::other(format!("its {compression} is damaged: {error}"))
        }
        _ => error,
    }
}
