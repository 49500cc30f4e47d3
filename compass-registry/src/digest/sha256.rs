//! SHA-256 block by block, so that two messages can be hashed at the same time.

use std::slice;

use sha2::block_api::Sha256VarCore;
use sha2::digest::array::Array;
use sha2::digest::block_api::{Block, Buffer, CtOutWrapper, FixedOutputCore as _, UpdateCore as _};
use sha2::digest::consts::U32;

/// Bytes that are fetched at once, before they are hashed.
const PREFETCH: usize = 16 * BLOCK;

/// The bytes of a block (FIPS 180-4, § 1), and of a line of memory on common processors.
const BLOCK: usize = 64;

type Core = CtOutWrapper<Sha256VarCore, U32>;

/// The state of one message.
#[derive(Debug, Clone, Default)]
pub(super) struct Sha256 {
    core: Core,
    /// Less than a block, whose rest has not come yet.
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

    /// Takes the next bytes of two messages. Within one, each round waits for the one before; a
    /// processor computes the other message in that time where their blocks alternate.
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

    /// Completes the block that has begun, and gives those that follow, and what is left behind them.
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

/// Brings memory to the processor that is hashed next. The instructions of SHA-256 wait for one
/// line after the other; reading a byte of each waits for all of them at once, which takes a third
/// off the time for memory that is in no cache, and nothing off or on for what is.
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
        fn two_messages_at_once_have_the_digests_they_have_alone(
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
