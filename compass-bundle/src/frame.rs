//! Gzip made of stored blocks (RFC 1951, § 3.2.4; RFC 1952): every offset is arithmetic.
//!
//! ```text
//! header (10) | block header (5) | up to 65,535 bytes | block header (5) | … | CRC-32 (4) | length (4)
//! ```

use crate::Error;

/// A gzip header without time, name and operating system.
pub const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Bytes of the CRC-32 and the length that end a gzip member.
pub const TRAILER: u64 = 8;

/// The most that a stored block can hold.
const BLOCK: u64 = 65_535;

/// Bytes that stand before each block.
pub(crate) const BLOCK_HEADER: u64 = 5;

/// Where the framing of the byte at `position` begins: at its block's header for the first byte of
/// a block, else at the byte itself. So the bytes `a..b` take `offset(a)..offset(b)` when framed.
pub const fn offset(position: u64) -> u64 {
    let headers = (HEADER.len() as u64).saturating_add(BLOCK_HEADER * position.div_ceil(BLOCK));
    headers.saturating_add(position)
}

/// The size of `length` bytes when framed.
pub const fn framed_size(length: u64) -> u64 {
    // Nothing still needs one block, the final one.
    let blocks = if length == 0 { BLOCK_HEADER } else { 0 };
    offset(length).saturating_add(blocks + TRAILER)
}

/// How many bytes a frame of this size holds; nothing where no frame has this size.
pub fn unframed_size(framed: u64) -> Option<u64> {
    let blocks_and_bytes = framed.checked_sub(HEADER.len() as u64 + TRAILER)?;
    let blocks = blocks_and_bytes.div_ceil(BLOCK + BLOCK_HEADER);
    let length = blocks_and_bytes.checked_sub(blocks * BLOCK_HEADER)?;
    (framed_size(length) == framed).then_some(length)
}

/// The trailer of a member.
pub fn trailer(crc: u32, length: u64) -> [u8; 8] {
    // RFC 1952: the length modulo 2^32.
    #[expect(clippy::cast_possible_truncation)]
    let length = length as u32;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes[4..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The header of the block that begins at `position` of `total` bytes.
fn block_header(position: u64, total: u64) -> [u8; 5] {
    let remaining = total.saturating_sub(position);
    let length = u16::try_from(remaining.min(BLOCK)).unwrap_or(u16::MAX);
    let [low, high] = length.to_le_bytes();
    [u8::from(remaining <= BLOCK), low, high, !low, !high]
}

/// Frames bytes in order, beginning anywhere.
#[derive(Debug, Clone)]
pub struct Framer {
    position: u64,
    total: u64,
}

/// Takes framed bytes apart in order, beginning anywhere, and checks the framing.
#[derive(Debug, Clone)]
pub struct Unframer {
    position: u64,
    total: u64,
    /// Bytes of the present block's header that were seen already.
    header_seen: usize,
}

impl Framer {
    /// Begins at `position` of `total` bytes.
    pub fn new(position: u64, total: u64) -> Self {
        Self { position, total }
    }

    /// Frames the next bytes, and appends them to `framed`.
    pub fn push(&mut self, bytes: &[u8], framed: &mut Vec<u8>) {
        self.pieces(bytes, |piece| framed.extend_from_slice(piece));
    }

    /// Frames the next bytes, and hands out what comes of them: headers of blocks, and parts of the
    /// bytes themselves.
    pub fn pieces(&mut self, mut bytes: &[u8], mut piece: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.position.is_multiple_of(BLOCK) {
                piece(&block_header(self.position, self.total));
            }
            let room = usize::try_from(BLOCK - self.position % BLOCK).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            piece(now);
            self.position += now.len() as u64;
            bytes = later;
        }
    }
}

impl Unframer {
    /// Begins at [`offset`]`(position)` of the frame of `total` bytes.
    pub fn new(position: u64, total: u64) -> Self {
        Self { position, total, header_seen: 0 }
    }

    /// Takes the next framed bytes, and appends what they hold to `bytes`.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a block's header is not what it must be.
    pub fn push(&mut self, framed: &[u8], bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.pieces(framed, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
    }

    /// Takes the next framed bytes, and hands out what they hold, where it stands.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a block's header is not what it must be; errors of `piece`.
    pub fn pieces(
        &mut self,
        mut framed: &[u8],
        mut piece: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while !framed.is_empty() {
            let room = usize::try_from(BLOCK - self.position % BLOCK).unwrap_or(usize::MAX);
            if self.position.is_multiple_of(BLOCK) && self.header_seen < 5 {
                let expected = block_header(self.position, self.total);
                let count = framed.len().min(5 - self.header_seen);
                if framed[..count] != expected[self.header_seen..][..count] {
                    return Err(Error::damaged(
                        "the header of a gzip block is wrong: it was cut off, or changed",
                    ));
                }
                self.header_seen += count;
                framed = &framed[count..];
                continue;
            }
            let (now, later) = framed.split_at(room.min(framed.len()));
            piece(now)?;
            self.position += now.len() as u64;
            self.header_seen = 0;
            framed = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut framed = HEADER.to_vec();
        let mut framer = Framer::new(0, bytes.len() as u64);
        let mut rest = bytes;
        for cut in cuts {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            framer.push(now, &mut framed);
            rest = later;
        }
        framer.push(rest, &mut framed);
        framed.extend(trailer(crc32fast::hash(bytes), bytes.len() as u64));
        framed
    }

    proptest! {
        #[test]
        fn any_part_stands_where_the_arithmetic_says(
            length in 1_usize..300_000, from in 0_usize..300_000, cut in 1_usize..70_000,
        ) {
            let bytes: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
            let framed = frame(&bytes, &[cut, 65_535]);
            prop_assert_eq!(framed.len() as u64, framed_size(length as u64));
            prop_assert_eq!(unframed_size(framed.len() as u64), Some(length as u64));

            let from = from % length;
            let part = &framed[usize::try_from(offset(from as u64)).unwrap()..framed.len() - 8];
            let mut back = Vec::new();
            let mut unframer = Unframer::new(from as u64, length as u64);
            for chunk in part.chunks(cut) {
                unframer.push(chunk, &mut back).unwrap();
            }
            prop_assert_eq!(&back[..], &bytes[from..]);
        }

        #[test]
        fn a_damaged_block_header_is_found(byte in 10_usize..15, bit in 0_u8..8) {
            let mut framed = frame(b"some bytes", &[]);
            framed[byte] ^= 1 << bit;
            let end = framed.len() - 8;
            prop_assert!(Unframer::new(0, 10).push(&framed[10..end], &mut Vec::new()).is_err());
        }
    }
}
