//! Streams that end well only with the right bytes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use crate::progress::BlobProgress;
use crate::{ByteStream, Descriptor, Error, Hasher};

/// The bytes of one blob, verified while they pass.
///
/// The last bytes come out only after the size and the digest of the whole were right; where they
/// are not, an error comes instead. So who has seen the stream end without an error has seen the
/// blob, and who writes nothing visible before that never shows wrong bytes.
pub struct VerifiedBlob {
    what: String,
    descriptor: Descriptor,
    bytes: ByteStream,
    hasher: Hasher,
    received: u64,
    withheld: Bytes,
    ended: bool,
    progress: Option<BlobProgress>,
}

impl VerifiedBlob {
    /// Verifies bytes against a descriptor. `what` names the blob in errors.
    pub fn new(what: String, descriptor: Descriptor, bytes: ByteStream) -> Self {
        Self {
            what,
            hasher: Hasher::new(descriptor.digest.algorithm()),
            descriptor,
            bytes,
            received: 0,
            withheld: Bytes::new(),
            ended: false,
            progress: None,
        }
    }

    pub(crate) fn reporting_to(self, progress: BlobProgress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// What the bytes are promised to be.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), Error> {
        self.received += chunk.len() as u64;
        if self.received > self.descriptor.size {
            return Err(self.wrong_size());
        }
        self.hasher.update(chunk);
        if let Some(progress) = &self.progress {
            progress.reach(self.received);
        }
        Ok(())
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
                    if let Err(error) = this.take(&chunk) {
                        this.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    if this.received < this.descriptor.size {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    if !chunk.is_empty() {
                        this.withheld = chunk;
                    }
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.ended = true;
                    let last = std::mem::take(&mut this.withheld);
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
mod tests {
    use futures_util::stream;
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
    async fn a_wrong_byte_is_a_digest_mismatch_and_the_end_is_withheld() {
        let (seen, error) = pass(b"abcd", vec![b"ab".to_vec(), b"cX".to_vec()]).await.unwrap_err();
        assert_eq!(seen, b"ab");
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    }

    #[tokio::test]
    async fn too_few_and_too_many_bytes_are_a_size_mismatch() {
        for chunks in [vec![b"abc".to_vec()], vec![b"abcd".to_vec(), b"e".to_vec()], vec![]] {
            let (_, error) = pass(b"abcd", chunks).await.unwrap_err();
            assert!(matches!(error, Error::SizeMismatch { expected: 4, .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn right_bytes_pass_unchanged_in_any_chunks(chunks: Vec<Vec<u8>>) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let whole = chunks.concat();
            let passed = runtime.block_on(pass(&whole, chunks));
            prop_assert_eq!(passed.unwrap(), whole);
        }
    }
}
