//! Gzip members made of stored blocks (RFC 1951, § 3.2.4; RFC 1952).
//!
//! The size of such a member follows from the size of its content.
//!
//! ```text
//! header (10) | block header (5) | up to 65,535 bytes | block header (5) | … | CRC-32 (4) | length (4)
//! ```

use crate::Error;

/// The header of a member: no time, no name, unknown operating system.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Bytes of the CRC-32 and the length that end a member.
pub(crate) const TRAILER: u64 = 8;

/// The maximum content of a stored block in bytes.
const BLOCK: u64 = 65_535;

/// Bytes of the header of a stored block.
pub(crate) const BLOCK_HEADER: u64 = 5;

/// The offset in a member at which the framed form of a content byte begins.
///
/// This is the header of its block if the byte is the first one of a block. The content bytes `a..b`
/// occupy `offset(a)..offset(b)` of the member.
pub(crate) const fn offset(position: u64) -> u64 {
    let headers = (HEADER.len() as u64).saturating_add(BLOCK_HEADER * position.div_ceil(BLOCK));
    headers.saturating_add(position)
}

/// The size of a member with this many bytes of content.
pub(crate) const fn member_size(length: u64) -> u64 {
    // A member without content still has one block, the final one.
    let empty_block = if length == 0 { BLOCK_HEADER } else { 0 };
    offset(length).saturating_add(empty_block + TRAILER)
}

/// The member that holds these bytes.
pub(crate) fn member(content: &[u8]) -> Vec<u8> {
    let length = content.len() as u64;
    let capacity = usize::try_from(member_size(length)).unwrap_or_default();
    let mut member = Vec::with_capacity(capacity);
    member.extend_from_slice(&HEADER);
    let mut framer = Framer::new(0, length);
    framer.for_each_slice(content, |slice| member.extend_from_slice(slice));
    framer.finish(|slice| member.extend_from_slice(slice));
    member.extend_from_slice(&trailer(crc32fast::hash(content), length));
    member
}

