//! The framed bytes of one blob, gathered into chunks for each place in the file.

use std::collections::VecDeque;

use compass_registry::direct_io::AlignedBuffer;

use super::io_pool::BufferPool;
use crate::format::member::{Member, MemberEncoder};

/// An offset in the file and the bytes to write there.
pub(super) type Chunk = (u64, AlignedBuffer);

/// The places of a blob in the file, and the bytes gathered for each.
pub(super) struct Placements {
    groups: Vec<Group>,
    /// Number of bytes of the blob that were received.
    received: u64,
}

/// Places whose framed bytes are equal: those in image archives, or the one in the image store.
struct Group {
    encoder: MemberEncoder,
    places: Vec<PlacementBuffer>,
}

/// The bytes for one place, gathered for the disk.
struct PlacementBuffer {
    /// The offset of the gathered bytes in the file.
    offset: u64,
    gathered: AlignedBuffer,
    /// Number of bytes of the blob before the gathered ones.
    before: u64,
    /// Complete chunks.
    full: VecDeque<Chunk>,
    chunk_size: usize,
    pool: BufferPool,
}

impl Placements {
    /// Starts at the first byte of the blob, with the headers before it. `memory` is the
    /// approximate chunk size in bytes and the pool of buffers.
    pub(super) fn new(members: &[Member], memory: (usize, &BufferPool)) -> Self {
        let start = |member: &Member| (member.encoder(), member.offset);
        let mut placements = Self::start(members, 0, start, memory);
        for Group { encoder, places } in &mut placements.groups {
            encoder.begin(|slice| places.iter_mut().for_each(|place| place.append(slice, 0)));
        }
        placements
    }

    /// Starts at this byte of the blob, without headers.
    pub(super) fn at(members: &[Member], position: u64, memory: (usize, &BufferPool)) -> Self {
        let start = |member: &Member| {
            (member.encoder_at(position), member.content_range(position..position).start)
        };
        Self::start(members, position, start, memory)
    }

    fn start(
        members: &[Member],
        received: u64,
        start: impl Fn(&Member) -> (MemberEncoder, u64),
        (chunk_size, pool): (usize, &BufferPool),
    ) -> Self {
        let group = |nested: bool| {
            let members = members.iter().filter(move |member| member.nested == nested);
            let (encoder, _) = start(members.clone().next()?);
            let places = members.map(|member| {
                PlacementBuffer::new(start(member).1, received, (chunk_size, pool.clone()))
            });
            Some(Group { encoder, places: places.collect() })
        };
        Self { groups: [true, false].into_iter().filter_map(group).collect(), received }
    }

    /// Returns how many bytes of the blob were received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Returns how many bytes of the blob precede all gathered ones.
    pub(super) fn flushed(&self) -> u64 {
        self.places().map(|place| place.before).min().unwrap_or(self.received)
    }

    /// Returns the file offset of the next bytes at each place.
    pub(super) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.places().map(|place| place.offset + place.gathered.len() as u64)
    }

    fn places(&self) -> impl Iterator<Item = &PlacementBuffer> {
        self.groups.iter().flat_map(|group| &group.places)
    }

    fn places_mut(&mut self) -> impl Iterator<Item = &mut PlacementBuffer> {
        self.groups.iter_mut().flat_map(|group| &mut group.places)
    }

    /// Frames the next bytes of the blob.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let received = self.received;
        for Group { encoder, places } in &mut self.groups {
            encoder.push(bytes, |slice| {
                for place in places.iter_mut() {
                    place.append(slice, received);
                }
            });
        }
        self.received += bytes.len() as u64;
    }

    /// Skips bytes of the blob that are in the file already. Bytes gathered before become a chunk.
    pub(super) fn skip(&mut self, bytes: &[u8]) {
        self.seal();
        self.received += bytes.len() as u64;
        for Group { encoder, places } in &mut self.groups {
            let mut skipped = 0;
            encoder.push(bytes, |slice| skipped += slice.len() as u64);
            for place in places {
                place.begin_at(place.offset + skipped, self.received);
            }
        }
    }

    /// Appends the trailers after the blob and returns the remaining chunks.
    pub(super) fn finish(mut self) -> VecDeque<Chunk> {
        let received = self.received;
        for Group { encoder, places } in &mut self.groups {
            encoder.clone().finish(|slice| {
                for place in places.iter_mut() {
                    place.append(slice, received);
                }
            });
        }
        self.seal();
        self.drain()
    }

    /// Makes chunks of all gathered bytes, even if they are small.
    pub(super) fn seal(&mut self) {
        let received = self.received;
        self.places_mut().for_each(|place| place.seal(received));
    }

    /// Takes the complete chunks.
    pub(super) fn drain(&mut self) -> VecDeque<Chunk> {
        let mut chunks = VecDeque::new();
        self.places_mut().for_each(|place| chunks.append(&mut place.full));
        chunks
    }
}

