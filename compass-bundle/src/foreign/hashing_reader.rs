//! A reader that hashes its bytes, shared by several readers in turn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use compass_registry::{Algorithm, Digest, Hasher};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::decompress::Reader;
use super::probe::Probe;

/// Bytes from the beginning that are max_head: enough for YAML and JSON.
pub(super) const MAX_HEAD: usize = 4 << 20;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A reader that is shared. Clones read on where the others have stopped.
#[derive(Clone)]
pub(crate) struct HashingReader(Arc<Mutex<State>>);

struct State {
    reader: Reader,
    digest: Option<EntryDigest>,
    probe: Option<Probe>,
}

/// Digest and number of the bytes read through a tap.
pub(super) struct EntryDigest {
    hasher: Hasher,
    /// A second algorithm, if the name of the file has one.
    named: Option<Hasher>,
    size: u64,
    head: Vec<u8>,
    max_head: usize,
}

/// The digests of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) sha256: Digest,
    /// Of the algorithm that the name of the file has.
    pub(super) named: Digest,
    pub(super) size: u64,
}

impl HashingReader {
    pub(super) fn new(reader: Reader) -> Self {
        Self(Arc::new(Mutex::new(State { reader, digest: None, probe: None })))
    }

    /// Begins to hash, and to keep the first bytes.
    pub(super) fn start_hashing(&self, named: Algorithm, max_head: usize) {
        let named = (named != Algorithm::Sha256).then(|| Hasher::new(named));
        let hasher = Hasher::new(Algorithm::Sha256);
        self.state().digest =
            Some(EntryDigest { hasher, named, size: 0, head: Vec::new(), max_head });
    }

    /// Begins to look for images in the archive that passes.
    pub(super) fn start_probe(&self) {
        self.state().probe = Some(Probe::default());
    }

    pub(super) fn reader(&self) -> Reader {
        Box::pin(self.clone())
    }

    /// Reads the rest.
    pub(super) async fn skip_rest(&self) -> std::io::Result<()> {
        self.skip_up_to(u64::MAX).await.map(drop)
    }

    /// Reads the rest, unless that is more than so many bytes. Says whether it was all.
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

    /// The first bytes.
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

    /// Whether what has passed begins as a tar archive; known while it is probed.
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
