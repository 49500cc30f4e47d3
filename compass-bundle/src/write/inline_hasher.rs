//! The digest of a blob, computed while its framed bytes pass on their way to the disk.

use std::io;

use compass_registry::Hasher;

use crate::Error;
use crate::format::member::{Member, MemberDecoder};

/// Hashes a blob whose member is written in order. Hashing two messages at once takes less time than
/// one after the other, so the thread that hashes the file hashes the blob as well.
pub(super) struct InlineBlobHasher {
    /// The number of the blob.
    blob: usize,
    decoder: MemberDecoder,
    hasher: Hasher,
    /// The offset of the next byte in the file.
    next: u64,
}

impl InlineBlobHasher {
    /// Creates a hasher that starts at the first byte of the member.
    pub(super) fn new(blob: usize, member: Member, hasher: Hasher) -> Self {
        Self { blob, decoder: member.decoder_without_checksum(), hasher, next: member.offset }
    }

    /// The number of the blob.
    pub(super) fn blob(&self) -> usize {
        self.blob
    }

    /// The offset of the next byte in the file.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Hashes the next bytes of the file as bytes of the blob.
    pub(super) fn update(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.next += bytes.len() as u64;
        let Self { decoder, hasher, .. } = self;
        decoder.for_each_slice(bytes, |slice| hasher.update(slice)).map_err(not_framed)
    }

    /// Hashes the next bytes as bytes of the blob and as bytes of the file.
    pub(super) fn update_with_file(&mut self, bytes: &[u8], file: &mut Hasher) -> io::Result<()> {
        self.next += bytes.len() as u64;
        let Self { decoder, hasher, .. } = self;
        let mut rest = bytes;
        let passed = decoder.for_each_slice(bytes, |slice| {
            // The file's hasher falls behind by the bytes of the framing, because `slice` excludes
            // them. They stay in `rest` and are hashed after the loop.
            let (now, later) = rest.split_at(slice.len());
            Hasher::update_pair(hasher, slice, file, now);
            rest = later;
        });
        file.update(rest);
        passed.map_err(not_framed)
    }

    /// The hasher of the blob.
    pub(super) fn into_hasher(self) -> Hasher {
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
    use crate::format::gzip;

    proptest! {
        #[test]
        fn inline_hasher_any_cuts_yields_both_digests(
            length in 0_usize..300_000, offset in 0_u64..100_000, nested: bool,
            cuts in proptest::collection::vec((1_usize..150_000, any::<bool>()), 1..6),
            algorithm in proptest::sample::select(&Algorithm::ALL[..]),
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let mut file = gzip::member(&content);
            if nested {
                file = gzip::member(&file);
            }
            let member = Member { offset, size: length as u64, nested };
            let mut inline = InlineBlobHasher::new(0, member, Hasher::new(algorithm));
            let (mut of_file, mut rest) = (Hasher::default(), &file[..]);
            for (cut, is_next) in cuts.into_iter().cycle() {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                if is_next {
                    inline.update_with_file(now, &mut of_file).unwrap();
                } else {
                    inline.update(now).unwrap();
                    of_file.update(now);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(inline.next(), offset + file.len() as u64);
            prop_assert_eq!(inline.into_hasher().finish(), algorithm.digest(&content));
            prop_assert_eq!(of_file.finish(), Digest::of(&file));
        }
    }
}
