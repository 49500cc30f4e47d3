//! Proves that a bundle is, to the last bit, what was written.

use std::ops::Range;
use std::path::Path;

use compass_registry::{Digest, Hasher, Progress};

use crate::Error;
use crate::document::FILE_NAME;
use crate::frame::{self, Unframer};
use crate::plan::{BundlePlan, Content, Segment};
use crate::reader::Bundle;
use crate::write::checksum_path;

/// Bytes of the file that are read at once.
const READ: u64 = 512 << 10;

/// What a proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of the file.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
    /// Whether the `.sha256` beside it agrees; nothing where there is none.
    pub checksum: Option<bool>,
    /// What is wrong, in the order of the file.
    pub damages: Vec<Damage>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The file in the bundle, where it is inside one.
    pub file: Option<String>,
    /// The image.
    pub image: Option<String>,
    /// The blob.
    pub blob: Option<Digest>,
    /// Bytes of the bundle.
    pub range: Range<u64>,
    /// What is wrong there.
    pub what: String,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        self.damages.is_empty() && self.checksum != Some(false)
    }
}

impl Bundle {
    /// Reads the whole file once and compares every bit with what the plan says: headers, framing,
    /// checksums, and the digest of every blob. This blocks.
    ///
    /// # Errors
    /// Where the file cannot be read; what is wrong with its content stands in the result.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Verified, Error> {
        progress.expect(self.size());
        let mut proof = Proof::new(self, progress);
        proof.compare(0..frame::HEADER.len() as u64, &frame::HEADER, None)?;
        for segment in self.plan().segments() {
            proof.segment(segment)?;
        }
        let end = self.size();
        let crc = std::mem::take(&mut proof.outer_crc).finalize();
        let trailer = frame::trailer(crc, self.plan().length());
        proof.compare(end - frame::TRAILER..end, &trailer, None)?;
        let digest = proof.file.finish();
        let checksum = read_checksum(self.tar().path())?.map(|written| written == digest.hex());
        Ok(Verified { size: end, digest, checksum, damages: proof.damages })
    }
}

struct Proof<'b> {
    bundle: &'b Bundle,
    plan: &'b BundlePlan,
    progress: &'b dyn Progress,
    file: Hasher,
    outer_crc: crc32fast::Hasher,
    inner_crc: crc32fast::Hasher,
    damages: Vec<Damage>,
}

/// What the bytes of a segment must be.
enum Expected<'s> {
    Bytes(&'s [u8]),
    Digest(Digest, Hasher),
}

impl<'b> Proof<'b> {
    fn new(bundle: &'b Bundle, progress: &'b dyn Progress) -> Self {
        Self {
            bundle,
            plan: bundle.plan(),
            progress,
            file: Hasher::default(),
            outer_crc: crc32fast::Hasher::new(),
            inner_crc: crc32fast::Hasher::new(),
            damages: Vec::new(),
        }
    }

    fn segment(&mut self, segment: &Segment) -> Result<(), Error> {
        let trailer;
        let mut expected = match &segment.content {
            Content::Bytes(bytes) => Expected::Bytes(bytes),
            Content::Blob(descriptor) => {
                let hasher = Hasher::new(descriptor.digest.algorithm());
                Expected::Digest(descriptor.digest, hasher)
            }
            Content::Trailer(archive) => {
                let crc = std::mem::take(&mut self.inner_crc).finalize();
                trailer = frame::trailer(crc, self.plan.archive(*archive).length);
                Expected::Bytes(&trailer)
            }
        };
        let start = segment.archive.map_or(segment.position, |archive| {
            self.plan.archive(archive).start + frame::offset(segment.position)
        });
        let mut outer = Unframer::new(start, self.plan.length());
        let mut inner = segment
            .archive
            .map(|archive| Unframer::new(segment.position, self.plan.archive(archive).length));
        let range = self.plan.file_range(segment);
        let mut wrong = None;
        let mut position = range.start;
        while position < range.end {
            let next = range.end.min(position + READ);
            let framed = self.read(position..next)?;
            if wrong.is_none() {
                let found = self.take(&framed, &mut outer, inner.as_mut(), &mut expected);
                wrong = found.err().map(|error| (position..next, error.to_string()));
            }
            position = next;
        }
        if let (None, Expected::Digest(digest, hasher)) = (&wrong, expected) {
            let actual = hasher.finish();
            if actual != digest {
                wrong = Some((range, format!("the blob has digest {actual}")));
            }
        }
        if let Some((range, what)) = wrong {
            self.report(Some(segment), range, what);
        }
        Ok(())
    }

    fn take(
        &mut self,
        framed: &[u8],
        outer: &mut Unframer,
        inner: Option<&mut Unframer>,
        expected: &mut Expected<'_>,
    ) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(framed.len());
        outer.push(framed, &mut bytes)?;
        self.outer_crc.update(&bytes);
        if let Some(inner) = inner {
            let nested = std::mem::replace(&mut bytes, Vec::with_capacity(framed.len()));
            inner.push(&nested, &mut bytes)?;
            self.inner_crc.update(&bytes);
        }
        match expected {
            Expected::Digest(_, hasher) => hasher.update(&bytes),
            Expected::Bytes(rest) => {
                let (now, later) = rest.split_at(bytes.len().min(rest.len()));
                *rest = later;
                if now != bytes {
                    return Err(Error::damaged("the bytes are not those that were written"));
                }
            }
        }
        Ok(())
    }

    fn compare(
        &mut self,
        range: Range<u64>,
        expected: &[u8],
        segment: Option<&Segment>,
    ) -> Result<(), Error> {
        if self.read(range.clone())? != expected {
            self.report(segment, range, "the gzip frame is damaged".to_owned());
        }
        Ok(())
    }

    fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.progress.advance(range.end - range.start);
        let bytes = self.bundle.tar().file(range)?;
        self.file.update(&bytes);
        Ok(bytes)
    }

    fn report(&mut self, segment: Option<&Segment>, range: Range<u64>, what: String) {
        let archive = segment.and_then(|segment| segment.archive);
        let archive = archive.map(|archive| self.plan.archive(archive));
        let blob = segment.and_then(|segment| match &segment.content {
            Content::Blob(descriptor) => Some(descriptor.digest),
            _ => None,
        });
        let file = archive.map(|archive| archive.path.clone());
        let image = archive.map(|archive| archive.reference.clone());
        self.damages.push(Damage { file, image, blob, range, what });
    }
}

/// The digest in the `.sha256` beside a bundle, where there is one.
fn read_checksum(path: &Path) -> Result<Option<String>, Error> {
    let path = checksum_path(path);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(Some(text.split_whitespace().next().unwrap_or_default().to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

impl Damage {
    /// Where it is, in words.
    pub fn place(&self) -> String {
        let bytes = format!("bytes {}-{}", self.range.start, self.range.end.saturating_sub(1));
        match (&self.file, &self.image, &self.blob) {
            (Some(file), Some(image), Some(blob)) => {
                format!("{file}: {image}: blob {blob}, {bytes}")
            }
            (Some(file), Some(image), None) => format!("{file}: {image}, {bytes}"),
            _ => format!("{FILE_NAME}, release manifest or frame, {bytes}"),
        }
    }
}
