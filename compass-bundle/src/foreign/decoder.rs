//! Decoders of zstd, xz and bzip2 that reserve memory before they allocate it.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bzip2::Decompress;
use liblzma::stream::{Action, Stream};
use tokio::io::{AsyncBufRead as _, BufReader, ReadBuf};
use zstd::stream::raw::{DParameter, Decoder as RawZstd, Operation as _};

use super::limits::{DecoderMemory, Reservation};
use super::reader::Reader;
use super::zstd_frame::{FrameHeader, frame_header};

/// The result of one decoder call.
#[derive(Default)]
struct DecodeStep {
    consumed: usize,
    produced: usize,
    /// The frame or stream is complete.
    ended: bool,
    /// Total memory in bytes that must be reserved before the next call.
    required_memory: Option<u64>,
}

/// Decodes one frame or stream.
trait Decode: Send {
    /// Decodes `input` into `output`.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<DecodeStep>;

    /// Prepares for the next frame or stream.
    fn restart(&mut self) -> Result<()>;
}

/// Decodes the bytes of a reader.
pub(super) struct Decoder {
    pub(super) input: BufReader<Reader>,
    decode: Box<dyn Decode>,
    reservation: Reservation,
    required_memory: Option<u64>,
    ended: bool,
}

impl Decoder {
    pub(super) fn zstd(input: BufReader<Reader>, memory: DecoderMemory) -> Result<Self> {
        Ok(Self::new(Box::new(Zstd::new()?), input, memory))
    }

    pub(super) fn xz(input: BufReader<Reader>, memory: DecoderMemory) -> Result<Self> {
        Ok(Self::new(Box::new(Xz::new()?), input, memory))
    }

    pub(super) fn bzip2(input: BufReader<Reader>, memory: DecoderMemory) -> Self {
        Self::new(Box::new(Bzip2::default()), input, memory)
    }

    fn new(decode: Box<dyn Decode>, input: BufReader<Reader>, memory: DecoderMemory) -> Self {
        let reservation = Reservation::new(memory);
        Self { input, decode, reservation, required_memory: None, ended: false }
    }

    /// Reads decoded bytes; reads none at the end of a frame or stream.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        while !self.ended {
            if let Some(bytes) = self.required_memory {
                ready!(self.reservation.poll_reserve(cx, bytes))?;
                self.required_memory = None;
            }
            let input = ready!(Pin::new(&mut self.input).poll_fill_buf(cx))?;
            let is_end = input.is_empty();
            let step = self.decode.decode(input, buffer.initialize_unfilled())?;
            Pin::new(&mut self.input).consume(step.consumed);
            buffer.advance(step.produced);
            (self.required_memory, self.ended) = (step.required_memory, step.ended);
            if step.produced > 0 {
                break;
            }
            if step.consumed == 0 && step.required_memory.is_none() && !step.ended {
                return Poll::Ready(Err(match is_end {
                    true => ErrorKind::UnexpectedEof.into(),
                    false => invalid("the decoder makes no progress"),
                }));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the next frame or stream.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.ended = false;
        self.decode.restart()
    }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

/// The increase of a 64-bit counter of a library.
fn counter_delta(before: u64, now: u64) -> usize {
    usize::try_from(now - before).unwrap_or_default()
}

/// Memory of a zstd decoder in addition to its window, in bytes: tables, an input and an output
/// block.
const ZSTD_TABLES: u64 = 1 << 20;

struct Zstd {
    raw: RawZstd<'static>,
    /// The frame header, until it is passed to the decoder.
    header: Option<Vec<u8>>,
    is_header_complete: bool,
}

impl Zstd {
    fn new() -> Result<Self> {
        let mut raw = RawZstd::new()?;
        // The memory reservation limits the window instead.
        raw.set_parameter(DParameter::WindowLogMax(31))?;
        Ok(Self { raw, header: Some(Vec::new()), is_header_complete: false })
    }

