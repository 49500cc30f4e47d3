//! A blob stream that verifies size and digest.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use crate::progress::BlobProgress;
use crate::{ByteStream, Descriptor, Error, Hasher, MAX_EMPTY_CHUNKS};

/// A stream of one blob that verifies its size and digest.
///
/// The last bytes are yielded only if the size and digest of the whole blob are correct; otherwise,
/// the stream ends with an error. A consumer that makes the content visible only after the end of
/// the stream never shows wrong bytes.
pub struct VerifiedBlob {
    what: String,
    descriptor: Descriptor,
    bytes: ByteStream,
    hasher: Hasher,
    received: u64,
    held_back: Bytes,
    /// Bytes to skip, as they were yielded before.
    skip: u64,
    ended: bool,
    /// Consecutive empty chunks of the source.
    empty_chunks: u32,
    progress: Option<BlobProgress>,
    seekable: Option<Seekable>,
}

/// The data for seeking: a function that opens the blob at an offset, and hash states at
/// checkpoints.
struct Seekable {
    open: Open,
    checkpoints: Vec<Hasher>,
}

/// A function that opens a range of the blob.
type Open = Box<dyn Fn(Range<u64>) -> ByteStream + Send>;

/// The distance between hash checkpoints in bytes. After a seek, at most this much is read again in
/// addition to the bytes after the offset.
const CHECKPOINT_EVERY: u64 = 1 << 20;

impl VerifiedBlob {
    /// Verifies bytes against a descriptor. `what` names the blob in errors.
    pub fn new(what: String, descriptor: Descriptor, bytes: ByteStream) -> Self {
        Self {
            what,
            hasher: Hasher::new(descriptor.digest.algorithm()),
            descriptor,
            bytes,
            received: 0,
            held_back: Bytes::new(),
            skip: 0,
            ended: false,
            empty_chunks: 0,
            progress: None,
            seekable: None,
        }
    }

    /// Verifies a blob that can be opened again at any offset.
    pub(crate) fn seekable(what: String, descriptor: Descriptor, open: Open) -> Self {
        let bytes = open(0..descriptor.size);
        let checkpoints = Vec::new();
        Self {
            seekable: Some(Seekable { open, checkpoints }),
            ..Self::new(what, descriptor, bytes)
        }
    }

    /// Continues at an earlier offset; the bytes since the last checkpoint are hashed again.
    /// Returns `false` if the offset was not reached yet or the blob cannot be opened again.
    pub(crate) fn seek(&mut self, offset: u64) -> bool {
        if offset > self.position() {
            return false;
        }
        let Some(seekable) = &mut self.seekable else { return false };
        let kept =
            usize::try_from(offset / CHECKPOINT_EVERY).unwrap_or(0).min(seekable.checkpoints.len());
        seekable.checkpoints.truncate(kept);
        self.hasher = match seekable.checkpoints.last() {
            Some(state) => state.clone(),
            None => Hasher::new(self.descriptor.digest.algorithm()),
        };
        let (from, reached) = (kept as u64 * CHECKPOINT_EVERY, self.received);
        self.received = from;
        let again = |end| (seekable.open)(from..end);
        // The stream may have requested the next bytes already, so keep the stream unless it has
        // ended.
        self.bytes = if self.ended {
            again(self.descriptor.size)
        } else {
            let next = std::mem::replace(&mut self.bytes, stream::empty().boxed());
            again(reached).chain(next).boxed()
        };
        self.skip = offset - self.received;
        self.held_back = Bytes::new();
        self.ended = false;
        true
    }

    /// Returns the number of bytes yielded.
    pub(crate) fn position(&self) -> u64 {
        self.received + self.skip - self.held_back.len() as u64
    }

