//! SHA-256 by blocks, so that two messages can be hashed at the same time.

use std::slice;

use sha2::block_api::Sha256VarCore;
use sha2::digest::array::Array;
use sha2::digest::block_api::{Block, Buffer, CtOutWrapper, FixedOutputCore as _, UpdateCore as _};
use sha2::digest::consts::U32;

/// Bytes that are loaded into the CPU cache before they are hashed.
const PREFETCH: usize = 16 * BLOCK;

/// The size of a block (FIPS 180-4, § 1), and of a cache line on common processors.
const BLOCK: usize = 64;

type Core = CtOutWrapper<Sha256VarCore, U32>;

/// The hash state of one message.
#[derive(Debug, Clone, Default)]
pub(super) struct Sha256 {
    core: Core,
    /// The incomplete last block.
    buffer: Buffer<Core>,
}

impl Sha256 {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let Self { core, buffer } = self;
        for piece in bytes.chunks(PREFETCH) {
            prefetch(piece);
            buffer.digest_blocks(piece, |blocks| core.update_blocks(blocks));
        }
    }

    /// Hashes two messages with alternating blocks. Each round of SHA-256 depends on the one
    /// before, so the processor can compute a round of the other message in the meantime.
    pub(super) fn update_pair(first: &mut Self, bytes: &[u8], second: &mut Self, others: &[u8]) {
        let (blocks, rest) = first.whole_blocks(bytes);
        let (other_blocks, other_rest) = second.whole_blocks(others);
        let pieces = blocks.chunks(PREFETCH / BLOCK).zip(other_blocks.chunks(PREFETCH / BLOCK));
        for (blocks, others) in pieces {
            prefetch(Array::slice_as_flattened(blocks));
            prefetch(Array::slice_as_flattened(others));
            for (block, other) in blocks.iter().zip(others) {
                first.core.update_blocks(slice::from_ref(block));
                second.core.update_blocks(slice::from_ref(other));
            }
        }
        let both = blocks.len().min(other_blocks.len());
        first.core.update_blocks(&blocks[both..]);
        second.core.update_blocks(&other_blocks[both..]);
        first.update(rest);
        second.update(other_rest);
    }

    /// Completes the current block, and splits the rest into whole blocks and a remainder.
    fn whole_blocks<'b>(&mut self, bytes: &'b [u8]) -> (&'b [Block<Core>], &'b [u8]) {
        let missing = match self.buffer.get_pos() {
            0 => 0,
            _ => self.buffer.remaining(),
        };
        let (head, bytes) = bytes.split_at(missing.min(bytes.len()));
        self.update(head);
        Array::slice_as_chunks(bytes)
    }

    pub(super) fn finish(mut self) -> [u8; 32] {
        let mut digest = Array::default();
        self.core.finalize_fixed_core(&mut self.buffer, &mut digest);
        digest.into()
    }
}

/// Loads memory into the CPU cache. The SHA-256 instructions wait for one cache line after the
/// other, whereas reading a byte of each line loads all of them in parallel. For uncached memory,
/// this saves a third of the time; for cached memory, the overhead is not measurable.
fn prefetch(bytes: &[u8]) {
    let sum = bytes.iter().step_by(BLOCK).fold(0_u8, |sum, byte| sum ^ byte);
    std::hint::black_box(sum);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(message: &[u8]) -> [u8; 32] {
        use sha2::Digest as _;
        sha2::Sha256::digest(message).into()
    }

    proptest! {
        #[test]
        fn update_pair_equals_separate_updates(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..400),
                 proptest::collection::vec(any::<u8>(), 0..400)),
                0..6,
            ),
        ) {
            let (mut one, mut two) = (Sha256::default(), Sha256::default());
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for (bytes, other) in &pieces {
                Sha256::update_pair(&mut one, bytes, &mut two, other);
                first.extend_from_slice(bytes);
                second.extend_from_slice(other);
            }
            prop_assert_eq!(one.finish(), expected(&first));
            prop_assert_eq!(two.finish(), expected(&second));
        }
    }
}
