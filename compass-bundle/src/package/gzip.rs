//! Gzip of any making (RFC 1952), read to its very end.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::GzipDecoder;
use flate2::DecompressError;
use tokio::io::{AsyncBufRead as _, AsyncRead, BufReader, ReadBuf};

use super::padding::Padding;
use super::peel::Reader;

/// Bytes that are read ahead of a decompressor.
pub(super) const AHEAD: usize = 128 << 10;

/// The first byte of every member.
const FIRST: u8 = 0x1f;

/// A header and a trailer, the least that gzip has.
const SMALLEST: usize = 18;

/// How much bytes look like the beginning of gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// They are none.
    None,
    /// A decoder takes them, though nobody writes such a header.
    Possible,
    /// They are.
    Sure,
}

/// Judges the whole of a header: the magic number, the method, flags that are reserved, and the
/// levels that compressors note.
pub(super) fn likeness(head: &[u8]) -> Likeness {
    match head {
        [FIRST, 0x8b, 8, 0..0x20, _, _, _, _, 0 | 2 | 4, ..] if head.len() >= SMALLEST => {
            Likeness::Sure
        }
        [FIRST, 0x8b, 8, 0..0x20, ..] => Likeness::Possible,
        _ => Likeness::None,
    }
}

/// The content of all members, one after the other. It ends without an error only where every
/// checksum is right, and where nothing but zeros follows, which `gzip` takes as well.
pub(super) struct Gzip {
    member: Member,
    is_between: bool,
    padding: Padding,
    /// A decoder that failed and is asked again says that its end has come.
    failed: Option<String>,
    /// Bytes that have come out.
    inflated: u64,
    taken: Taken,
    budget: Budget,
}

/// Bytes that were taken from what everything was inflated from.
pub(super) type Taken = Arc<AtomicU64>;

/// What may be inflated of a whole package, on all levels together: gzip in archives in gzip could
/// keep somebody busy for days otherwise. Clones share it; the default has no limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Option<Arc<Spent>>);

#[derive(Debug, Default)]
struct Spent {
    /// Bytes of the file.
    taken: AtomicU64,
    inflated: AtomicU64,
}

/// What comes before the size of the file counts: more than anyone packs, and minutes at most.
const ALWAYS_OF_ALL: u64 = 64 << 30;

impl Budget {
    pub(super) fn of_a_package() -> Self {
        Self(Some(Arc::default()))
    }

    /// Bytes have been read of the file.
    pub(super) fn took(&self, bytes: u64) {
        if let Some(spent) = &self.0 {
            spent.taken.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn inflate(&self, bytes: u64) -> std::io::Result<()> {
        let Some(spent) = &self.0 else { return Ok(()) };
        let inflated = spent.inflated.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let most = spent.taken.load(Ordering::Relaxed).saturating_mul(MOST_TIMES);
        if inflated > most.saturating_add(ALWAYS_OF_ALL) {
            return Err(Error::other("it inflates to more than anyone packs"));
        }
        Ok(())
    }
}

/// How many times as large deflate makes bytes at most (about 1032), and what may come before that
/// counts. More is gzip in gzip, made to keep somebody busy for days.
const MOST_TIMES: u64 = 1100;
const ALWAYS: u64 = 1 << 30;

type Member = GzipDecoder<BufReader<Reader>>;

impl Gzip {
    /// `taken` counts what the reader, or what that inflates, takes from the file.
    pub(super) fn new(reader: Reader, taken: Taken, budget: Budget) -> Self {
        let member = GzipDecoder::new(BufReader::with_capacity(AHEAD, reader));
        let padding = Padding::default();
        let (is_between, failed, inflated) = (false, None, 0);
        Self { member, is_between, padding, failed, inflated, taken, budget }
    }

    /// Counts what has come out.
    fn count(&mut self, bytes: usize) -> std::io::Result<()> {
        self.inflated += bytes as u64;
        let most = self.taken.load(Ordering::Relaxed).saturating_mul(MOST_TIMES);
        if self.inflated > most.saturating_add(ALWAYS) {
            return Err(Error::other("it inflates to more than gzip does once"));
        }
        self.budget.inflate(bytes as u64)
    }

    fn poll_members(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            if !self.is_between {
                ready!(Pin::new(&mut self.member).poll_read(cx, buffer))?;
                if buffer.filled().len() > before || buffer.remaining() == 0 {
                    return Poll::Ready(Ok(()));
                }
                self.is_between = true;
            }
            let mut rest = Pin::new(self.member.get_mut());
            match ready!(rest.as_mut().poll_fill_buf(cx))? {
                [] => return Poll::Ready(Ok(())),
                [FIRST, ..] if self.padding.is_none() => self.begin_member(),
                bytes => {
                    let size = bytes.len();
                    self.padding.take(bytes)?;
                    rest.consume(size);
                }
            }
        }
    }

    fn begin_member(&mut self) {
        let nothing: Reader = Box::pin(tokio::io::empty());
        let nothing = BufReader::with_capacity(1, nothing);
        let rest = std::mem::replace(self.member.get_mut(), nothing);
        self.member = GzipDecoder::new(rest);
        self.is_between = false;
    }
}

impl AsyncRead for Gzip {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(failed) = &self.failed {
            return Poll::Ready(Err(Error::other(failed.clone())));
        }
        let before = buffer.filled().len();
        let read = ready!(self.poll_members(cx, buffer)).map_err(told);
        let read = read.and_then(|()| self.count(buffer.filled().len() - before));
        self.failed = read.as_ref().err().map(ToString::to_string);
        Poll::Ready(read)
    }
}

/// What a decoder says, said of the gzip. What it reads from speaks for itself, in other kinds.
fn told(error: Error) -> Error {
    let is_deflate =
        || error.get_ref().and_then(|inner| inner.downcast_ref::<DecompressError>()).is_some();
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::other("its gzip is cut off"),
        kind if kind == ErrorKind::InvalidData || is_deflate() => {
            Error::other(format!("its gzip is damaged: {error}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_levels_inflate_is_counted_together() {
        let budget = Budget::of_a_package();
        let other = budget.clone();
        budget.took(10);
        budget.inflate(ALWAYS_OF_ALL).unwrap();
        other.inflate(10 * MOST_TIMES).unwrap();
        let error = budget.inflate(1).unwrap_err();
        assert!(error.to_string().contains("more than anyone packs"), "{error}");
        Budget::default().inflate(u64::MAX).unwrap();
    }
}
