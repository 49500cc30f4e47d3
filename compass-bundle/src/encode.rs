//! Turns the contents of a plan's segments, in order, into the bytes of the file.

use crate::frame::{self, Framer};
use crate::plan::{BundlePlan, Content, Segment};

pub(crate) struct Encoder<'p> {
    plan: &'p BundlePlan,
    outer: Framer,
    outer_crc: crc32fast::Hasher,
    inner: Framer,
    inner_crc: crc32fast::Hasher,
    framed: Vec<u8>,
}

impl<'p> Encoder<'p> {
    pub(crate) fn new(plan: &'p BundlePlan) -> Self {
        Self {
            plan,
            outer: Framer::new(0, plan.length()),
            outer_crc: crc32fast::Hasher::new(),
            inner: Framer::new(0, 0),
            inner_crc: crc32fast::Hasher::new(),
            framed: Vec::new(),
        }
    }

    /// Begins a segment; its bytes follow.
    pub(crate) fn begin(&mut self, segment: &Segment) {
        if let (Some(archive), 0) = (segment.archive, segment.position) {
            self.inner = Framer::new(0, self.plan.archive(archive).length);
        }
    }

    /// Encodes the next bytes of a segment, and appends them to `file`.
    pub(crate) fn bytes(&mut self, segment: &Segment, bytes: &[u8], file: &mut Vec<u8>) {
        if segment.archive.is_none() {
            self.outer_crc.update(bytes);
            self.outer.push(bytes, file);
            return;
        }
        self.inner_crc.update(bytes);
        self.framed.clear();
        self.inner.push(bytes, &mut self.framed);
        self.outer_crc.update(&self.framed);
        self.outer.push(&self.framed, file);
    }

    /// The bytes of a trailer segment, after everything before it.
    pub(crate) fn trailer(&mut self, archive: usize) -> [u8; 8] {
        let crc = std::mem::take(&mut self.inner_crc).finalize();
        frame::trailer(crc, self.plan.archive(archive).length)
    }

    /// The trailer of the file.
    pub(crate) fn finish(self) -> [u8; 8] {
        frame::trailer(self.outer_crc.finalize(), self.plan.length())
    }
}

impl Content {
    /// The bytes of a segment that needs none from elsewhere.
    pub(crate) fn known(&self, encoder: &mut Encoder<'_>) -> Option<bytes::Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Trailer(archive) => Some(encoder.trailer(*archive).to_vec().into()),
            Self::Blob(_) => None,
        }
    }
}
