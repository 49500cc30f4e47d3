//! Proves that a bundle is, to the last bit, what was written.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use compass_registry::{Digest, Hasher, Progress};
use tokio::task::spawn_blocking;

use super::frames::{Frames, FramesOff};
use super::open::Bundle;
use super::source::{BundleSource as _, LocalFile};
use crate::document::FILE_NAME;
use crate::plan::{BundlePlan, Content, Segment};
use crate::write::checksum_path;
use crate::write::encode::{Checksums, Sums};
use crate::{Error, frame};

/// Bytes of the file that are read at once.
const READ: u64 = 512 << 10;

/// How a bundle is verified.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Whether only the structure is looked at: everything but layers and configurations.
    pub quick: bool,
    /// How many threads prove blobs, besides the one that hashes the file.
    pub jobs: usize,
    /// Hears how it goes on.
    pub progress: Arc<dyn Progress>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { quick: false, jobs: 2, progress: Arc::new(compass_registry::NoProgress) }
    }
}

/// What a proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of the file.
    pub size: u64,
    /// Digest of the file; nothing where only the structure was looked at.
    pub digest: Option<Digest>,
    /// Whether the `.sha256` beside it agrees; nothing where there is none, or it was not compared.
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

impl Damage {
    /// Where it is, in words.
    pub fn place(&self) -> String {
        let parts = [self.file.clone(), self.image.clone(), self.blob.map(|b| format!("blob {b}"))];
        let mut words: Vec<String> = parts.into_iter().flatten().collect();
        if words.is_empty() {
            words.push(format!("{FILE_NAME}, headers or frame"));
        }
        let (start, end) = (self.range.start, self.range.end.saturating_sub(1));
        format!("{}, bytes {start}-{end}", words.join(": "))
    }
}

impl Bundle {
    /// Reads the whole file and compares every bit with what the plan says: headers, framing,
    /// checksums, and the digest of every file and blob. A file on this machine is proven by
    /// several threads; what is far away is read once, in order.
    ///
    /// # Errors
    /// Where the file cannot be read; what is wrong with its content stands in the result.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<Verified, Error> {
        let (bundle, options) = (self.clone(), options.clone());
        let found = match self.source().local().cloned() {
            Some(file) => {
                let proof = spawn_blocking(move || bundle.verify_local(&file, &options));
                proof.await.map_err(|error| Error::damaged(error.to_string()))??
            }
            None => bundle.verify_in_order(&options).await?,
        };
        Ok(found)
    }

    fn verify_local(&self, file: &LocalFile, options: &VerifyOptions) -> Result<Verified, Error> {
        let plan = self.plan();
        let wanted: Vec<usize> = wanted(plan, options.quick).collect();
        let (next, proofs) = (AtomicUsize::new(0), Mutex::new(Proofs::new(plan)));
        options.progress.expect(if options.quick { 0 } else { plan.size() });
        let prove = || {
            let mut buffer = Vec::new();
            while let Some(number) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut proof = SegmentProof::new(plan, *number);
                while let Some(range) = proof.next_range() {
                    file.read_into(&mut buffer, range)?;
                    proof.push(&buffer);
                }
                proofs.lock().unwrap_or_else(PoisonError::into_inner).add(proof);
            }
            Ok::<_, Error>(())
        };
        let hash = || (!options.quick).then(|| digest(file, plan.size(), &*options.progress));
        let digest = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(prove)).collect();
            let digest = hash().transpose();
            for worker in workers {
                worker.join().unwrap_or_else(|_| Err(Error::damaged("a thread stopped")))?;
            }
            digest
        })?;
        let proofs = proofs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut ends = (Vec::new(), Vec::new());
        file.read_into(&mut ends.0, header_range())?;
        file.read_into(&mut ends.1, trailer_range(plan))?;
        let damages = proofs.finish(&ends.0, &ends.1);
        let checksum = match digest {
            Some(digest) => read_checksum(file.path())?.map(|written| written == digest.hex()),
            None => None,
        };
        Ok(Verified { size: plan.size(), digest, checksum, damages })
    }

    async fn verify_in_order(&self, options: &VerifyOptions) -> Result<Verified, Error> {
        let (plan, source) = (self.plan(), self.source());
        options.progress.expect(if options.quick { 0 } else { plan.size() });
        let mut hasher = Hasher::default();
        let mut proofs = Proofs::new(plan);
        let header = source.read(header_range()).await?;
        hasher.update(&header);
        for number in wanted(plan, options.quick) {
            let mut proof = SegmentProof::new(plan, number);
            while let Some(range) = proof.next_range() {
                let bytes = source.read(range).await?;
                options.progress.advance(if options.quick { 0 } else { bytes.len() as u64 });
                hasher.update(&bytes);
                proof.push(&bytes);
            }
            proofs.add(proof);
        }
        let trailer = source.read(trailer_range(plan)).await?;
        hasher.update(&trailer);
        let damages = proofs.finish(&header, &trailer);
        let digest = (!options.quick).then(|| hasher.finish());
        Ok(Verified { size: plan.size(), digest, checksum: None, damages })
    }
}