    pub(crate) fn with_progress(self, progress: BlobProgress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Returns the expected type, digest and size.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn accept(&mut self, chunk: &Bytes) -> Result<(), Error> {
        self.empty_chunks = if chunk.is_empty() { self.empty_chunks + 1 } else { 0 };
        if self.empty_chunks > MAX_EMPTY_CHUNKS {
            return Err(no_progress(&self.what));
        }
        self.received += chunk.len() as u64;
        if self.received > self.descriptor.size {
            return Err(self.wrong_size());
        }
        self.hash(chunk);
        if let Some(progress) = &self.progress {
            progress.reach(self.received);
        }
        Ok(())
    }

    /// Hashes a chunk, and stores the states at checkpoints.
    fn hash(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        if let Some(seekable) = &mut self.seekable {
            let mut at = self.received - chunk.len() as u64;
            while at / CHECKPOINT_EVERY < self.received / CHECKPOINT_EVERY {
                let next = (at / CHECKPOINT_EVERY + 1) * CHECKPOINT_EVERY;
                let (part, after) = rest.split_at(usize::try_from(next - at).unwrap_or(rest.len()));
                self.hasher.update(part);
                seekable.checkpoints.push(self.hasher.clone());
                (rest, at) = (after, next);
            }
        }
        self.hasher.update(rest);
    }

    /// Drops the part of a chunk that was yielded before.
    fn skip_already_emitted(&mut self, mut chunk: Bytes) -> Bytes {
        let seen = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= seen as u64;
        chunk.split_off(seen)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.received != self.descriptor.size {
            return Err(self.wrong_size());
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual == self.descriptor.digest {
            Ok(())
        } else {
            let (expected, actual) = (Box::new(self.descriptor.digest), Box::new(actual));
            Err(Error::DigestMismatch { what: self.what.clone(), expected, actual })
        }
    }

    fn wrong_size(&self) -> Error {
        Error::SizeMismatch {
            what: self.what.clone(),
            expected: self.descriptor.size,
            actual: self.received,
        }
    }
}

impl Stream for VerifiedBlob {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.ended {
            match ready!(this.bytes.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => {
                    if let Err(error) = this.accept(&chunk) {
                        this.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    let chunk = this.skip_already_emitted(chunk);
                    if chunk.is_empty() {
                        continue;
                    }
                    if this.received < this.descriptor.size {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    this.held_back = chunk;
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.ended = true;
                    let last = std::mem::take(&mut this.held_back);
                    return Poll::Ready(match this.finish() {
                        Ok(()) if last.is_empty() => None,
                        Ok(()) => Some(Ok(last)),
                        Err(error) => Some(Err(error)),
                    });
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Creates the error for a stream that yields empty chunks only.
pub(crate) fn no_progress(what: &str) -> Error {
    let reason = format!("the source returned more than {MAX_EMPTY_CHUNKS} empty chunks in a row");
    Error::InvalidContent { what: what.to_owned(), reason }
}

impl fmt::Debug for VerifiedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedBlob")
            .field("what", &self.what)
            .field("descriptor", &self.descriptor)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn pass(promised: &[u8], chunks: Vec<Vec<u8>>) -> Result<Vec<u8>, (Vec<u8>, Error)> {
        let chunks = chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk)));
        let descriptor = Descriptor::of("text/plain", promised);
        let mut blob = VerifiedBlob::new("web@x".into(), descriptor, stream::iter(chunks).boxed());
        let mut seen = Vec::new();
        while let Some(chunk) = blob.next().await {
            match chunk {
                Ok(chunk) => seen.extend_from_slice(&chunk),
                Err(error) => return Err((seen, error)),
            }
        }
        Ok(seen)
    }

    #[tokio::test]
    async fn wrong_byte_is_digest_mismatch() {
        let (seen, error) = pass(b"abcd", vec![b"ab".to_vec(), b"cX".to_vec()]).await.unwrap_err();
        assert_eq!(seen, b"ab");
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    }

    #[tokio::test]
    async fn wrong_length_is_size_mismatch() {
        for chunks in [vec![b"abc".to_vec()], vec![b"abcd".to_vec(), b"e".to_vec()], vec![]] {
            let (_, error) = pass(b"abcd", chunks).await.unwrap_err();
            assert!(matches!(error, Error::SizeMismatch { expected: 4, .. }), "{error}");
        }
    }

    /// Returns a seekable blob in chunks of this size.
    fn seekable(content: &[u8], chunk: usize) -> VerifiedBlob {
        let (bytes, descriptor) = (content.to_vec(), Descriptor::of("text/plain", content));
        let open = move |range: Range<u64>| {
            let at = |offset| usize::try_from(offset).unwrap();
            let rest = bytes[at(range.start)..at(range.end)].to_vec();
            let chunks: Vec<_> =
                rest.chunks(chunk).map(|one| Ok(Bytes::copy_from_slice(one))).collect();
            stream::iter(chunks).boxed()
        };
        VerifiedBlob::seekable("web@x".into(), descriptor, Box::new(open))
    }

    #[tokio::test]
    async fn empty_chunks_fail_after_limit() {
        let chunks = |empty: usize| [vec![vec![]; empty], vec![b"abcd".to_vec()]].concat();
        assert_eq!(pass(b"abcd", chunks(MAX_EMPTY_CHUNKS as usize)).await.unwrap(), b"abcd");
        let endless = stream::repeat_with(|| Ok(Bytes::new())).boxed();
        let descriptor = Descriptor::of("text/plain", b"abcd");
        let mut blob = VerifiedBlob::new("web@x".into(), descriptor, endless);
        let error = blob.next().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::InvalidContent { .. }), "{error}");
    }

    #[tokio::test]
    async fn seek_without_source_fails() {
        let descriptor = Descriptor::of("text/plain", b"ab");
        let mut blob = VerifiedBlob::new("x".into(), descriptor, stream::empty().boxed());
        assert!(!blob.seek(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn seek_yields_same_bytes_and_verifies(
            size in 0_usize..3_500_000,
            chunk in 50_000_usize..700_000,
            turns in proptest::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 0..4),
        ) {
            let content: Vec<u8> = (0..size).map(|n| ((n * 31) >> 3) as u8).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let mut blob = seekable(&content, chunk);
                let mut read = Vec::new();
                for (how_far, back) in turns {
                    let stop = (size as f64 * how_far) as usize;
                    while read.len() < stop {
                        read.extend_from_slice(&blob.next().await.unwrap().unwrap());
                    }
                    let to = (read.len() as f64 * back) as usize;
                    assert!(blob.seek(to as u64));
                    read.truncate(to);
                }
                while let Some(chunk) = blob.next().await {
                    read.extend_from_slice(&chunk.unwrap());
                }
                read
            });
            prop_assert!(read == content);
        }

        #[test]
        fn correct_bytes_pass_in_any_chunks(chunks: Vec<Vec<u8>>) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let whole = chunks.concat();
            let passed = runtime.block_on(pass(&whole, chunks));
            prop_assert_eq!(passed.unwrap(), whole);
        }
    }
}
