//! The digest of a blob that passes on its way to the disk.

use std::io;

use compass_registry::Hasher;

use crate::Error;
use crate::read::frames::FramesOff;

/// A blob whose bytes come in order, in frames. Whoever has the bytes at hand hashes the file and the
/// blob in one go, which takes less time than one after the other.
pub(crate) struct Passing {
    /// Its number.
    blob: usize,
    frames: FramesOff,
    hasher: Hasher,
    /// Where its next byte goes.
    next: u64,
}

impl Passing {
    /// Begins with the first byte of the blob, which goes to `start` of the file.
    pub(crate) fn new(blob: usize, (frames, start): (FramesOff, u64), hasher: Hasher) -> Self {
        Self { blob, frames, hasher, next: start }
    }

    /// The number of the blob.
    pub(crate) fn blob(&self) -> usize {
        self.blob
    }

    /// Where its next byte goes.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Hashes the next bytes of the file as bytes of the blob.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.next += bytes.len() as u64;
        let Self { frames, hasher, .. } = self;
        frames.pieces(bytes, |piece| hasher.update(piece)).map_err(not_framed)
    }

    /// Hashes the next bytes of the file as such as well.
    pub(crate) fn pass_with(&mut self, bytes: &[u8], file: &mut Hasher) -> io::Result<()> {
        self.next += bytes.len() as u64;
        let Self { frames, hasher, .. } = self;
        let mut rest = bytes;
        let passed = frames.pieces(bytes, |piece| {
            // The file lags behind by the frames, which changes nothing.
            let (now, later) = rest.split_at(piece.len());
            Hasher::update_pair(hasher, piece, file, now);
            rest = later;
        });
        file.update(rest);
        passed.map_err(not_framed)
    }

    /// What has been computed.
    pub(crate) fn into_hasher(self) -> Hasher {
        self.hasher
    }
}

fn not_framed(error: Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use compass_registry::{Algorithm, Digest};
    use proptest::prelude::*;

    use super::*;
    use crate::read::frames::Frames;
    use crate::write::encode::SegmentEncoder;

    proptest! {
        #[test]
        fn both_digests_are_right_wherever_chunks_end(
            length in 1_usize..300_000, position in 0_u64..100_000, start in 0_u64..100_000,
            cuts in proptest::collection::vec((1_usize..150_000, any::<bool>()), 1..6),
            is_nested: bool, algorithm in proptest::sample::select(&Algorithm::ALL[..]),
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let frames = Frames::outer(1_000_000);
            let frames = if is_nested { frames.nested(start, 500_000) } else { frames };
            let mut file = Vec::new();
            let mut encoder = SegmentEncoder::at(frames, position);
            encoder.push(&content, |piece| file.extend_from_slice(piece));

            let begun = (frames.unframer(position), start);
            let mut passing = Passing::new(0, begun, Hasher::new(algorithm));
            let (mut of_file, mut rest) = (Hasher::default(), &file[..]);
            for (cut, is_next) in cuts.into_iter().cycle() {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                if is_next {
                    passing.pass_with(now, &mut of_file).unwrap();
                } else {
                    passing.pass(now).unwrap();
                    of_file.update(now);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(passing.next(), start + file.len() as u64);
            prop_assert_eq!(passing.into_hasher().finish(), algorithm.digest(&content));
            prop_assert_eq!(of_file.finish(), Digest::of(&file));
        }
    }
}
