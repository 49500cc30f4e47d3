//! A shared reader that hashes the bytes it returns.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use compass_registry::{Algorithm, Digest, Hasher};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::probe::Probe;
use super::reader::Reader;

/// Maximum number of bytes that are kept from the start of a file, for YAML and JSON.
pub(super) const MAX_HEAD: usize = 4 << 20;

/// Bytes per read when the rest is skipped.
const CHUNK: usize = 64 << 10;

/// A shared reader. All clones read from the same position.
#[derive(Clone)]
pub(crate) struct HashingReader(Arc<Mutex<State>>);

struct State {
    reader: Reader,
    digest: Option<EntryDigest>,
    probe: Option<Probe>,
}

/// Digest and size of the bytes that were read.
pub(super) struct EntryDigest {
    hasher: Hasher,
    /// A second algorithm, if the file name contains a digest of it.
    named: Option<Hasher>,
    size: u64,
    head: Vec<u8>,
    max_head: usize,
}

/// The digests of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) sha256: Digest,
    /// Digest with the algorithm of the one in the file name, or the SHA-256.
    pub(super) named: Digest,
    pub(super) size: u64,
}

impl HashingReader {
    pub(super) fn new(reader: Reader) -> Self {
        Self(Arc::new(Mutex::new(State { reader, digest: None, probe: None })))
    }

    /// Starts to hash, and to keep up to `max_head` of the first bytes.
    pub(super) fn start_hashing(&self, named: Algorithm, max_head: usize) {
        let named = (named != Algorithm::Sha256).then(|| Hasher::new(named));
        let hasher = Hasher::new(Algorithm::Sha256);
        self.state().digest =
            Some(EntryDigest { hasher, named, size: 0, head: Vec::new(), max_head });
    }

    /// Starts to look for images in the tar archive that is read.
    pub(super) fn start_probe(&self) {
        self.state().probe = Some(Probe::default());
    }

    pub(super) fn reader(&self) -> Reader {
        Box::pin(self.clone())
    }

    /// Reads to the end.
    pub(super) async fn skip_rest(&self) -> std::io::Result<()> {
        self.skip_up_to(u64::MAX).await.map(drop)
    }

    /// Reads to the end, or until more than `limit` bytes were read. Returns whether the end was
    /// reached.
    pub(super) async fn skip_up_to(&self, limit: u64) -> std::io::Result<bool> {
        let (mut reader, mut buffer, mut passed) = (self.clone(), vec![0; CHUNK], 0);
        while passed <= limit {
            match reader.read(&mut buffer).await? {
                0 => return Ok(true),
                read => passed += read as u64,
            }
        }
        Ok(false)
    }

    /// Takes the kept first bytes.
    pub(super) fn take_head(&self) -> Bytes {
        let mut state = self.state();
        state
            .digest
            .as_mut()
            .map(|digest| std::mem::take(&mut digest.head))
            .unwrap_or_default()
            .into()
    }

    pub(super) fn finish(&self) -> Digests {
        let digest = self.state().digest.take();
        let Some(EntryDigest { hasher, named, size, .. }) = digest else {
            let empty = Digest::of(b"");
            return Digests { sha256: empty, named: empty, size: 0 };
        };
        let sha256 = hasher.finish();
        Digests { sha256, named: named.map_or(sha256, Hasher::finish), size }
    }

    pub(super) fn take_probe(&self) -> Probe {
        self.state().probe.take().unwrap_or_default()
    }

    /// Whether the bytes so far start a tar archive. Always false without a probe.
    pub(super) fn is_tar(&self) -> bool {
        self.state().probe.as_ref().is_some_and(Probe::is_tar)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntryDigest {
    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        if let Some(named) = &mut self.named {
            named.update(bytes);
        }
        self.size += bytes.len() as u64;
        let room = self.max_head - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl AsyncRead for HashingReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let state = &mut *self.state();
        let before = buffer.filled().len();
        ready!(state.reader.as_mut().poll_read(cx, buffer))?;
        let new = &buffer.filled()[before..];
        if let Some(digest) = &mut state.digest {
            digest.update(new);
        }
        if let Some(probe) = &mut state.probe {
            probe.push(new);
        }
        Poll::Ready(Ok(()))
    }
}