fn header_range() -> Range<u64> {
    0..frame::HEADER.len() as u64
}

fn trailer_range(plan: &BundlePlan) -> Range<u64> {
    plan.size() - frame::TRAILER..plan.size()
}

fn wanted(plan: &BundlePlan, quick: bool) -> impl Iterator<Item = usize> {
    let is_blob = |number: &usize| matches!(plan.segments()[*number].content, Content::Blob(_));
    (0..plan.segments().len()).filter(move |number| !quick || !is_blob(number))
}

fn digest(file: &LocalFile, size: u64, progress: &dyn Progress) -> Result<Digest, Error> {
    let (mut hasher, mut buffer, mut position) = (Hasher::default(), Vec::new(), 0);
    while position < size {
        let next = size.min(position + READ);
        file.read_into(&mut buffer, position..next)?;
        hasher.update(&buffer);
        progress.advance(next - position);
        position = next;
    }
    Ok(hasher.finish())
}

/// The proof of one segment: its bytes come in order.
struct SegmentProof<'p> {
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
}

impl<'p> SegmentProof<'p> {
    fn new(plan: &'p BundlePlan, number: usize) -> Self {
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
        }
    }

    fn segment(&self) -> &'p Segment {
        &self.plan.segments()[self.number]
    }

    fn next_range(&self) -> Option<Range<u64>> {
        let next = self.range.end.min(self.position + READ);
        (self.position < next).then_some(self.position..next)
    }

    /// Takes the bytes of the next range.
    fn push(&mut self, framed: &[u8]) {
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
struct Proofs<'p> {
    plan: &'p BundlePlan,
    sums: Checksums<&'p BundlePlan>,
    trailers: Vec<(usize, Vec<u8>)>,
    damages: Vec<Damage>,
    proven: Vec<bool>,
    /// Something is not what the document says: either of them is damaged.
    contradicted: bool,
}

impl<'p> Proofs<'p> {
    fn new(plan: &'p BundlePlan) -> Self {
        let proven = vec![false; plan.segments().len()];
        let sums = Checksums::new(plan);
        Self { plan, sums, trailers: Vec::new(), damages: Vec::new(), proven, contradicted: false }
    }

    fn add(&mut self, proof: SegmentProof<'_>) {
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
    fn finish(mut self, header: &[u8], trailer: &[u8]) -> Vec<Damage> {
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
            let segments = self.plan.segments().iter().enumerate();
            let mut own = segments.clone().filter(|(_, one)| one.archive == Some(archive));
            let trailer =
                |one: &Segment| matches!(one.content, Content::Trailer(a) if a == archive);
            // What is damaged has been said; its checksum adds nothing.
            if own.all(|(number, _)| self.proven[number])
                && self.sums.archive_trailer(archive)[..] != found
                && let Some((number, segment)) = { segments }.find(|(_, one)| trailer(one))
            {
                let range = self.plan.file_range(segment);
                let what = "the gzip checksum is not that of the content".to_owned();
                let damage = self.damage(number, range, what);
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

/// The digest of a file.
///
/// # Errors
/// Where it cannot be read.
pub async fn digest_of(file: &LocalFile) -> Result<Digest, Error> {
    let file = file.clone();
    let hashing = spawn_blocking(move || digest(&file, file.size(), &compass_registry::NoProgress));
    hashing.await.map_err(|stopped| Error::damaged(stopped.to_string()))?
}

/// Whether the `.sha256` beside a file says this digest; nothing where there is none.
///
/// # Errors
/// Where it cannot be read.
pub fn compare_checksum(path: &Path, digest: Digest) -> Result<Option<bool>, Error> {
    Ok(read_checksum(path)?.map(|written| written == digest.hex()))
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
