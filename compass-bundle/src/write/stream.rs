//! A bundle in order, for destinations that take a stream.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Digest, Hasher, ImageSource, Progress, VerifiedBlob, open_blob};
use futures_util::{Stream, StreamExt as _, stream as streams};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::frame::RunChunks;
use crate::Error;
use crate::format::member::MemberEncoder;
use crate::plan::BundlePlan;
use crate::plan::configs::PlannedConfig;
use crate::plan::members::Content;

/// Returns the bytes of a bundle in order, verified as they pass.
///
/// No request is made before the stream is polled. A blob in several archives is fetched once for
/// each.
///
/// The last bytes of a blob are passed on only after its digest was compared; a stream that ends
/// without an error has returned the whole bundle. The plan of a bundle that was read does not
/// contain the small files and is an error ([`Error::InvalidInput`]).
pub fn stream(
    plan: Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let members = 0..plan.members().len();
    stream_members(plan, source, members)
}

/// As [`stream`], for consecutive members of a bundle.
pub(crate) fn stream_members(
    plan: Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    members: Range<usize>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let state = State::Start;
    let steps = BundleBytes { plan, source, members, state, config: None };
    streams::try_unfold(steps, async |mut steps| {
        let bytes = steps.next().await?;
        Ok(bytes.map(|bytes| (bytes, steps)))
    })
}

/// A writer that takes a bundle in order.
pub struct OutputStream<'w> {
    writer: &'w mut (dyn AsyncWrite + Unpin + Send),
    name: &'w Path,
}

impl<'w> OutputStream<'w> {
    /// Wraps a writer. `name` describes it in errors.
    pub fn new(writer: &'w mut (dyn AsyncWrite + Unpin + Send), name: &'w Path) -> Self {
        Self { writer, name }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).await.map_err(Error::io("write", self.name))
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().await.map_err(Error::io("write", self.name))
    }
}

/// Writes a planned bundle to a writer and returns the digest of its bytes.
///
/// A blob in several archives is fetched once for each.
///
/// # Errors
/// The errors of the source and of the writer.
pub async fn write_into(
    plan: &Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    mut output: OutputStream<'_>,
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    progress.add_total(plan.size());
    let (mut chunks, mut hasher) = (stream(Arc::clone(plan), source).boxed(), Hasher::default());
    while let Some(bytes) = chunks.next().await {
        let bytes = bytes?;
        hasher.update(&bytes);
        output.write(&bytes).await?;
        progress.advance(bytes.len() as u64);
    }
    output.flush().await?;
    Ok(hasher.finish())
}

struct BundleBytes {
    plan: Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    /// The indexes of the members after the current one.
    members: Range<usize>,
    state: State,
    /// The bytes of a configuration so far.
    config: Option<Vec<u8>>,
}

enum State {
    Start,
    BetweenMembers,
    Run(RunChunks),
    Blob { number: usize, bytes: Box<VerifiedBlob>, encoder: MemberEncoder },
    End,
}

impl BundleBytes {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match std::mem::replace(&mut self.state, State::End) {
                State::Start => {
                    self.plan.require_bytes()?;
                    self.state = State::BetweenMembers;
                }
                State::BetweenMembers => {
                    if let Some(header) = self.begin_member()? {
                        return Ok(Some(header));
                    }
                }
                State::Run(mut chunks) => match chunks.next() {
                    Some(chunk) => {
                        self.state = State::Run(chunks);
                        return Ok(Some(chunk.into()));
                    }
                    None => self.state = State::BetweenMembers,
                },
                State::Blob { number, mut bytes, mut encoder } => match bytes.next().await {
                    Some(read) => {
                        let read = read.map_err(|error| self.in_blob(number, error))?;
                        if let Some(config) = &mut self.config {
                            config.extend_from_slice(&read);
                        }
                        let mut framed = Vec::with_capacity(read.len() + read.len() / 4096 + 64);
                        encoder.push(&read, |slice| framed.extend_from_slice(slice));
                        self.state = State::Blob { number, bytes, encoder };
                        return Ok(Some(framed.into()));
                    }
                    None => return self.end_blob(number, encoder).map(Some),
                },
                State::End => return Ok(None),
            }
        }
    }

    /// Starts the next member, if there is one; for a blob, returns the headers before its content.
    fn begin_member(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(number) = self.members.next() else { return Ok(None) };
        let Some(member) = self.plan.members().get(number) else { return Ok(None) };
        let Content::Blob { blob: number, .. } = member.content else {
            self.state = RunChunks::new(&self.plan, member).map_or(State::End, State::Run);
            return Ok(None);
        };
        let mut encoder = member.place.encoder();
        self.configs(number).try_for_each(PlannedConfig::check_size)?;
        let is_config = self.configs(number).next().is_some();
        self.config = is_config.then(Vec::new);
        let mut header = Vec::new();
        encoder.begin(|slice| header.extend_from_slice(slice));
        let blob = &self.plan.blobs()[number];
        let source = Arc::clone(&self.source);
        let bytes = Box::new(open_blob(source, &blob.repository, &blob.descriptor));
        self.state = State::Blob { number, bytes, encoder };
        Ok(Some(header.into()))
    }

    /// Checks the blob if it is a configuration, and returns the trailers after its content.
    fn end_blob(&mut self, number: usize, encoder: MemberEncoder) -> Result<Bytes, Error> {
        let config = self.config.take().unwrap_or_default();
        self.configs(number).try_for_each(|planned| planned.check_layers(&config))?;
        let mut trailer = Vec::new();
        encoder.finish(|slice| trailer.extend_from_slice(slice));
        self.state = State::BetweenMembers;
        Ok(trailer.into())
    }

    /// The configurations that a blob holds, one for each image.
    fn configs(&self, blob: usize) -> impl Iterator<Item = &PlannedConfig> {
        self.plan.configs().iter().filter(move |config| config.blob == blob)
    }

    fn in_blob(&self, number: usize, error: compass_registry::Error) -> Error {
        let blob = &self.plan.blobs()[number];
        error.in_blob(&blob.reference, blob.descriptor.digest).into()
    }
}
