//! The places of members in a bundle, and the encoding and decoding of their content.

use std::ops::Range;

use super::gzip::{self, Deframer, Framer};
use crate::Error;

/// The place of a gzip member in a bundle.
///
/// An image archive is a gzip file itself, so its content is `nested`: it is framed as a member of
/// the archive, and that member is the content of a member of the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// The offset of the gzip header in the file.
    pub(crate) offset: u64,
    /// The size of the content in bytes.
    pub(crate) size: u64,
    pub(crate) nested: bool,
}

impl Member {
    /// The range of the file that the member occupies.
    pub(crate) fn file_range(self) -> Range<u64> {
        self.offset..self.offset.saturating_add(gzip::member_size(self.outer_size()))
    }

    /// The range of the file that holds a range of the content.
    pub(crate) fn content_range(self, range: Range<u64>) -> Range<u64> {
        let outer = self.outer_offset(range.start)..self.outer_offset(range.end);
        let start = self.offset.saturating_add(gzip::offset(outer.start));
        start..self.offset.saturating_add(gzip::offset(outer.end))
    }

    /// Creates an encoder for the whole member.
    pub(crate) fn encoder(self) -> MemberEncoder {
        let layer = |size| Layer::new(Framer::new(0, size), size);
        let inner = self.nested.then(|| layer(self.size));
        MemberEncoder { outer: layer(self.outer_size()), inner }
    }

    /// Creates a framer for the content from the byte at `position` on.
    pub(crate) fn framer_at(self, position: u64) -> ContentFramer {
        let outer = Framer::new(self.outer_offset(position), self.outer_size());
        let inner = self.nested.then(|| Framer::new(position, self.size));
        ContentFramer { outer, inner }
    }

    /// Creates a decoder for the whole member that compares its checksums.
    pub(crate) fn decoder(self) -> MemberDecoder {
        let inner = self.nested.then(|| Deframer::new(self.size));
        MemberDecoder { outer: Deframer::new(self.outer_size()), inner }
    }

    /// Creates a decoder for the whole member that compares the checksum of its content only. That
    /// of an outer member is of the same bytes.
    pub(crate) fn content_decoder(self) -> MemberDecoder {
        let decoder = self.decoder();
        match self.nested {
            true => {
                MemberDecoder { outer: Deframer::without_checksum(self.outer_size()), ..decoder }
            }
            false => decoder,
        }
    }

    /// Creates a decoder for the bytes of the file that hold content from `position` on. It does
    /// not compare checksums.
    pub(crate) fn decoder_at(self, position: u64) -> MemberDecoder {
        let outer = Deframer::at(self.outer_offset(position), self.outer_size());
        let inner = self.nested.then(|| Deframer::at(position, self.size));
        MemberDecoder { outer, inner }
    }

    /// Decodes bytes of the file that hold content from `position` on.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a block header is wrong.
    pub(crate) fn decode(self, position: u64, framed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut content = Vec::with_capacity(framed.len());
        self.decoder_at(position)
            .for_each_slice(framed, |slice| content.extend_from_slice(slice))?;
        Ok(content)
    }

    /// The size of the content of the outer member.
    fn outer_size(self) -> u64 {
        if self.nested { gzip::member_size(self.size) } else { self.size }
    }

    /// Converts a position in the content to one in the content of the outer member.
    fn outer_offset(self, position: u64) -> u64 {
        if self.nested { gzip::offset(position) } else { position }
    }
}

/// Computes the places of consecutive members.
///
/// Each blob has a member of its own; the bytes between two blobs, called a run, share one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemberCursor {
    /// The end of the last member in the file.
    offset: u64,
    /// Size in bytes of the run that follows that member.
    run: u64,
}

impl MemberCursor {
    /// The end of the last member. The caller must have ended the run.
    pub(crate) fn offset(self) -> u64 {
        self.offset
    }

    /// Adds bytes to the run.
    pub(crate) fn extend_run(&mut self, bytes: u64) {
        self.run = self.run.saturating_add(bytes);
    }

    /// Ends the run, and returns its member unless it has no bytes.
    pub(crate) fn end_run(&mut self) -> Option<Member> {
        let size = std::mem::take(&mut self.run);
        (size > 0).then(|| self.append(size, false))
    }

    /// Adds a member for `size` bytes of content. The caller must have ended the run before it.
    pub(crate) fn append(&mut self, size: u64, nested: bool) -> Member {
        let member = Member { offset: self.offset, size, nested };
        self.offset = member.file_range().end;
        member
    }
}

/// Encodes the content of a member in order.
#[derive(Debug, Clone)]
pub(crate) struct MemberEncoder {
    outer: Layer,
    inner: Option<Layer>,
}

/// A member and the checksum of its content.
#[derive(Debug, Clone)]
struct Layer {
    framer: Framer,
    crc: crc32fast::Hasher,
    size: u64,
}

impl Layer {
    fn new(framer: Framer, size: u64) -> Self {
        Self { framer, crc: crc32fast::Hasher::new(), size }
    }

    fn push(&mut self, content: &[u8], sink: impl FnMut(&[u8])) {
        self.crc.update(content);
        self.framer.for_each_slice(content, sink);
    }

