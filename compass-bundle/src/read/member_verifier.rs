//! Compares the members of a bundle with its plan.

use std::ops::Range;

use compass_registry::{Algorithm, Digest, Hasher};

use super::report::Damage;
use crate::format::document::FILE_NAME;
use crate::format::member::MemberDecoder;
use crate::plan::BundlePlan;
use crate::plan::members::{Content, Origin, PlannedMember};

/// Number of bytes per read.
pub(super) const READ: u64 = 512 << 10;

/// Compares one member with the plan. The caller pushes the bytes of the member in order.
pub(super) struct MemberVerifier<'p> {
    number: usize,
    /// The offset of the next byte in the file.
    offset: u64,
    end: u64,
    decoder: MemberDecoder,
    content: ContentVerifier<'p>,
    damage: Option<Finding>,
    /// The content, if it is kept.
    collected: Option<Vec<u8>>,
}

/// Compares the content of a member with the plan.
struct ContentVerifier<'p> {
    plan: &'p BundlePlan,
    member: &'p PlannedMember,
    position: u64,
    /// Index of the current piece of a run, and the position of its first byte.
    piece: (usize, u64),
    hasher: Option<Hasher>,
}

/// A difference from the plan.
struct Finding {
    /// The affected range of the file.
    range: Range<u64>,
    /// Index of the piece in the run.
    piece: usize,
    what: String,
}

impl<'p> MemberVerifier<'p> {
    pub(super) fn new(plan: &'p BundlePlan, number: usize) -> Self {
        let member = &plan.members()[number];
        let range = member.place.file_range();
        let mut content = ContentVerifier::new(plan, member);
        let damage = content.begin_piece().err();
        Self {
            number,
            offset: range.start,
            end: range.end,
            decoder: member.place.decoder(),
            content,
            damage,
            collected: None,
        }
    }

    /// Starts to keep the content.
    pub(super) fn collect(&mut self) {
        self.collected = Some(Vec::new());
    }

    pub(super) fn take_collected(&mut self) -> Option<Vec<u8>> {
        self.collected.take()
    }

    /// Returns the range of the file to push next, or `None` at the end of the member.
    pub(super) fn next_range(&self) -> Option<Range<u64>> {
        let next = self.end.min(self.offset + READ);
        (self.offset < next).then_some(self.offset..next)
    }

    /// Verifies the bytes of [`Self::next_range`].
    pub(super) fn push(&mut self, framed: &[u8]) {
        let range = self.offset..self.offset + framed.len() as u64;
        self.offset = range.end;
        if self.damage.is_some() {
            return;
        }
        let Self { decoder, content, collected, damage, .. } = self;
        let decoded = decoder.for_each_slice(framed, |slice| {
            if let Some(collected) = collected {
                collected.extend_from_slice(slice);
            }
            if damage.is_none() {
                *damage = content.push(slice).err();
            }
        });
        if let (None, Err(error)) = (&damage, decoded) {
            let piece = content.piece.0;
            *damage = Some(Finding { range, piece, what: error.to_string() });
        }
    }

    fn finish(self) -> Result<(), Finding> {
        if let Some(damage) = self.damage {
            return Err(damage);
        }
        let (piece, place) = (self.content.piece.0, self.content.member.place);
        self.content.finish()?;
        self.decoder.finish().map_err(|error| {
            let trailers = place.content_range(place.size..place.size).start..self.end;
            Finding { range: trailers, piece, what: error.to_string() }
        })
    }
}

impl<'p> ContentVerifier<'p> {
    fn new(plan: &'p BundlePlan, member: &'p PlannedMember) -> Self {
        let hasher = match &member.content {
            Content::Blob { blob, .. } => {
                Some(Hasher::new(plan.blobs()[*blob].descriptor.digest.algorithm()))
            }
            Content::Run(_) => None,
        };
        Self { plan, member, position: 0, piece: (0, 0), hasher }
    }

