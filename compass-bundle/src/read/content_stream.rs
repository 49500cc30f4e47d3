//! Streams the content of members, without copying it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::ByteStream;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};

use super::source::BundleSource;
use crate::Error;
use crate::format::member::{Member, MemberDecoder};

/// Reads a range of the content of a member. The bytes are not verified.
pub(super) fn content_stream(
    source: &Arc<dyn BundleSource>,
    member: Member,
    range: Range<u64>,
) -> ByteStream {
    if range.is_empty() {
        return stream::empty().boxed();
    }
    let decoder = member.decoder_at(range.start);
    decoded(source, member.content_range(range), decoder, false)
}

/// Reads the content of a member and compares the checksum of its trailer.
///
/// The last bytes are yielded only if the checksum is correct.
pub(super) fn verified_content_stream(
    source: &Arc<dyn BundleSource>,
    member: Member,
) -> ByteStream {
    decoded(source, member.file_range(), member.content_decoder(), true)
}

fn decoded(
    source: &Arc<dyn BundleSource>,
    framed: Range<u64>,
    decoder: MemberDecoder,
    is_verified: bool,
) -> ByteStream {
    let content = ContentStream {
        framed: Arc::clone(source).read_stream(framed),
        name: source.name(),
        decoder: Some(decoder),
        is_verified,
        ready: VecDeque::new(),
    };
    let slices = stream::try_unfold(content, |mut content| async move {
        let next = content.next().await.map_err(Error::into_registry)?;
        Ok(next.map(|slice| (slice, content)))
    });
    slices.boxed()
}

/// The content of a member in slices of the bytes that were read.
struct ContentStream {
    framed: BoxStream<'static, Result<Bytes, Error>>,
    /// The name of the source.
    name: String,
    /// The decoder; `None` after the end of the member.
    decoder: Option<MemberDecoder>,
    is_verified: bool,
    /// Slices that were not yielded yet.
    ready: VecDeque<Bytes>,
}

impl ContentStream {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            // The last slice follows the comparison of the checksum.
            let held_back = usize::from(self.is_verified && self.decoder.is_some());
            if self.ready.len() > held_back {
                return Ok(self.ready.pop_front());
            }
            match (self.framed.next().await, &mut self.decoder) {
                (Some(framed), Some(decoder)) => {
                    let (framed, ready) = (framed?, &mut self.ready);
                    let sliced = decoder
                        .for_each_slice(&framed, |slice| ready.push_back(framed.slice_ref(slice)));
                    sliced.map_err(|error| damaged(&self.name, &error))?;
                }
                (None, Some(_)) => {
                    let decoder = self.decoder.take().filter(|_| self.is_verified);
                    let finished = decoder.map_or(Ok(()), MemberDecoder::finish);
                    finished.map_err(|error| damaged(&self.name, &error))?;
                }
                (_, None) => return Ok(None),
            }
        }
    }
}

fn damaged(name: &str, error: &Error) -> Error {
    Error::damaged(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use proptest::prelude::*;

    use super::*;

    fn source_of(member: Member, content: &[u8]) -> Vec<u8> {
        let (mut encoder, mut file) = (member.encoder(), vec![7; 1000]);
        encoder.begin(|slice| file.extend_from_slice(slice));
        encoder.push(content, |slice| file.extend_from_slice(slice));
        encoder.finish(|slice| file.extend_from_slice(slice));
        file
    }

    async fn read(stream: ByteStream) -> Result<Vec<u8>, compass_registry::Error> {
        let slices: Vec<Bytes> = stream.try_collect().await?;
        Ok(slices.concat())
    }

    proptest! {
        #[test]
        fn content_stream_returns_any_range(
            length in 0_usize..200_000, nested: bool, bounds: (u16, u16),
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let member = Member { offset: 1000, size: length as u64, nested };
            let source: Arc<dyn BundleSource> = Arc::new(Bytes::from(source_of(member, &content)));
            let at = |share: u16| length * usize::from(share) / usize::from(u16::MAX);
            let (start, end) = (at(bounds.0.min(bounds.1)), at(bounds.0.max(bounds.1)));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let part = content_stream(&source, member, start as u64..end as u64);
                assert!(read(part).await.unwrap() == content[start..end]);
                assert!(read(verified_content_stream(&source, member)).await.unwrap() == content);
            });
        }
    }

    #[tokio::test]
    async fn verified_stream_damaged_content_is_error() {
        let content = vec![1; 150_000];
        for nested in [false, true] {
            let member = Member { offset: 1000, size: 150_000, nested };
            let mut file = source_of(member, &content);
            file[100_000] ^= 1;
            let source: Arc<dyn BundleSource> = Arc::new(Bytes::from(file));
            let mut stream = verified_content_stream(&source, member);
            let mut received = 0;
            let error = loop {
                match stream.next().await.unwrap() {
                    Ok(slice) => received += slice.len(),
                    Err(error) => break error,
                }
            };
            assert!(received < content.len(), "the last bytes are not sent");
            assert!(error.to_string().contains("the gzip checksum"), "{error}");
        }
    }
}
