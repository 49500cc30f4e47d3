//! How much of a package is decompressed, and in how much memory.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::io::InspectReader;
use tokio_util::sync::PollSemaphore;

use super::decompress::Reader;

/// The limits of one operation. Clones share them; the default limits memory only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(super) inflate: InflateLimit,
    pub(super) memory: DecoderMemory,
}

/// What may be decompressed of a whole package, on all levels together: archives in archives could
/// take days otherwise.
#[derive(Debug, Clone, Default)]
pub(super) struct InflateLimit(Option<Arc<Usage>>);

#[derive(Debug, Default)]
struct Usage {
    /// Bytes of the file.
    input: AtomicU64,
    inflated: AtomicU64,
}

/// Bytes for each byte of the file, about as many as deflate makes at most.
const MAX_RATIO: u64 = 1100;

/// Bytes that do not depend on the size of the file.
const BASE_ALLOWANCE: u64 = 64 << 30;

impl Limits {
    /// The limits for reading a package.
    pub(crate) fn for_package() -> Self {
        Self { inflate: InflateLimit(Some(Arc::default())), ..Self::default() }
    }

    pub(super) fn with_memory(memory: DecoderMemory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Counts the bytes that are read of the package.
    pub(crate) fn count_input_of(&self, file: Reader) -> Reader {
        let limit = self.inflate.clone();
        Box::pin(InspectReader::new(file, move |bytes| limit.count_input(bytes.len() as u64)))
    }
}

impl InflateLimit {
    /// Counts bytes of the file.
    fn count_input(&self, bytes: u64) {
        if let Some(usage) = &self.0 {
            usage.input.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts bytes that were decompressed, or that a sparse file stands for.
    pub(super) fn count(&self, bytes: u64) -> Result<()> {
        let Some(usage) = &self.0 else { return Ok(()) };
        let most = usage.input.load(Ordering::Relaxed).saturating_mul(MAX_RATIO);
        let most = most.saturating_add(BASE_ALLOWANCE);
        // What is refused does not count: others may go on.
        let counted = usage.inflated.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
            sum.checked_add(bytes).filter(|sum| *sum <= most)
        });
        counted.map(drop).map_err(|_| Error::other("it inflates to more than anyone packs"))
    }
}

/// The memory that all decoders of an operation have together.
#[derive(Debug, Clone)]
pub(crate) struct DecoderMemory {
    permits: Arc<Semaphore>,
    total: u64,
    /// Whether a decoder is_blocking for memory that others have. Decoders that read from one another
    /// would wait forever.
    is_blocking: bool,
}

/// Bytes that decoders of one package have: what `xz -8` needs, and the bar of 64 MiB for the
/// process leaves.
const DECODER_MEMORY: u64 = 40 << 20;

/// Bytes that one permit stands for.
const PERMIT_SIZE: u64 = 64 << 10;

impl Default for DecoderMemory {
    fn default() -> Self {
        Self::new(DECODER_MEMORY, false)
    }
}

impl DecoderMemory {
    /// Memory for decoders that run beside one another.
    pub(crate) fn shared() -> Self {
        Self::new(DECODER_MEMORY, true)
    }

    fn new(total: u64, is_blocking: bool) -> Self {
        let permits = Arc::new(Semaphore::new(units(total) as usize));
        Self { permits, total, is_blocking }
    }
}

/// The memory of one decoder. Dropped, it goes back.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: DecoderMemory,
    held: Option<OwnedSemaphorePermit>,
    waiting: PollSemaphore,
}

impl Reservation {
    pub(super) fn new(memory: DecoderMemory) -> Self {
        let waiting = PollSemaphore::new(Arc::clone(&memory.permits));
        Self { memory, held: None, waiting }
    }

    /// Reserves so many bytes in all. What was held before is given back first, so that nothing is_blocking
    /// with memory in its hands.
    pub(super) fn poll_reserve(&mut self, cx: &mut Context<'_>, bytes: u64) -> Poll<Result<()>> {
        let wanted = units(bytes);
        if self.held.as_ref().is_some_and(|held| held.num_permits() >= wanted as usize) {
            return Poll::Ready(Ok(()));
        }
        self.held = None;
        if bytes > self.memory.total {
            return Poll::Ready(Err(too_large(bytes, self.memory.total)));
        }
        self.held = match self.memory.is_blocking {
            true => ready!(self.waiting.poll_acquire_many(cx, wanted)),
            false => Arc::clone(&self.memory.permits).try_acquire_many_owned(wanted).ok(),
        };
        Poll::Ready(match self.held {
            Some(_) => Ok(()),
            None => {
                Err(too_large(bytes, self.memory.permits.available_permits() as u64 * PERMIT_SIZE))
            }
        })
    }
}

/// Why memory could not be reserved; the content may be right.
#[derive(Debug)]
pub(super) struct TooLarge {
    needed: u64,
    available: u64,
}

impl std::error::Error for TooLarge {}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needed, available) = (self.needed.div_ceil(1 << 20), self.available >> 20);
        write!(
            f,
            "its decoder needs {needed} MiB of memory, of {available} MiB that it may take: compress \
             it with a smaller window (`xz -6`, `zstd -19`)"
        )
    }
}

fn too_large(needed: u64, available: u64) -> Error {
    Error::new(ErrorKind::OutOfMemory, TooLarge { needed, available })
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_SIZE)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn inflate_limit_counts_all_levels() {
        let limits = Limits::for_package();
        let other = limits.clone();
        limits.inflate.count_input(10);
        limits.inflate.count(BASE_ALLOWANCE).unwrap();
        other.inflate.count(10 * MAX_RATIO).unwrap();
        let error = limits.inflate.count(1).unwrap_err();
        assert!(error.to_string().contains("more than anyone packs"), "{error}");
        Limits::default().inflate.count(u64::MAX).unwrap();
    }

    #[tokio::test]
    async fn decoder_memory_is_shared_and_given_back() {
        let memory = DecoderMemory::default();
        let mut first = Reservation::new(memory.clone());
        let mut second = Reservation::new(memory);
        let reserve = async |one: &mut Reservation, mib: u64| {
            poll_fn(|cx| one.poll_reserve(cx, mib << 20)).await
        };
        reserve(&mut first, 33).await.unwrap();
        let told = reserve(&mut second, 9).await.unwrap_err();
        assert!(told.to_string().contains("needs 9 MiB of memory, of 7 MiB"), "{told}");
        reserve(&mut first, 40).await.unwrap();
        assert!(reserve(&mut first, 41).await.is_err());
        drop(first);
        reserve(&mut second, 40).await.unwrap();
    }

    #[tokio::test]
    async fn shared_decoder_memory_is_waited_for() {
        let memory = DecoderMemory::shared();
        let mut first = Reservation::new(memory.clone());
        let mut second = Reservation::new(memory);
        poll_fn(|cx| first.poll_reserve(cx, 30 << 20)).await.unwrap();
        let waiting = tokio::spawn(async move {
            poll_fn(|cx| second.poll_reserve(cx, 30 << 20)).await.map(|()| second)
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap().unwrap();
    }
}
