//! Limits for decompressed size and decoder memory.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::io::InspectReader;
use tokio_util::sync::PollSemaphore;

use super::reader::Reader;

/// The limits of one operation. Clones share them; the default limits only memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(super) inflate: InflateLimit,
    pub(super) memory: DecoderMemory,
}

/// Limits the total decompressed size of a package over all nesting levels. Nested archives could
/// otherwise keep the reader busy for days.
#[derive(Debug, Clone, Default)]
pub(super) struct InflateLimit(Option<Arc<Usage>>);

#[derive(Debug, Default)]
struct Usage {
    /// Number of bytes of the file that were read.
    input: AtomicU64,
    inflated: AtomicU64,
}

/// Decompressed bytes allowed per byte of the file: slightly above the maximum ratio of deflate.
const MAX_RATIO: u64 = 1100;

/// Decompressed bytes allowed in addition to that, whatever the size of the file.
const BASE_ALLOWANCE: u64 = 64 << 30;

impl Limits {
    /// The limits for reading a package.
    pub(crate) fn for_package() -> Self {
        Self { inflate: InflateLimit(Some(Arc::default())), ..Self::default() }
    }

    pub(super) fn with_memory(memory: DecoderMemory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Counts the bytes that are read from the package file.
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

    /// Counts decompressed bytes, and holes of sparse files.
    ///
    /// # Errors
    /// If the limit is exceeded.
    pub(super) fn count(&self, bytes: u64) -> Result<()> {
        let Some(usage) = &self.0 else { return Ok(()) };
        let most = usage.input.load(Ordering::Relaxed).saturating_mul(MAX_RATIO);
        let most = most.saturating_add(BASE_ALLOWANCE);
        // Rejected bytes are not counted, so that other entries can still be read.
        let counted = usage.inflated.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
            sum.checked_add(bytes).filter(|sum| *sum <= most)
        });
        counted
            .map(drop)
            .map_err(|_| Error::other("its decompressed size exceeds the limit of 64 GiB"))
    }
}

/// The memory that all decoders of an operation share.
#[derive(Debug, Clone)]
pub(crate) struct DecoderMemory {
    permits: Arc<Semaphore>,
    total: u64,
    /// Whether decoders wait for memory of other decoders. Decoders that read from each other would
    /// deadlock.
    is_blocking: bool,
}

/// Decoder memory in bytes: enough for `xz -8` while the process stays below 64 MiB.
const DECODER_MEMORY: u64 = 40 << 20;

/// Bytes that one permit represents.
const PERMIT_SIZE: u64 = 64 << 10;

impl Default for DecoderMemory {
    fn default() -> Self {
        Self::new(DECODER_MEMORY, false)
    }
}

impl DecoderMemory {
    /// Memory for decoders that run concurrently and independently.
    pub(crate) fn shared() -> Self {
        Self::new(DECODER_MEMORY, true)
    }

    fn new(total: u64, is_blocking: bool) -> Self {
        let permits = Arc::new(Semaphore::new(units(total) as usize));
        Self { permits, total, is_blocking }
    }
}

/// The memory of one decoder, which is released on drop.
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

    /// Reserves `bytes` in total. Releases the current reservation first, so that waiting decoders
    /// cannot deadlock.
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

/// Memory could not be reserved. The content may be valid.
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
            "its decoder needs {needed} MiB of memory, but only {available} MiB are available: compress \
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
    fn inflate_limit_is_shared_between_levels() {
        let limits = Limits::for_package();
        let other = limits.clone();
        limits.inflate.count_input(10);
        limits.inflate.count(BASE_ALLOWANCE).unwrap();
        other.inflate.count(10 * MAX_RATIO).unwrap();
        let error = limits.inflate.count(1).unwrap_err();
        assert!(error.to_string().contains("the limit of 64 GiB"), "{error}");
        Limits::default().inflate.count(u64::MAX).unwrap();
    }

    #[tokio::test]
    async fn decoder_memory_is_released_on_drop() {
        let memory = DecoderMemory::default();
        let mut first = Reservation::new(memory.clone());
        let mut second = Reservation::new(memory);
        let reserve = async |one: &mut Reservation, mib: u64| {
            poll_fn(|cx| one.poll_reserve(cx, mib << 20)).await
        };
        reserve(&mut first, 33).await.unwrap();
        let told = reserve(&mut second, 9).await.unwrap_err();
        assert!(told.to_string().contains("needs 9 MiB of memory, but only 7 MiB"), "{told}");
        reserve(&mut first, 40).await.unwrap();
        assert!(reserve(&mut first, 41).await.is_err());
        drop(first);
        reserve(&mut second, 40).await.unwrap();
    }

    #[tokio::test]
    async fn shared_decoder_memory_waits() {
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
