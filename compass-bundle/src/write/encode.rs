//! Turns the contents of a plan's segments into bytes of the file, in any order.

use std::ops::Deref;

use compass_registry::Digest;

use crate::Error;
use crate::frame::{self, Framer};
use crate::plan::{BundlePlan, Content, Segment};
use crate::read::frames::Frames;

/// Encodes one segment, from its beginning to its end.
#[derive(Clone)]
pub(crate) struct SegmentEncoder {
    outer: Framer,
    outer_crc: crc32fast::Hasher,
    nested: Option<(Framer, crc32fast::Hasher)>,
}

/// The checksums of a segment that has been encoded.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    outer: crc32fast::Hasher,
    inner: Option<crc32fast::Hasher>,
}

impl SegmentEncoder {
    pub(crate) fn new(plan: &BundlePlan, segment: &Segment) -> Self {
        Self::at(Frames::of(plan, segment.archive), segment.position)
    }

    /// Begins at this byte of the tar that the frames are around.
    pub(crate) fn at(frames: Frames, position: u64) -> Self {
        let (outer, nested) = frames.framers(position);
        let nested = nested.map(|framer| (framer, crc32fast::Hasher::new()));
        Self { outer, outer_crc: crc32fast::Hasher::new(), nested }
    }

    /// Encodes the next bytes, and hands out the bytes of the file in pieces.
    pub(crate) fn push(&mut self, bytes: &[u8], mut file: impl FnMut(&[u8])) {
        let Self { outer, outer_crc, nested } = self;
        let mut tar = |bytes: &[u8]| {
            outer_crc.update(bytes);
            outer.pieces(bytes, &mut file);
        };
        match nested {
            Some((inner, crc)) => {
                crc.update(bytes);
                inner.pieces(bytes, tar);
            }
            None => tar(bytes),
        }
    }

    pub(crate) fn finish(self) -> Sums {
        Sums { outer: self.outer_crc, inner: self.nested.map(|(_, crc)| crc) }
    }
}

impl Sums {
    pub(crate) fn new(outer: crc32fast::Hasher, inner: Option<crc32fast::Hasher>) -> Self {
        Self { outer, inner }
    }
}

/// The checksums of all segments, as they become known.
pub(crate) struct Checksums<P> {
    plan: P,
    known: Vec<Option<Sums>>,
}

impl<P: Deref<Target = BundlePlan>> Checksums<P> {
    pub(crate) fn new(plan: P) -> Self {
        Self { known: vec![None; plan.segments().len()], plan }
    }

    pub(crate) fn add(&mut self, segment: usize, sums: Sums) {
        self.known[segment] = Some(sums);
    }

    /// Encodes a segment that needs no blob, and takes its checksums. The trailer of an archive
    /// comes after everything in it.
    pub(crate) fn encode_known(&mut self, number: usize) -> Option<Vec<u8>> {
        let segment = &self.plan.segments()[number];
        let trailer;
        let bytes = match &segment.content {
            Content::Bytes(bytes) => &bytes[..],
            // Plans without the bytes are refused before anything is written.
            Content::File(number) => self.plan.files()[*number].bytes.as_deref()?,
            Content::Trailer(archive) => {
                trailer = self.archive_trailer(*archive);
                &trailer
            }
            Content::Blob(_) => return None,
        };
        let mut encoder = SegmentEncoder::new(&self.plan, segment);
        let mut file = Vec::new();
        encoder.push(bytes, |piece| file.extend_from_slice(piece));
        self.add(number, encoder.finish());
        Some(file)
    }

    pub(crate) fn archive_trailer(&self, archive: usize) -> [u8; 8] {
        let archive = &self.plan.archives()[archive];
        let own = self.known[archive.segments.clone()].iter();
        let crc = combined(own.filter_map(|sums| sums.as_ref()?.inner.as_ref()));
        frame::trailer(crc, archive.length)
    }

    /// The trailer of the file.
    pub(crate) fn file_trailer(&self) -> [u8; 8] {
        let crc = combined(self.known.iter().flatten().map(|sums| &sums.outer));
        frame::trailer(crc, self.plan.length())
    }
}

fn combined<'s>(sums: impl Iterator<Item = &'s crc32fast::Hasher>) -> u32 {
    let mut whole = crc32fast::Hasher::new();
    sums.for_each(|part| whole.combine(part));
    whole.finalize()
}

impl BundlePlan {
    /// Whether the small files are at hand: those of a plan that came from a bundle are not.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where one is missing.
    pub(crate) fn require_bytes(&self) -> Result<(), Error> {
        match self.files().iter().find(|file| file.bytes.is_none()) {
            None => Ok(()),
            Some(file) => {
                let message =
                    format!("the plan has no bytes of {}: it came from a bundle", file.path);
                Err(Error::InvalidInput(message))
            }
        }
    }

    /// What tells this plan from every other: the digest of the document, which names everything.
    pub(crate) fn fingerprint(&self) -> Digest {
        Digest::of(&self.document().to_bytes())
    }
}
