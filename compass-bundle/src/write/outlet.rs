//! Bytes of one blob, encoded and gathered for all their places in the file.

use std::collections::VecDeque;

use compass_registry::direct_io::AlignedBuffer;

use super::disk::Pool;
use super::encode::{SegmentEncoder, Sums};

/// Bytes for an offset of the file.
pub(super) type Chunk = (u64, AlignedBuffer);

/// All places of a blob, from one of its bytes on.
pub(super) struct Outlets {
    places: Vec<(SegmentEncoder, Gathering)>,
    /// How many bytes of the blob have come.
    received: u64,
}

/// Bytes of one place, gathered for the disk.
struct Gathering {
    /// Where the gathered bytes begin in the file.
    offset: u64,
    gathered: AlignedBuffer,
    /// Bytes of the blob of which nothing is among the gathered ones.
    before: u64,
    /// Chunks that are complete.
    full: VecDeque<Chunk>,
    chunk: usize,
    pool: Pool,
}

impl Outlets {
    /// Begins after so many bytes of the blob: with an encoder, and an offset in the file, for each
    /// place. `chunk` bytes are gathered.
    pub(super) fn new(
        received: u64,
        places: impl Iterator<Item = (SegmentEncoder, u64)>,
        (chunk, pool): (usize, &Pool),
    ) -> Self {
        let places = places.map(|(encoder, offset)| {
            let mut gathered = pool.take();
            gathered.begin_at(offset, chunk);
            let (before, full, pool) = (received, VecDeque::new(), pool.clone());
            (encoder, Gathering { offset, gathered, before, full, chunk, pool })
        });
        Self { places: places.collect(), received }
    }

    /// How many bytes of the blob have come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The bytes of the blob of which nothing is here any more.
    pub(super) fn handed_over(&self) -> u64 {
        let places = self.places.iter().map(|(_, place)| place.before);
        places.min().unwrap_or(self.received)
    }

    /// Where the next bytes go, in each place.
    pub(super) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.places.iter().map(|(_, place)| place.offset + place.gathered.len() as u64)
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for (encoder, place) in &mut self.places {
            encoder.push(bytes, |piece| place.gather(piece, self.received));
        }
        self.received += bytes.len() as u64;
    }

    /// Takes bytes that stand in the file already. What was gathered before becomes a chunk.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.complete();
        self.received += bytes.len() as u64;
        for (encoder, place) in &mut self.places {
            let mut passed = 0;
            encoder.push(bytes, |piece| passed += piece.len() as u64);
            place.begin_at(place.offset + passed, self.received);
        }
    }

    /// Makes chunks of what has been gathered, however little it is.
    pub(super) fn complete(&mut self) {
        for (_, place) in &mut self.places {
            place.complete(self.received);
        }
    }

    /// Chunks that are complete.
    pub(super) fn take(&mut self) -> VecDeque<Chunk> {
        let mut chunks = VecDeque::new();
        for (_, place) in &mut self.places {
            chunks.append(&mut place.full);
        }
        chunks
    }

    /// The checksums of all places.
    pub(super) fn finish(self) -> impl Iterator<Item = Sums> {
        self.places.into_iter().map(|(encoder, _)| encoder.finish())
    }
}

impl Gathering {
    /// Takes bytes of the file. They come from those of the blob after the first `before` ones.
    fn gather(&mut self, mut bytes: &[u8], before: u64) {
        while !bytes.is_empty() {
            if self.gathered.is_full() {
                self.complete(before);
            }
            bytes = self.gathered.fill(bytes);
        }
    }

    /// Begins anew where nothing is gathered.
    fn begin_at(&mut self, offset: u64, before: u64) {
        self.gathered.begin_at(offset, self.chunk);
        (self.offset, self.before) = (offset, before);
    }

    /// Ends a chunk. What is gathered from now on comes from bytes after the first `before` ones.
    fn complete(&mut self, before: u64) {
        if self.gathered.is_empty() {
            self.before = before;
            return;
        }
        let next = self.offset + self.gathered.len() as u64;
        let mut chunk = self.pool.take();
        chunk.begin_at(next, self.chunk);
        std::mem::swap(&mut chunk, &mut self.gathered);
        self.full.push_back((self.offset, chunk));
        (self.offset, self.before) = (next, before);
    }
}
