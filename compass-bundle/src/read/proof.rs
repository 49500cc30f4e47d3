//! Compares what is read of a bundle, segment by segment, with what its plan says.

use std::ops::Range;

use compass_registry::Hasher;

use super::frames::{Frames, FramesOff};
use super::verify::{Damage, READ, header_range, trailer_range};
use crate::document::FILE_NAME;
use crate::frame;
use crate::plan::{BundlePlan, Content, Segment};
use crate::write::encode::{Checksums, Sums};

/// The proof of one segment: its bytes come in order.
pub(super) struct SegmentProof<'p> {
    plan: &'p BundlePlan,
    number: usize,
    range: Range<u64>,
    position: u64,
    frames: FramesOff,
    content: Vec<u8>,
    outer_crc: crc32fast::Hasher,
    inner_crc: crc32fast::Hasher,
    hasher: Hasher,
    /// Bytes that must be exactly these, from here on.
    compared: usize,
    wrong: Option<(Range<u64>, String)>,
    trailer: Vec<u8>,
    /// All content, if that is wanted.
    collected: Option<Vec<u8>>,
}

impl<'p> SegmentProof<'p> {
    pub(super) fn new(plan: &'p BundlePlan, number: usize) -> Self {
        let segment = &plan.segments()[number];
        let range = plan.file_range(segment);
        let algorithm = match segment.content {
            Content::Blob(blob) => plan.blobs()[blob].descriptor.digest.algorithm(),
            _ => compass_registry::Algorithm::Sha256,
        };
        Self {
            plan,
            number,
            position: range.start,
            range,
            frames: Frames::of(plan, segment.archive).unframer(segment.position),
            content: Vec::new(),
            outer_crc: crc32fast::Hasher::new(),
            inner_crc: crc32fast::Hasher::new(),
            hasher: Hasher::new(algorithm),
            compared: 0,
            wrong: None,
            trailer: Vec::new(),
            collected: None,
        }
    }

    /// Keeps the content.
    pub(super) fn collect(&mut self) {
        self.collected = Some(Vec::new());
    }

    pub(super) fn take_collected(&mut self) -> Option<Vec<u8>> {
        self.collected.take()
    }

    fn segment(&self) -> &'p Segment {
        &self.plan.segments()[self.number]
    }

    pub(super) fn next_range(&self) -> Option<Range<u64>> {
        let next = self.range.end.min(self.position + READ);
        (self.position < next).then_some(self.position..next)
    }

    /// Takes the bytes of the next range.
    pub(super) fn push(&mut self, framed: &[u8]) {
        let range = self.position..self.position + framed.len() as u64;
        self.position = range.end;
        if self.wrong.is_some() {
            return;
        }
        self.content.clear();
        let taken = self.frames.push(framed, &mut self.content);
        let taken = taken.map_err(|error| error.to_string()).and_then(|()| self.compare());
        if let Err(what) = taken {
            self.wrong = Some((range, what));
        }
    }

    fn compare(&mut self) -> Result<(), String> {
        if let Some(collected) = &mut self.collected {
            collected.extend_from_slice(&self.content);
        }
        match self.frames.between() {
            Some(between) => {
                self.outer_crc.update(between);
                self.inner_crc.update(&self.content);
            }
            None => self.outer_crc.update(&self.content),
        }
        match &self.segment().content {
            Content::Bytes(bytes) => {
                let end = self.compared + self.content.len();
                if bytes.get(self.compared..end) != Some(&self.content[..]) {
                    return Err("the bytes are not those that were written".to_owned());
                }
                self.compared = end;
            }
            Content::Trailer(_) => self.trailer.extend_from_slice(&self.content),
            Content::File(_) | Content::Blob(_) => self.hasher.update(&self.content),
        }
        Ok(())
    }

    /// The checksums, or what is wrong.
    fn finish(self) -> Result<(Sums, Vec<u8>), (Range<u64>, String)> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let expected = match self.segment().content {
            Content::Blob(blob) => Some(self.plan.blobs()[blob].descriptor.digest),
            Content::File(file) => Some(self.plan.files()[file].digest),
            _ => None,
        };
        let actual = self.hasher.finish();
        if let Some(expected) = expected
            && expected != actual
        {
            return Err((self.range, format!("the digest is {actual}, and not {expected}")));
        }
        let nested = self.frames.between().is_some();
        Ok((Sums::new(self.outer_crc, nested.then_some(self.inner_crc)), self.trailer))
    }
}

