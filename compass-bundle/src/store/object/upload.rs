//! Uploads an object in parts, and resumes an unfinished upload of the same bytes.
//!
//! The storage's list of parts is the only journal, so any machine can resume. An upload belongs to
//! the same bundle if its first part has the same bytes: the part contains `bundle.json`, which
//! determines every byte of a bundle. Therefore the first part is sent before all others.

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::Progress;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::checksum::Comparison;
use super::client::{Client, CompletedPart, ListedPart, RequestError};
use super::part_reader::{Part, PartReader, Summary};
use crate::Error;

/// The maximum number of parts that are read or sent at once. All of them may be in memory.
const CONCURRENT_PARTS: usize = 3;

/// The maximum number of unfinished uploads of a key that are examined.
const MAX_CANDIDATES: usize = 20;

/// An upload of which the storage has all parts.
pub(super) struct SentUpload {
    pub(super) id: String,
    /// Whether this process has started the upload.
    pub(super) is_own: bool,
    pub(super) parts: Vec<CompletedPart>,
    pub(super) summary: Summary,
    /// The bytes that were sent, without those of parts that the storage already had.
    pub(super) sent: u64,
}

/// An unfinished upload and its parts in the storage.
struct Upload {
    id: String,
    is_own: bool,
    listed: HashMap<u64, ListedPart>,
}

/// The object to upload.
#[derive(Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) client: &'t Client,
    pub(super) key: &'t str,
    pub(super) progress: &'t dyn Progress,
}

impl Target<'_> {
    /// Sends the parts that the storage does not have. Returns `None` if another process has completed
    /// or aborted the upload.
    ///
    /// # Errors
    /// The errors of the reader, and [`Failure::Request`] of the storage. The upload is kept, so that
    /// another run can resume it.
    pub(super) async fn send(self, mut reader: PartReader) -> Result<Option<SentUpload>, Failure> {
        let Some(first) = reader.next().await? else {
            return Err(Error::damaged("the bundle has no bytes").into());
        };
        let upload = match self.find(&first).await? {
            Some(upload) => upload,
            None => {
                let id = self.client.initiate(self.key).await?;
                Upload { id, is_own: true, listed: HashMap::new() }
            }
        };
        match self.send_all(&upload, first, &mut reader).await {
            Ok(mut all) => {
                all.sort_by_key(|(part, _)| part.number);
                let sent = all.iter().map(|(_, sent)| sent).sum();
                let parts = all.into_iter().map(|(part, _)| part).collect();
                let summary = reader.finish(self.progress).await?;
                let Upload { id, is_own, .. } = upload;
                Ok(Some(SentUpload { id, is_own, parts, summary, sent }))
            }
            Err(Failure::Request(error)) if error.is_upload_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the first part, and then the others, several at once.
    async fn send_all(
        self,
        upload: &Upload,
        first: Part,
        reader: &mut PartReader,
    ) -> Result<Vec<(CompletedPart, u64)>, Failure> {
        let mut all = vec![self.send_part(upload, first).await?];
        let (sender, mut parts) = mpsc::channel(CONCURRENT_PARTS);
        let send = async {
            let mut running = FuturesUnordered::new();
            loop {
                tokio::select! {
                    Some((part, permit)) = parts.recv() => running.push(async move {
                        let sent = self.send_part(upload, part).await;
                        drop(permit);
                        sent
                    }),
                    Some(sent) = running.next() => all.push(sent?),
                    else => return Ok(()),
                }
            }
        };
        tokio::try_join!(read_all(reader, sender), send)?;
        Ok(all)
    }

    /// Finds the unfinished upload of the same bytes that has the most parts.
    async fn find(self, first: &Part) -> Result<Option<Upload>, RequestError> {
        let mut best: Option<Upload> = None;
        for id in self.unfinished().await?.into_iter().take(MAX_CANDIDATES) {
            let listed = match self.client.list_parts(self.key, &id).await {
                Ok(listed) => listed,
                // Another process has completed or aborted it.
                Err(error) if error.is_upload_gone() || error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let listed: HashMap<_, _> =
                listed.into_iter().map(|part| (part.part_number, part)).collect();
            let is_same = listed.get(&1).is_some_and(|part| is_equal(first, part));
            let is_best = best.as_ref().is_none_or(|best| best.listed.len() < listed.len());
            if is_same && is_best {
                best = Some(Upload { id, is_own: false, listed });
            }
        }
        Ok(best)
    }

    /// The IDs of the unfinished uploads of the key.
    async fn unfinished(self) -> Result<Vec<String>, RequestError> {
        match self.client.list_uploads(self.key).await {
            Ok(uploads) => {
                let of_key = uploads.into_iter().filter(|upload| upload.key == self.key);
                Ok(of_key.map(|upload| upload.upload_id).collect())
            }
            Err(error) if error.is_unavailable() => {
                tracing::warn!(%error, "cannot list unfinished uploads, so none is resumed");
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Aborts all unfinished uploads of the key. They cannot be completed any more, because the
    /// object exists.
    pub(super) async fn abort_all(self) {
        let unfinished = self.unfinished().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list unfinished uploads");
            Vec::new()
        });
        for id in unfinished {
            self.abort(&id).await;
        }
    }

    /// Aborts an upload. A failure is only logged, because leftover parts only occupy storage.
    pub(super) async fn abort(self, id: &str) {
        if let Err(error) = self.client.abort(self.key, id).await {
            tracing::warn!(%error, key = self.key, "cannot abort an unfinished upload");
        }
    }

    /// Sends a part unless the storage has it. Returns the part and the number of sent bytes.
    async fn send_part(
        self,
        upload: &Upload,
        part: Part,
    ) -> Result<(CompletedPart, u64), RequestError> {
        let (number, size) = (part.number, part.checksum.size);
        let done = match upload.listed.get(&number).filter(|listed| is_equal(&part, listed)) {
            Some(listed) => {
                let (etag, crc32c) = (listed.etag().to_owned(), part.checksum.crc32c_base64());
                (CompletedPart { number, etag, crc32c: Some(crc32c) }, 0)
            }
            None => {
                let id = (upload.id.as_str(), number);
                let sent = self.client.upload_part(self.key, id, part.body, &part.checksum);
                (sent.await?, size)
            }
        };
        self.progress.advance(size);
        Ok(done)
    }
}

/// Reads all parts. At most [`CONCURRENT_PARTS`] exist at once.
async fn read_all(
    reader: &mut PartReader,
    parts: mpsc::Sender<(Part, OwnedSemaphorePermit)>,
) -> Result<(), Failure> {
    let places = Arc::new(Semaphore::new(CONCURRENT_PARTS));
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&places).acquire_owned().await {
        let Some(part) = reader.next().await? else { break };
        if parts.send((part, permit)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A failure to read or to send parts.
pub(super) enum Failure {
    Source(Error),
    Request(RequestError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Source(error)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// Whether a part in the storage has the bytes of a local part. Returns false if the storage reports
/// no checksum.
fn is_equal(part: &Part, listed: &ListedPart) -> bool {
    part.checksum.compare(&listed.checksum()) == Comparison::Equal
}