    fn push(&mut self, mut slice: &[u8]) -> Result<(), Finding> {
        let Content::Run(pieces) = &self.member.content else {
            self.position += slice.len() as u64;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(slice);
            }
            return Ok(());
        };
        while !slice.is_empty() {
            let (number, start) = self.piece;
            let Some(piece) = pieces.get(number) else {
                return Err(self.finding("unexpected bytes follow the content"));
            };
            let end = start + piece.size;
            let left = usize::try_from(end - self.position).unwrap_or(usize::MAX);
            let (now, later) = slice.split_at(left.min(slice.len()));
            match &piece.origin {
                Origin::Layout { bytes, .. } => {
                    let from = usize::try_from(self.position - start).unwrap_or(usize::MAX);
                    if bytes.get(from..from + now.len()) != Some(now) {
                        return Err(
                            self.finding("the bytes differ from those that bundle.json determines")
                        );
                    }
                }
                Origin::File(_) => self.hasher.iter_mut().for_each(|hasher| hasher.update(now)),
            }
            self.position += now.len() as u64;
            slice = later;
            if self.position == end {
                self.end_piece(number, end)?;
            }
        }
        Ok(())
    }

    /// Prepares the hasher for the current piece, and skips pieces without bytes.
    fn begin_piece(&mut self) -> Result<(), Finding> {
        let Content::Run(pieces) = &self.member.content else { return Ok(()) };
        let Some(piece) = pieces.get(self.piece.0) else { return Ok(()) };
        let is_file = matches!(piece.origin, Origin::File(_));
        self.hasher = is_file.then(|| Hasher::new(Algorithm::Sha256));
        match piece.size {
            0 => self.end_piece(self.piece.0, self.piece.1),
            _ => Ok(()),
        }
    }

    fn end_piece(&mut self, number: usize, end: u64) -> Result<(), Finding> {
        if let Content::Run(pieces) = &self.member.content
            && let Origin::File(file) = pieces[number].origin
        {
            self.compare(self.plan.files()[file].digest)?;
        }
        self.piece = (number + 1, end);
        self.begin_piece()
    }

    fn finish(mut self) -> Result<(), Finding> {
        match &self.member.content {
            Content::Blob { blob, .. } => self.compare(self.plan.blobs()[*blob].descriptor.digest),
            Content::Run(_) => Ok(()),
        }
    }

    fn compare(&mut self, expected: Digest) -> Result<(), Finding> {
        let Some(actual) = self.hasher.take().map(Hasher::finish) else { return Ok(()) };
        if actual == expected {
            return Ok(());
        }
        Err(self.finding(format!("the digest is {actual}, expected {expected}")))
    }

    /// Creates a finding in the current piece.
    fn finding(&self, what: impl Into<String>) -> Finding {
        let (piece, start) = self.piece;
        let end = match &self.member.content {
            Content::Run(pieces) => pieces.get(piece).map_or(start, |piece| start + piece.size),
            Content::Blob { .. } => self.member.place.size,
        };
        let range = self.member.place.content_range(start..end);
        Finding { range, piece, what: what.into() }
    }
}

/// The results of all members.
pub(super) struct VerificationState<'p> {
    plan: &'p BundlePlan,
    damages: Vec<Damage>,
    /// Whether bytes that `bundle.json` determines differ from the plan. The cause is damage to these
    /// bytes or to `bundle.json`.
    inconsistent: bool,
}

impl<'p> VerificationState<'p> {
    pub(super) fn new(plan: &'p BundlePlan) -> Self {
        Self { plan, damages: Vec::new(), inconsistent: false }
    }

    /// Adds the result of a member whose bytes were pushed to its end.
    pub(super) fn add(&mut self, verifier: MemberVerifier<'_>) {
        let number = verifier.number;
        if let Err(finding) = verifier.finish() {
            // A wrong digest of a blob is damage to the blob: `bundle.json` and the image manifest
            // have the same digest for it, and the image manifest is verified as well.
            let member = &self.plan.members()[number];
            self.inconsistent |= matches!(member.content, Content::Run(_));
            self.damages.push(self.damage(member, finding));
        }
    }

    /// All damage, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Damage> {
        if self.inconsistent {
            let what =
                "the content of the bundle does not match it: one of them is damaged".to_owned();
            let (file, range) = (Some(FILE_NAME.to_owned()), self.plan.document_range());
            self.damages.push(Damage { file, image: None, blob: None, range, what });
        }
        self.damages.sort_by_key(|damage| damage.range.start);
        self.damages
    }

    fn damage(&self, member: &PlannedMember, finding: Finding) -> Damage {
        let Finding { range, piece, what } = finding;
        let (mut file, mut image, mut blob, mut in_archive) = (None, None, None, None);
        match &member.content {
            Content::Blob { blob: number, archive } => {
                let planned = &self.plan.blobs()[*number];
                image = Some(planned.reference.clone());
                blob = Some(planned.descriptor.digest);
                in_archive = *archive;
            }
            Content::Run(pieces) => match pieces.get(piece).map(|piece| &piece.origin) {
                Some(Origin::File(number)) => file = Some(self.plan.files()[*number].path.clone()),
                Some(Origin::Layout { archive, .. }) => in_archive = *archive,
                None => {}
            },
        }
        if let Some(archive) = in_archive.map(|archive| &self.plan.archives()[archive]) {
            file = Some(archive.path.clone());
            image = Some(archive.reference.clone());
        }
        Damage { file, image, blob, range, what }
    }
}