/// What the proofs of the segments came to.
pub(super) struct Proofs<'p> {
    plan: &'p BundlePlan,
    sums: Checksums<&'p BundlePlan>,
    trailers: Vec<(usize, Vec<u8>)>,
    damages: Vec<Damage>,
    proven: Vec<bool>,
    /// Something is not what the document says: either of them is damaged.
    contradicted: bool,
}

impl<'p> Proofs<'p> {
    pub(super) fn new(plan: &'p BundlePlan) -> Self {
        let proven = vec![false; plan.segments().len()];
        let sums = Checksums::new(plan);
        Self { plan, sums, trailers: Vec::new(), damages: Vec::new(), proven, contradicted: false }
    }

    pub(super) fn add(&mut self, proof: SegmentProof<'_>) {
        let number = proof.number;
        match proof.finish() {
            Ok((sums, trailer)) => {
                self.sums.add(number, sums);
                self.proven[number] = true;
                if let Content::Trailer(archive) = self.plan.segments()[number].content {
                    self.trailers.push((archive, trailer));
                }
            }
            Err((range, what)) => {
                let segment = &self.plan.segments()[number];
                // What a blob must be stands in its image as well.
                self.contradicted |=
                    matches!(segment.content, Content::Bytes(_) | Content::File(_));
                let damage = self.damage(number, range, what);
                self.damages.push(damage);
            }
        }
    }

    /// Compares the checksums of what is proven, and gives all that is wrong in order.
    pub(super) fn finish(mut self, header: &[u8], trailer: &[u8]) -> Vec<Damage> {
        let frame = |range, what: &str| Damage {
            file: None,
            image: None,
            blob: None,
            range,
            what: what.to_owned(),
        };
        if *header != frame::HEADER {
            self.damages.push(frame(header_range(), "the gzip header is damaged"));
        }
        for (archive, found) in std::mem::take(&mut self.trailers) {
            let own = self.plan.archives()[archive].segments.clone();
            let trailer = own.end;
            // What is damaged has been said; its checksum adds nothing.
            if self.proven[own].iter().all(|proven| *proven)
                && self.sums.archive_trailer(archive)[..] != found
            {
                let range = self.plan.file_range(&self.plan.segments()[trailer]);
                let what = "the gzip checksum is not that of the content".to_owned();
                let damage = self.damage(trailer, range, what);
                self.damages.push(damage);
            }
        }
        if self.damages.is_empty()
            && self.proven.iter().all(|proven| *proven)
            && self.sums.file_trailer()[..] != *trailer
        {
            let what = "the gzip checksum is not that of the content";
            self.damages.push(frame(trailer_range(self.plan), what));
            // The document alone was believed.
            self.contradicted = true;
        }
        if self.contradicted {
            let what = "what is in the bundle contradicts it: one of them is damaged".to_owned();
            let (file, range) = (Some(FILE_NAME.to_owned()), self.plan.document_range());
            self.damages.push(Damage { file, image: None, blob: None, range, what });
        }
        self.damages.sort_by_key(|damage| damage.range.start);
        self.damages
    }

    fn damage(&self, number: usize, range: Range<u64>, what: String) -> Damage {
        let segment = &self.plan.segments()[number];
        let archive = match segment.content {
            Content::Trailer(archive) => Some(archive),
            _ => segment.archive,
        };
        let archive = archive.map(|archive| &self.plan.archives()[archive]);
        let (mut file, mut image, mut blob) = (None, None, None);
        if let Some(archive) = archive {
            file = Some(archive.path.clone());
            image = Some(archive.reference.clone());
        }
        match segment.content {
            Content::File(number) => file = Some(self.plan.files()[number].path.clone()),
            Content::Blob(number) => {
                let planned = &self.plan.blobs()[number];
                image = image.or_else(|| Some(planned.reference.clone()));
                blob = Some(planned.descriptor.digest);
            }
            _ => {}
        }
        Damage { file, image, blob, range, what }
    }
}