impl PlacementBuffer {
    fn new(offset: u64, before: u64, (chunk_size, pool): (usize, BufferPool)) -> Self {
        let mut gathered = pool.take();
        gathered.begin_at(offset, chunk_size);
        Self { offset, gathered, before, full: VecDeque::new(), chunk_size, pool }
    }

    /// Appends bytes of the file. `before` is the number of bytes of the blob before them.
    fn append(&mut self, mut bytes: &[u8], before: u64) {
        while !bytes.is_empty() {
            if self.gathered.is_full() {
                self.seal(before);
            }
            bytes = self.gathered.fill(bytes);
        }
    }

    /// Continues at another offset. There must be no gathered bytes.
    fn begin_at(&mut self, offset: u64, before: u64) {
        self.gathered.begin_at(offset, self.chunk_size);
        (self.offset, self.before) = (offset, before);
    }

    /// Ends a chunk. `before` is the number of bytes of the blob before the next ones.
    fn seal(&mut self, before: u64) {
        if self.gathered.is_empty() {
            self.before = before;
            return;
        }
        let next = self.offset + self.gathered.len() as u64;
        let mut chunk = self.pool.take();
        chunk.begin_at(next, self.chunk_size);
        std::mem::swap(&mut chunk, &mut self.gathered);
        self.full.push_back((self.offset, chunk));
        (self.offset, self.before) = (next, before);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::gzip;

    proptest! {
        #[test]
        fn placements_hold_member_at_each_place(
            length in 0_usize..200_000,
            cuts in proptest::collection::vec((1_usize..90_000, any::<bool>()), 1..6),
            chunk_size in 4096_usize..100_000,
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let size = length as u64;
            let members = [(100, false), (300_000, true), (600_000, true)]
                .map(|(offset, nested)| Member { offset, size, nested });
            let pool = BufferPool::default();
            let mut file = vec![0; 900_000];
            // Skipped bytes were written earlier.
            for member in members {
                let mut framed = gzip::member(&content);
                if member.nested {
                    framed = gzip::member(&framed);
                }
                let start = usize::try_from(member.offset).unwrap();
                file[start..start + framed.len()].copy_from_slice(&framed);
            }
            let expected = file.clone();
            let mut placements = Placements::new(&members, (chunk_size, &pool));
            let (mut rest, mut skipped) = (&content[..], false);
            for (cut, skip) in cuts.into_iter().cycle() {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                if skip { placements.skip(now) } else { placements.append(now) }
                skipped |= skip;
                rest = later;
                if rest.is_empty() { break }
            }
            if !skipped {
                file.fill(0);
            }
            for (offset, chunk) in placements.finish() {
                let start = usize::try_from(offset).unwrap();
                file[start..start + chunk.bytes().len()].copy_from_slice(chunk.bytes());
            }
            for member in members {
                let range = member.file_range();
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                prop_assert!(file[range.clone()] == expected[range]);
            }
        }
    }
}