/// The trailer of a member.
pub(crate) fn trailer(crc: u32, length: u64) -> [u8; 8] {
    // RFC 1952, § 2.3.1: the length modulo 2^32.
    #[expect(clippy::cast_possible_truncation)]
    let length = length as u32;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes[4..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The header of the block that begins at `position` of `total` bytes of content.
fn block_header(position: u64, total: u64) -> [u8; 5] {
    let remaining = total.saturating_sub(position);
    let length = u16::try_from(remaining.min(BLOCK)).unwrap_or(u16::MAX);
    let [low, high] = length.to_le_bytes();
    [u8::from(remaining <= BLOCK), low, high, !low, !high]
}

/// Inserts block headers into the content of a member, starting at any content byte.
#[derive(Debug, Clone)]
pub(crate) struct Framer {
    position: u64,
    total: u64,
}

impl Framer {
    /// Creates a framer that starts at `position` of `total` bytes of content.
    pub(crate) fn new(position: u64, total: u64) -> Self {
        Self { position, total }
    }

    /// Frames the next content bytes and passes the framed bytes on in slices.
    pub(crate) fn for_each_slice(&mut self, mut content: &[u8], mut sink: impl FnMut(&[u8])) {
        while !content.is_empty() {
            if self.position.is_multiple_of(BLOCK) {
                sink(&block_header(self.position, self.total));
            }
            let left = usize::try_from(BLOCK - self.position % BLOCK).unwrap_or(usize::MAX);
            let (now, later) = content.split_at(left.min(content.len()));
            sink(now);
            self.position += now.len() as u64;
            content = later;
        }
    }

    /// Passes on the empty block of a member without content. Other members need no final call.
    pub(crate) fn finish(&self, mut sink: impl FnMut(&[u8])) {
        if self.total == 0 {
            sink(&block_header(0, 0));
        }
    }
}

/// Extracts the content of a member and checks its headers; with [`Self::new`] also its trailer.
#[derive(Debug, Clone)]
pub(crate) struct Deframer {
    position: u64,
    total: u64,
    /// The part of the member that contains the next byte.
    part: Part,
    /// Number of bytes of that part that were read, unless it is content.
    read: usize,
    trailer: [u8; 8],
    /// The checksum of the content; `None` if the trailer is not compared.
    crc: Option<crc32fast::Hasher>,
}

/// A part of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    BlockHeader,
    Content,
    Trailer,
}

impl Deframer {
    /// Creates a deframer for a whole member that compares the checksum.
    ///
    /// `total` is the size of the content in bytes.
    pub(crate) fn new(total: u64) -> Self {
        Self { crc: Some(crc32fast::Hasher::new()), ..Self::without_checksum(total) }
    }

    /// Creates a deframer for a whole member that does not compare the checksum.
    ///
    /// Use it for content that is verified by a digest. `total` is the size of the content in
    /// bytes.
    pub(crate) fn without_checksum(total: u64) -> Self {
        let part = Part::Header;
        Self { position: 0, total, part, read: 0, trailer: [0; 8], crc: None }
    }

    /// Creates a deframer for the part of a member from [`offset`]`(position)` on. `total` is the
    /// size of the content in bytes.
    pub(crate) fn at(position: u64, total: u64) -> Self {
        let mut deframer = Self { position, ..Self::without_checksum(total) };
        deframer.part = deframer.next_part();
        deframer
    }

    /// Takes the next bytes of the member and passes the content on in slices.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the framing is wrong; the errors of `sink`.
    pub(crate) fn for_each_slice(
        &mut self,
        mut framed: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while !framed.is_empty() {
            let taken = match self.part {
                Part::Header => self.expect(framed, &HEADER, "the gzip header is damaged")?,
                Part::BlockHeader => {
                    let expected = block_header(self.position, self.total);
                    let reason = "the header of a gzip block is damaged: the file was cut off or \
                                  changed";
                    self.expect(framed, &expected, reason)?
                }
                Part::Content => {
                    let block = (BLOCK - self.position % BLOCK).min(self.total - self.position);
                    let left = usize::try_from(block).unwrap_or(usize::MAX);
                    let slice = &framed[..left.min(framed.len())];
                    if let Some(crc) = &mut self.crc {
                        crc.update(slice);
                    }
                    sink(slice)?;
                    self.position += slice.len() as u64;
                    if slice.len() == left {
                        self.part = self.next_part();
                    }
                    slice.len()
                }
                Part::Trailer => self.collect_trailer(framed)?,
            };
            framed = &framed[taken..];
        }
        Ok(())
    }

    /// Checks that the member is complete; with [`Self::new`] also that its trailer matches the
    /// content.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a check fails.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.part != Part::Trailer || self.read < self.trailer.len() {
            return Err(Error::damaged("the gzip member is cut off"));
        }
        let Some(crc) = self.crc else { return Ok(()) };
        if trailer(crc.finalize(), self.total) != self.trailer {
            return Err(Error::damaged("the gzip checksum is not that of the content"));
        }
        Ok(())
    }

    /// Returns a framer that continues after the content that was read, and the checksum of that
    /// content.
    ///
    /// The checksum is that of no bytes if the deframer does not compare it.
    pub(super) fn into_framer(self) -> (Framer, crc32fast::Hasher) {
        (Framer::new(self.position, self.total), self.crc.unwrap_or_default())
    }

    /// Compares bytes with the rest of the current part; returns how many of them belong to it.
    fn expect(
        &mut self,
        framed: &[u8],
        expected: &[u8],
        reason: &'static str,
    ) -> Result<usize, Error> {
        let expected_rest = &expected[self.read..];
        let count = framed.len().min(expected_rest.len());
        if framed[..count] != expected_rest[..count] {
            return Err(Error::damaged(reason));
        }
        self.read += count;
        if self.read == expected.len() {
            self.read = 0;
            self.part = match self.part {
                Part::Header => Part::BlockHeader,
                _ if self.total == 0 => Part::Trailer,
                _ => Part::Content,
            };
        }
        Ok(count)
    }

    fn collect_trailer(&mut self, framed: &[u8]) -> Result<usize, Error> {
        let count = framed.len().min(self.trailer.len() - self.read);
        if count == 0 {
            return Err(Error::damaged("bytes follow the end of a gzip member"));
        }
        self.trailer[self.read..][..count].copy_from_slice(&framed[..count]);
        self.read += count;
        Ok(count)
    }

    /// Returns the part that follows at the current position.
    fn next_part(&self) -> Part {
        match self.position {
            end if end == self.total && self.total > 0 => Part::Trailer,
            start if start.is_multiple_of(BLOCK) => Part::BlockHeader,
            _ => Part::Content,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
    }

    fn read(mut deframer: Deframer, framed: &[u8], chunk: usize) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        for chunk in framed.chunks(chunk) {
            deframer.for_each_slice(chunk, |slice| {
                content.extend_from_slice(slice);
                Ok(())
            })?;
        }
        deframer.finish()?;
        Ok(content)
    }

    #[test]
    fn member_size_matches_written_bytes() {
        for length in [0, 1, 65_534, 65_535, 65_536, 131_070, 131_071] {
            let member = member(&content(length));
            assert_eq!(member.len() as u64, member_size(length as u64));
            let blocks = length.div_ceil(65_535).max(1);
            assert_eq!(member.len(), 18 + length + 5 * blocks);
        }
    }

    #[test]
    fn member_without_content_is_gzip() {
        let mut read = Vec::new();
        let framed = [member(b""), member(b"abc")].concat();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&framed[..]), &mut read)
            .unwrap();
        assert_eq!(read, b"abc");
    }

    proptest! {
        #[test]
        fn deframer_any_offset_yields_rest(
            length in 0_usize..300_000, from in 0_usize..300_000, chunk in 1_usize..70_000,
        ) {
            let content = content(length);
            let member = member(&content);
            let whole = read(Deframer::new(length as u64), &member, chunk).unwrap();
            prop_assert_eq!(&whole, &content);

            let from = from % (length + 1);
            let start = usize::try_from(offset(from as u64)).unwrap();
            let rest = read(Deframer::at(from as u64, length as u64), &member[start..], chunk);
            prop_assert_eq!(&rest.unwrap()[..], &content[from..]);
        }

        #[test]
        fn deframer_flipped_bit_is_error(
            length in 0_usize..200_000, byte in 0_usize..200_100, bit in 0_u8..8,
        ) {
            let mut member = member(&content(length));
            let byte = byte % member.len();
            member[byte] ^= 1 << bit;
            prop_assert!(read(Deframer::new(length as u64), &member, 4096).is_err());
        }

        #[test]
        fn deframer_cut_member_is_error(length in 0_usize..70_000, cut in 1_usize..70_000) {
            let member = member(&content(length));
            let end = member.len() - 1 - cut % member.len();
            prop_assert!(read(Deframer::new(length as u64), &member[..end], 4096).is_err());
        }
    }
}