    /// Collects the header of a frame, which declares the window size.
    fn collect(&mut self, header: &mut Vec<u8>, input: &[u8]) -> Result<DecodeStep> {
        let mut step = DecodeStep::default();
        for byte in input {
            header.push(*byte);
            step.consumed += 1;
            step.required_memory = match frame_header(header) {
                FrameHeader::Incomplete => continue,
                FrameHeader::Invalid => return Err(invalid("a frame has no valid header")),
                FrameHeader::Skippable => None,
                FrameHeader::Window(bytes) => Some(bytes.saturating_add(ZSTD_TABLES)),
            };
            self.is_header_complete = true;
            break;
        }
        Ok(step)
    }
}

impl Decode for Zstd {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<DecodeStep> {
        let damaged = |error: Error| invalid(error.to_string());
        if let Some(mut header) = self.header.take() {
            if !self.is_header_complete {
                let step = self.collect(&mut header, input);
                self.header = Some(header);
                return step;
            }
            // The decoder consumes the whole header without producing output.
            self.raw.run_on_buffers(&header, &mut []).map_err(damaged)?;
        }
        let status = self.raw.run_on_buffers(input, output).map_err(damaged)?;
        let (consumed, produced) = (status.bytes_read, status.bytes_written);
        Ok(DecodeStep { consumed, produced, ended: status.remaining == 0, required_memory: None })
    }

    fn restart(&mut self) -> Result<()> {
        self.is_header_complete = false;
        self.header = Some(Vec::new());
        self.raw.reinit()
    }
}

/// Step in which the memory limit of an xz decoder is raised.
const XZ_STEP: u64 = 1 << 20;

/// Upper bound for the memory of an xz decoder: the largest dictionary has 1.5 GiB.
const MAX_XZ_MEMORY: u64 = 2 << 30;

struct Xz(Stream);

impl Xz {
    fn new() -> Result<Self> {
        // With the smallest limit, the decoder stops before it allocates.
        Ok(Self(Stream::new_stream_decoder(1, 0).map_err(xz_error)?))
    }

    /// Raises the limit to what the current block needs, and returns it. The decoder allocates only
    /// in its next call.
    fn raise_limit(&mut self) -> u64 {
        let mut steps = (1..=MAX_XZ_MEMORY / XZ_STEP).map(|step| step * XZ_STEP);
        let enough = steps.find(|bytes| self.0.set_memlimit(*bytes).is_ok());
        enough.unwrap_or(MAX_XZ_MEMORY)
    }
}

impl Decode for Xz {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<DecodeStep> {
        use liblzma::stream::{Error, Status};
        let before = (self.0.total_in(), self.0.total_out());
        let (ended, required_memory) = match self.0.process(input, output, Action::Run) {
            Err(Error::MemLimit) => (false, Some(self.raise_limit())),
            status => (status.map_err(xz_error)? == Status::StreamEnd, None),
        };
        Ok(DecodeStep {
            consumed: counter_delta(before.0, self.0.total_in()),
            produced: counter_delta(before.1, self.0.total_out()),
            ended,
            required_memory,
        })
    }

    fn restart(&mut self) -> Result<()> {
        *self = Self::new()?;
        Ok(())
    }
}

fn xz_error(error: liblzma::stream::Error) -> Error {
    use liblzma::stream::Error as Xz;
    invalid(match error {
        Xz::Data => "its content does not match its checksums",
        Xz::Format => "it has no valid header",
        Xz::Options => "it uses options that are not supported",
        _ => return error.into(),
    })
}

/// Memory of a bzip2 decoder with the largest block size, in bytes.
const BZIP2_MEMORY: u64 = 4 << 20;

/// Allocates the decoder only after its memory is reserved.
#[derive(Default)]
struct Bzip2 {
    raw: Option<Decompress>,
    is_reserved: bool,
}

impl Decode for Bzip2 {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<DecodeStep> {
        if !std::mem::replace(&mut self.is_reserved, true) {
            return Ok(DecodeStep { required_memory: Some(BZIP2_MEMORY), ..DecodeStep::default() });
        }
        let raw = self.raw.get_or_insert_with(|| Decompress::new(false));
        let before = (raw.total_in(), raw.total_out());
        let status = raw.decompress(input, output).map_err(|error| invalid(error.to_string()))?;
        Ok(DecodeStep {
            consumed: counter_delta(before.0, raw.total_in()),
            produced: counter_delta(before.1, raw.total_out()),
            ended: status == bzip2::Status::StreamEnd,
            required_memory: None,
        })
    }

    fn restart(&mut self) -> Result<()> {
        self.raw = None;
        Ok(())
    }
}
