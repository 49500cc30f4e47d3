//! Where the bytes of a tar stand in the file, and how the frames come off.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::Error;
use crate::frame::{self, Framer, Unframer};
use crate::plan::BundlePlan;
use crate::write::encode::SegmentEncoder;

/// The frames around a tar: those of the file, and of an image archive in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames {
    length: u64,
    nested: Option<(u64, u64)>,
}

impl Frames {
    /// The tar of a bundle, which has this length.
    pub(crate) fn outer(length: u64) -> Self {
        Self { length, nested: None }
    }

    /// The tar of an image archive: its gzip begins at `start` of the bundle's tar.
    pub(crate) fn nested(self, start: u64, length: u64) -> Self {
        Self { nested: Some((start, length)), ..self }
    }

    /// The frames around a segment of a plan.
    pub(crate) fn of(plan: &BundlePlan, archive: Option<usize>) -> Self {
        let nested = archive.map(|archive| {
            let archive = &plan.archives()[archive];
            (archive.start, archive.length)
        });
        Self { length: plan.length(), nested }
    }

    /// The length of the tar.
    pub(crate) fn length(self) -> u64 {
        self.nested.map_or(self.length, |(_, length)| length)
    }

    /// The bytes of the file that hold these bytes of the tar.
    pub(crate) fn file_range(self, range: Range<u64>) -> Range<u64> {
        let outer = self.outer_range(range);
        frame::offset(outer.start)..frame::offset(outer.end)
    }

    fn outer_range(self, range: Range<u64>) -> Range<u64> {
        match self.nested {
            None => range,
            Some((start, _)) => {
                start + frame::offset(range.start)..start + frame::offset(range.end)
            }
        }
    }

    /// What puts the frames around bytes in order, from this byte of the tar on: the outer one, and
    /// the inner one where there are two.
    pub(crate) fn framers(self, position: u64) -> (Framer, Option<Framer>) {
        let outer = Framer::new(self.outer_range(position..position).start, self.length);
        (outer, self.nested.map(|(_, length)| Framer::new(position, length)))
    }

    /// Takes the frames off bytes in order, from this byte of the tar on.
    pub(crate) fn unframer(self, position: u64) -> FramesOff {
        let outer = Unframer::new(self.outer_range(position..position).start, self.length);
        let inner = self.nested.map(|(_, length)| Unframer::new(position, length));
        FramesOff { outer, inner, between: Vec::new() }
    }

    /// Takes the frames off all bytes of a range.
    pub(crate) fn unframe(self, position: u64, framed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(framed.len());
        self.unframer(position).push(framed, &mut bytes)?;
        Ok(bytes)
    }
}

/// Takes frames off, in order.
pub(crate) struct FramesOff {
    outer: Unframer,
    inner: Option<Unframer>,
    between: Vec<u8>,
}

impl FramesOff {
    /// Takes the next framed bytes, and appends what they hold to `bytes`.
    pub(crate) fn push(&mut self, framed: &[u8], bytes: &mut Vec<u8>) -> Result<(), Error> {
        let Some(inner) = &mut self.inner else { return self.outer.push(framed, bytes) };
        self.between.clear();
        self.outer.push(framed, &mut self.between)?;
        inner.push(&self.between, bytes)
    }

    /// Takes the next framed bytes, and hands out what they hold, where it stands.
    pub(crate) fn pieces(
        &mut self,
        framed: &[u8],
        mut piece: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut found = |bytes: &[u8]| {
            piece(bytes);
            Ok(())
        };
        match &mut self.inner {
            Some(inner) => self.outer.pieces(framed, |between| inner.pieces(between, &mut found)),
            None => self.outer.pieces(framed, found),
        }
    }

    /// What the last bytes were without the outer frame, where there are two.
    pub(crate) fn between(&self) -> Option<&[u8]> {
        self.inner.as_ref().map(|_| &self.between[..])
    }
}

/// The content of one segment in a file at hand.
#[derive(Debug, Clone)]
pub(crate) struct FramedFile {
    file: Arc<File>,
    frames: Frames,
    start: u64,
}

impl FramedFile {
    pub(crate) fn of(plan: &BundlePlan, segment: usize, file: Arc<File>) -> Self {
        let segment = &plan.segments()[segment];
        Self { file, frames: Frames::of(plan, segment.archive), start: segment.position }
    }

    /// What encodes the segment from one of its bytes on, and the offset in the file where that
    /// begins.
    pub(crate) fn encoder(&self, from: u64) -> (SegmentEncoder, u64) {
        let position = self.start + from;
        let offset = self.frames.file_range(position..position).start;
        (SegmentEncoder::at(self.frames, position), offset)
    }

    /// What takes the frames off the segment, and the offset in the file where it begins.
    pub(crate) fn unframer(&self) -> (FramesOff, u64) {
        let start = self.frames.file_range(self.start..self.start).start;
        (self.frames.unframer(self.start), start)
    }

    /// Bytes of the segment. This blocks.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let start = self.start + range.start;
        let place = self.frames.file_range(start..self.start + range.end);
        let mut framed = vec![0; usize::try_from(place.end - place.start).unwrap_or_default()];
        let read = self.file.read_exact_at(&mut framed, place.start);
        read.map_err(|error| Error::damaged(format!("a part is not readable: {error}")))?;
        self.frames.unframe(start, &framed)
    }
}
