//! A bundle in order, for destinations that take a stream.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Digest, Hasher, ImageSource, Progress, VerifiedBlob, open_blob};
use futures_util::{Stream, StreamExt as _, stream as streams};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::encode::{Checksums, SegmentEncoder};
use crate::plan::configs::PlannedConfig;
use crate::plan::{BundlePlan, Content};
use crate::{Error, frame};

/// The bytes of a bundle in order, verified on the way. Nothing is asked for before the stream is
/// polled. A blob that stands in several archives is fetched for each.
///
/// A blob's last bytes come out only when its digest was right; a stream that ended without an
/// error was the whole bundle. The plan of a bundle that was read lacks the small files, and is an
/// error ([`Error::InvalidInput`]).
pub fn stream(
    plan: Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let steps =
        Steps { sums: Checksums::new(Arc::clone(&plan)), plan, source, at: At::Header, kept: None };
    streams::try_unfold(steps, async |mut steps| {
        let bytes = steps.next().await?;
        Ok(bytes.map(|bytes| (bytes, steps)))
    })
}

/// Writes a planned bundle to whatever takes bytes in order, and gives the digest of all; `to` has a
/// name for errors. A blob that stands in several archives is fetched for each.
///
/// # Errors
/// What the source reports, or who takes the bytes.
pub async fn write_into(
    plan: &Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    (to, name): (&mut (dyn AsyncWrite + Unpin + Send), &Path),
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    progress.add_total(plan.size());
    let (mut chunks, mut hasher) = (stream(Arc::clone(plan), source).boxed(), Hasher::default());
    while let Some(bytes) = chunks.next().await {
        let bytes = bytes?;
        hasher.update(&bytes);
        to.write_all(&bytes).await.map_err(Error::io("write", name))?;
        progress.advance(bytes.len() as u64);
    }
    to.flush().await.map_err(Error::io("write", name))?;
    Ok(hasher.finish())
}

struct Steps {
    plan: Arc<BundlePlan>,
    sums: Checksums<Arc<BundlePlan>>,
    source: Arc<dyn ImageSource>,
    at: At,
    /// The bytes of a configuration so far.
    kept: Option<Vec<u8>>,
}

enum At {
    Header,
    Segment(usize),
    Blob(usize, Box<VerifiedBlob>, SegmentEncoder),
    End,
}

impl Steps {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match std::mem::replace(&mut self.at, At::End) {
                At::Header => {
                    self.plan.require_bytes()?;
                    self.at = At::Segment(0);
                    return Ok(Some(Bytes::from_static(&frame::HEADER)));
                }
                At::Segment(number) => match self.plan.segments().get(number) {
                    None => return Ok(Some(self.sums.file_trailer().to_vec().into())),
                    Some(segment) => {
                        if let Content::Blob(blob) = segment.content {
                            self.kept = self.begin_config(number)?;
                            let blob = &self.plan.blobs()[blob];
                            let source = Arc::clone(&self.source);
                            let opened = open_blob(source, &blob.repository, &blob.descriptor);
                            let encoder = SegmentEncoder::new(&self.plan, segment);
                            self.at = At::Blob(number, Box::new(opened), encoder);
                            continue;
                        }
                        self.at = At::Segment(number + 1);
                        if let Some(bytes) = self.sums.encode_known(number) {
                            return Ok(Some(bytes.into()));
                        }
                    }
                },
                At::Blob(number, mut blob, mut encoder) => match blob.next().await {
                    Some(bytes) => {
                        let bytes = bytes.map_err(|error| self.named(number, error))?;
                        if let Some(kept) = &mut self.kept {
                            kept.extend_from_slice(&bytes);
                        }
                        let mut framed = Vec::with_capacity(bytes.len() + bytes.len() / 4096 + 64);
                        encoder.push(&bytes, |piece| framed.extend_from_slice(piece));
                        self.at = At::Blob(number, blob, encoder);
                        return Ok(Some(framed.into()));
                    }
                    None => {
                        let kept = self.kept.take().unwrap_or_default();
                        self.configs(number).try_for_each(|one| one.require_fitting(&kept))?;
                        self.sums.add(number, encoder.finish());
                        self.at = At::Segment(number + 1);
                    }
                },
                At::End => return Ok(None),
            }
        }
    }

    /// Where to keep a segment that is a configuration.
    fn begin_config(&self, segment: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut kept = None;
        for config in self.configs(segment) {
            config.require_small()?;
            kept = Some(Vec::new());
        }
        Ok(kept)
    }

    /// The configurations that a segment holds, one for each image.
    fn configs(&self, segment: usize) -> impl Iterator<Item = &PlannedConfig> {
        let content = &self.plan.segments()[segment].content;
        let blob = if let Content::Blob(blob) = content { Some(*blob) } else { None };
        self.plan.configs().iter().filter(move |config| Some(config.blob) == blob)
    }

    fn named(&self, segment: usize, error: compass_registry::Error) -> Error {
        match self.plan.segments()[segment].content {
            Content::Blob(blob) => {
                let blob = &self.plan.blobs()[blob];
                error.in_blob(&blob.reference, blob.descriptor.digest).into()
            }
            _ => error.into(),
        }
    }
}
