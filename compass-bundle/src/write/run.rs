//! Encodes the members of a plan that are not blobs.

use bytes::Bytes;

use crate::Error;
use crate::format::member::MemberEncoder;
use crate::plan::BundlePlan;
use crate::plan::members::{Content, Origin, Piece, PlannedMember};

/// The approximate size of the chunks in bytes.
const CHUNK: usize = 256 << 10;

/// The bytes of a member in order, in chunks.
pub(super) struct RunChunks {
    /// The encoder; `None` after the end of the member.
    encoder: Option<MemberEncoder>,
    /// The rest of the content, in reverse order.
    rest: Vec<Bytes>,
    chunk: Vec<u8>,
}

impl RunChunks {
    /// Creates the encoder of a run; returns `None` for a blob.
    pub(super) fn new(plan: &BundlePlan, member: &PlannedMember) -> Option<Self> {
        let Content::Run(pieces) = &member.content else { return None };
        let mut rest: Vec<_> = pieces.iter().map(|piece| content(plan, piece)).collect();
        rest.reverse();
        let (mut encoder, mut chunk) = (member.place.encoder(), Vec::new());
        encoder.begin(|slice| chunk.extend_from_slice(slice));
        Some(Self { encoder: Some(encoder), rest, chunk })
    }
}

impl Iterator for RunChunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = std::mem::take(&mut self.chunk);
        while chunk.len() < CHUNK {
            let mut sink = |slice: &[u8]| chunk.extend_from_slice(slice);
            let Some(mut bytes) = self.rest.pop() else {
                if let Some(encoder) = self.encoder.take() {
                    encoder.finish(sink);
                }
                break;
            };
            let now = bytes.split_to(bytes.len().min(CHUNK));
            if let Some(encoder) = &mut self.encoder {
                encoder.push(&now, &mut sink);
            }
            if !bytes.is_empty() {
                self.rest.push(bytes);
            }
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// Returns the bytes of a piece. [`BundlePlan::require_bytes`] has rejected plans without the bytes
/// of their small files.
fn content(plan: &BundlePlan, piece: &Piece) -> Bytes {
    match &piece.origin {
        Origin::Layout { bytes, .. } => bytes.clone(),
        Origin::File(number) => plan.files()[*number].bytes.clone().unwrap_or_default(),
    }
}

impl BundlePlan {
    /// Checks that the bytes of the small files are known.
    ///
    /// A plan that was read from a bundle only has their digests.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if one is missing.
    pub(crate) fn require_bytes(&self) -> Result<(), Error> {
        match self.files().iter().find(|file| file.bytes.is_none()) {
            None => Ok(()),
            Some(file) => Err(Error::InvalidInput(format!(
                "the plan does not have the bytes of {}: it was read from a bundle",
                file.path
            ))),
        }
    }
}