    fn finish(self, mut sink: impl FnMut(&[u8])) {
        self.framer.finish(&mut sink);
        sink(&gzip::trailer(self.crc.finalize(), self.size));
    }
}

impl MemberEncoder {
    /// Passes on the headers before the content. Only for an encoder of the whole member.
    pub(crate) fn begin(&mut self, mut sink: impl FnMut(&[u8])) {
        sink(&gzip::HEADER);
        if self.inner.is_some() {
            self.outer.push(&gzip::HEADER, sink);
        }
    }

    /// Encodes the next bytes and passes the bytes of the file on in slices.
    pub(crate) fn push(&mut self, content: &[u8], mut sink: impl FnMut(&[u8])) {
        let Self { outer, inner } = self;
        match inner {
            Some(inner) => inner.push(content, |slice| outer.push(slice, &mut sink)),
            None => outer.push(content, sink),
        }
    }

    /// Passes on the trailers after the content.
    pub(crate) fn finish(self, mut sink: impl FnMut(&[u8])) {
        let Self { mut outer, inner } = self;
        if let Some(inner) = inner {
            inner.finish(|slice| outer.push(slice, &mut sink));
        }
        outer.finish(sink);
    }
}

/// Frames the content of a member from any byte on, without the headers before it and the trailers
/// after it.
#[derive(Debug, Clone)]
pub(crate) struct ContentFramer {
    outer: Framer,
    inner: Option<Framer>,
}

impl ContentFramer {
    /// Frames the next bytes and passes the bytes of the file on in slices.
    pub(crate) fn push(&mut self, content: &[u8], mut sink: impl FnMut(&[u8])) {
        let Self { outer, inner } = self;
        match inner {
            Some(inner) => {
                inner.for_each_slice(content, |slice| outer.for_each_slice(slice, &mut sink));
            }
            None => outer.for_each_slice(content, sink),
        }
    }
}

/// Decodes the bytes of a member in order.
#[derive(Debug, Clone)]
pub(crate) struct MemberDecoder {
    outer: Deframer,
    inner: Option<Deframer>,
}

impl MemberDecoder {
    /// Takes the next bytes of the file and passes the content on in slices.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the framing is wrong.
    pub(crate) fn for_each_slice(
        &mut self,
        framed: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut found = |content: &[u8]| {
            sink(content);
            Ok(())
        };
        match &mut self.inner {
            Some(inner) => {
                self.outer.for_each_slice(framed, |slice| inner.for_each_slice(slice, &mut found))
            }
            None => self.outer.for_each_slice(framed, found),
        }
    }

    /// Returns an encoder that continues after the content that was read. Only for a decoder that
    /// compares checksums.
    pub(crate) fn into_encoder(self, member: Member) -> MemberEncoder {
        let layer = |deframer: Deframer, size| {
            let (framer, crc) = deframer.into_framer();
            Layer { framer, crc, size }
        };
        let inner = self.inner.map(|inner| layer(inner, member.size));
        MemberEncoder { outer: layer(self.outer, member.outer_size()), inner }
    }

    /// Checks that the member is complete.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the member is cut off, or a compared checksum is wrong.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.inner.map_or(Ok(()), Deframer::finish)?;
        self.outer.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(member: Member, content: &[u8]) -> Vec<u8> {
        let (mut encoder, mut framed) = (member.encoder(), Vec::new());
        encoder.begin(|slice| framed.extend_from_slice(slice));
        for chunk in content.chunks(50_000) {
            encoder.push(chunk, |slice| framed.extend_from_slice(slice));
        }
        encoder.finish(|slice| framed.extend_from_slice(slice));
        framed
    }

    proptest! {
        #[test]
        fn encoder_output_depends_on_content_only(
            length in 0_usize..200_000, offset: u32,
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let size = length as u64;
            let once = Member { offset: offset.into(), size, nested: false };
            let twice = Member { nested: true, ..once };
            prop_assert_eq!(encoded(once, &content), gzip::member(&content));
            let framed = encoded(twice, &content);
            prop_assert_eq!(&framed, &gzip::member(&gzip::member(&content)));
            let range = twice.file_range();
            prop_assert_eq!(range.end - range.start, framed.len() as u64);
        }

        #[test]
        fn decoder_any_range_yields_content(
            length in 1_usize..300_000, from in 0_usize..300_000, count in 0_usize..300_000,
            nested: bool,
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let member = Member { offset: 0, size: length as u64, nested };
            let framed = encoded(member, &content);
            let from = from % length;
            let to = from + count % (length - from + 1);
            let range = member.content_range(from as u64..to as u64);
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            let decoded = member.decode(from as u64, &framed[range]).unwrap();
            prop_assert_eq!(&decoded[..], &content[from..to]);

            let (mut decoder, mut whole) = (member.decoder(), Vec::new());
            for chunk in framed.chunks(70_001) {
                decoder.for_each_slice(chunk, |slice| whole.extend_from_slice(slice)).unwrap();
            }
            decoder.finish().unwrap();
            prop_assert_eq!(whole, content);
        }
    }
}
