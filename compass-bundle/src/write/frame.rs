//! Frames the content of members: computes the bytes of the file, without I/O.

use std::ops::Range;

use bytes::Bytes;

use crate::Error;
use crate::format::member::{ContentFramer, Member, MemberEncoder};
use crate::plan::BundlePlan;
use crate::plan::members::{Content, Origin, Piece, PlannedMember};

/// Consecutive content of a blob, framed for all its members.
///
/// The framed bytes depend on the content and on the nesting of the member only, so that members of
/// equal nesting share them.
pub(super) struct FramedChunk {
    content: Range<u64>,
    framings: Vec<Framing>,
}

/// The bytes for the members of one nesting.
struct Framing {
    members: Vec<Member>,
    framer: ContentFramer,
    bytes: Vec<u8>,
}

impl FramedChunk {
    /// Creates an empty chunk for content from the byte at `position` on. All members hold the same
    /// blob. `capacity` is the expected number of framed bytes.
    pub(super) fn new(members: &[Member], position: u64, capacity: usize) -> Self {
        let framing = |nested: bool| {
            let members = members.iter().copied().filter(|member| member.nested == nested);
            let members: Vec<_> = members.collect();
            let framer = members.first()?.framer_at(position);
            Some(Framing { members, framer, bytes: Vec::with_capacity(capacity) })
        };
        let framings = [true, false].into_iter().filter_map(framing).collect();
        Self { content: position..position, framings }
    }

    /// Removes the bytes, and continues with content from the byte at `position` on. This keeps the
    /// allocated memory.
    pub(super) fn restart_at(&mut self, position: u64) {
        self.content = position..position;
        for Framing { members, framer, bytes } in &mut self.framings {
            bytes.clear();
            if let Some(member) = members.first() {
                *framer = member.framer_at(position);
            }
        }
    }

    /// Frames the next bytes of the blob.
    pub(super) fn push(&mut self, content: &[u8]) {
        for Framing { framer, bytes, .. } in &mut self.framings {
            framer.push(content, |slice| bytes.extend_from_slice(slice));
        }
        self.content.end += content.len() as u64;
    }

    /// The range of the blob that the chunk contains.
    pub(super) fn content(&self) -> Range<u64> {
        self.content.clone()
    }

    /// The number of content bytes.
    pub(super) fn len(&self) -> u64 {
        self.content.end - self.content.start
    }

    /// Returns the bytes of the file, with their offset, for each member.
    pub(super) fn placements(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let content = &self.content;
        self.framings.iter().flat_map(move |Framing { members, bytes, .. }| {
            members
                .iter()
                .map(move |member| (member.content_range(content.clone()).start, &**bytes))
        })
    }
}

/// The approximate size of the chunks of a run in bytes.
const RUN_CHUNK: usize = 256 << 10;

/// The bytes of a member that is not a blob, in order, in chunks.
pub(super) struct RunChunks {
    /// The encoder; `None` after the end of the member.
    encoder: Option<MemberEncoder>,
    /// The rest of the content, in reverse order.
    rest: Vec<Bytes>,
    chunk: Vec<u8>,
}

impl RunChunks {
    /// Creates the encoder of a run; returns `None` for a blob.
    pub(super) fn new(plan: &BundlePlan, member: &PlannedMember) -> Option<Self> {
        let Content::Run(pieces) = &member.content else { return None };
        let mut rest: Vec<_> = pieces.iter().map(|piece| content(plan, piece)).collect();
        rest.reverse();
        let (mut encoder, mut chunk) = (member.place.encoder(), Vec::new());
        encoder.begin(|slice| chunk.extend_from_slice(slice));
        Some(Self { encoder: Some(encoder), rest, chunk })
    }
}

impl Iterator for RunChunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = std::mem::take(&mut self.chunk);
        while chunk.len() < RUN_CHUNK {
            let mut sink = |slice: &[u8]| chunk.extend_from_slice(slice);
            let Some(mut bytes) = self.rest.pop() else {
                if let Some(encoder) = self.encoder.take() {
                    encoder.finish(sink);
                }
                break;
            };
            let now = bytes.split_to(bytes.len().min(RUN_CHUNK));
            if let Some(encoder) = &mut self.encoder {
                encoder.push(&now, &mut sink);
            }
            if !bytes.is_empty() {
                self.rest.push(bytes);
            }
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// Returns the bytes of a piece. [`BundlePlan::require_bytes`] has rejected plans without the bytes
/// of their small files.
fn content(plan: &BundlePlan, piece: &Piece) -> Bytes {
    match &piece.origin {
        Origin::Layout { bytes, .. } => bytes.clone(),
        Origin::File(number) => plan.files()[*number].bytes.clone().unwrap_or_default(),
    }
}

impl BundlePlan {
    /// Checks that the bytes of the small files are known.
    ///
    /// A plan that was read from a bundle only has their digests.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if one is missing.
    pub(crate) fn require_bytes(&self) -> Result<(), Error> {
        match self.files().iter().find(|file| file.bytes.is_none()) {
            None => Ok(()),
            Some(file) => Err(Error::InvalidInput(format!(
                "the plan does not have the bytes of {}: it was read from a bundle",
                file.path
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::gzip;

    proptest! {
        #[test]
        fn chunks_any_order_yield_framed_content(
            length in 0_usize..200_000,
            sizes in proptest::collection::vec(1_usize..90_000, 1..6),
            backwards: bool,
        ) {
            let blob: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let size = length as u64;
            let members = [(100, false), (300_000, true), (600_000, true)]
                .map(|(offset, nested)| Member { offset, size, nested });
            let (mut ranges, mut start) = (Vec::new(), 0);
            for size in sizes.into_iter().cycle() {
                if start == length { break }
                let end = length.min(start + size);
                ranges.push(start..end);
                start = end;
            }
            if backwards {
                ranges.reverse();
            }
            let mut file = vec![0; 900_000];
            let mut chunk = FramedChunk::new(&members, 0, 1000);
            for range in ranges {
                chunk.restart_at(range.start as u64);
                let (one, other) = blob[range.clone()].split_at(range.len() / 3);
                chunk.push(one);
                chunk.push(other);
                prop_assert_eq!(chunk.content(), range.start as u64..range.end as u64);
                for (offset, bytes) in chunk.placements() {
                    let start = usize::try_from(offset).unwrap();
                    file[start..start + bytes.len()].copy_from_slice(bytes);
                }
            }
            for member in members {
                let mut framed = gzip::member(&blob);
                if member.nested {
                    framed = gzip::member(&framed);
                }
                let content = member.content_range(0..size);
                let at = |offset: u64| usize::try_from(offset).unwrap();
                let start = at(member.offset);
                let expected = &framed[at(content.start) - start..at(content.end) - start];
                prop_assert!(&file[at(content.start)..at(content.end)] == expected);
            }
        }
    }
}
