//! Goes on where a connection broke.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::retry::{SILENCE, TRIES, pause};
use crate::{ByteStream, Descriptor, Error, ImageSource, Repository};

struct Resume {
    source: Arc<dyn ImageSource>,
    repository: Repository,
    descriptor: Descriptor,
    offset: u64,
    failures: u32,
    bytes: Option<ByteStream>,
    /// The source ended the blob too early, without an error.
    cut_short: bool,
}

/// The bytes of a blob; where the connection breaks, the blob is opened again at that offset. It
/// stands below the verifier, so that what was hashed stays hashed.
pub(crate) fn resuming(
    source: Arc<dyn ImageSource>,
    repository: Repository,
    descriptor: Descriptor,
) -> ByteStream {
    let start = Resume {
        source,
        repository,
        descriptor,
        offset: 0,
        failures: 0,
        bytes: None,
        cut_short: false,
    };
    let steps = stream::unfold(Some(start), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    steps.boxed()
}

impl Resume {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.step().await {
                Ok(Some(chunk)) => {
                    self.offset += chunk.len() as u64;
                    self.failures = 0;
                    self.cut_short = false;
                    return Ok(Some(chunk));
                }
                Ok(None) if self.offset >= self.descriptor.size => return Ok(None),
                // Once more: a proxy may have cut it. Twice at the same place: it is all there is.
                Ok(None) if !self.cut_short => {
                    self.bytes = None;
                    self.cut_short = true;
                }
                Ok(None) => return Err(self.too_short()),
                Err(Error::Refused { status: 416, .. }) if self.cut_short => {
                    return Err(self.too_short());
                }
                Err(error) if error.is_transient() && self.failures + 1 < TRIES => {
                    self.bytes = None;
                    self.failures += 1;
                    let digest = self.descriptor.digest;
                    tracing::debug!(%error, %digest, offset = self.offset, "resume");
                    pause(self.failures).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Error> {
        let bytes = match &mut self.bytes {
            Some(bytes) => bytes,
            closed => {
                let bytes =
                    self.source.blob(&self.repository, &self.descriptor, self.offset).await?;
                closed.insert(bytes)
            }
        };
        match tokio::time::timeout(SILENCE, bytes.next()).await {
            Ok(chunk) => chunk.transpose(),
            Err(elapsed) => Err(Error::Unreachable {
                host: "the registry".to_owned(),
                request: format!("blob {}", self.descriptor.digest),
                source: Box::new(elapsed),
            }),
        }
    }

    fn too_short(&self) -> Error {
        Error::SizeMismatch {
            what: format!("{}@{}", self.repository, self.descriptor.digest),
            expected: self.descriptor.size,
            actual: self.offset,
        }
    }
}
