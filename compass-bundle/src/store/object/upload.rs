//! Sends the parts of an object.
//!
//! The storage's list of parts is the only journal, so any machine can resume an upload, and several
//! can send parts of one.

use std::collections::HashMap;

use compass_registry::Progress;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::checksum::{Comparison, StoredChecksum};
use super::client::{Client, CompletedPart, ListedPart, PartId, RequestError};
use super::copies::Copies;
use super::part::Part;
use super::part_memory::PartMemory;
use crate::Error;

/// An unfinished upload and its parts in the storage.
pub(super) struct Upload {
    pub(super) id: String,
    /// Whether this process has started the upload.
    pub(super) is_own: bool,
    pub(super) listed: HashMap<u64, ListedPart>,
}

/// The parts that were sent, copied or already in the storage.
#[derive(Default)]
pub(super) struct SentParts {
    pub(super) parts: Vec<CompletedPart>,
    pub(super) transferred: Transferred,
}

/// A part that was sent, copied or already in the storage.
struct SentPart {
    part: CompletedPart,
    transferred: Transferred,
}

/// The bytes that were transferred, without those of parts that the storage already had.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Transferred {
    pub(super) sent: u64,
    pub(super) copied: u64,
}

/// The object to upload.
#[derive(Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) client: &'t Client,
    pub(super) key: &'t str,
    pub(super) progress: &'t dyn Progress,
}

/// The number of parts that wait for the receiver, which takes them at once.
const WAITING_PARTS: usize = 4;

/// Takes parts for an upload. Their memory is limited.
pub(super) struct PartSender {
    parts: mpsc::Sender<Part>,
    memory: PartMemory,
}

/// The other end of a [`PartSender`].
pub(super) type PartReceiver = mpsc::Receiver<Part>;

impl PartSender {
    /// Creates a sender and a receiver of parts, at most `concurrent_files` of which are sent from
    /// files at once.
    pub(super) fn channel(concurrent_files: u32) -> (Self, PartReceiver) {
        let (parts, receiver) = mpsc::channel(WAITING_PARTS);
        (Self { parts, memory: PartMemory::new(concurrent_files) }, receiver)
    }

    /// The memory of the parts.
    pub(super) fn memory(&self) -> &PartMemory {
        &self.memory
    }

    /// Waits until the part may be sent.
    pub(super) async fn send(&self, part: Part) {
        let memory = match part.memory {
            Some(memory) => memory,
            None => self.memory.reserve_file().await,
        };
        // The receiver ends early only after an error, which its side reports.
        let _ = self.parts.send(Part { memory: Some(memory), ..part }).await;
    }
}

impl Target<'_> {
    /// Sends parts that the storage does not have, several at once.
    ///
    /// # Errors
    /// Those of the storage. The upload is kept, so that another run can resume it.
    pub(super) async fn send_all(
        self,
        upload: &Upload,
        copies: &Copies,
        mut parts: PartReceiver,
    ) -> Result<SentParts, Failure> {
        let (mut running, mut all) = (FuturesUnordered::new(), SentParts::default());
        loop {
            tokio::select! {
                Some(part) = parts.recv() => {
                    while part.is_last_of_blob
                        && let Some(sent) = running.next().await
                    {
                        all.add(sent?);
                    }
                    running.push(self.send_part(upload, copies, part));
                }
                Some(sent) = running.next() => all.add(sent?),
                else => break,
            }
        }
        all.parts.sort_by_key(|part| part.number);
        Ok(all)
    }

    /// Sends a part unless the storage has it, or copies it from another object.
    async fn send_part(
        self,
        upload: &Upload,
        copies: &Copies,
        part: Part,
    ) -> Result<SentPart, RequestError> {
        let (number, size) = (part.number, part.content.checksum.size);
        let mut transferred = Transferred::default();
        let done = if let Some(listed) = upload.listed.get(&number)
            && part.content.checksum.compare(&listed.checksum()) == Comparison::Equal
        {
            completed(&part, listed.etag())
        } else if let Some(copied) = self.copy_part(upload, copies, &part).await {
            transferred.copied = size;
            copied
        } else {
            transferred.sent = size;
            let id = PartId { upload: &upload.id, number };
            self.client.upload_part(self.key, id, part.content).await?
        };
        self.progress.advance(size);
        Ok(SentPart { part: done, transferred })
    }

    /// Copies a part from another object, if one has its bytes.
    ///
    /// Returns `None` if the part must be sent: no object has it, the storage refuses the copy, or it
    /// does not report the checksum of these bytes.
    async fn copy_part(
        self,
        upload: &Upload,
        copies: &Copies,
        part: &Part,
    ) -> Option<CompletedPart> {
        let source = copies.of_part(part.number)?;
        let id = PartId { upload: &upload.id, number: part.number };
        let copied = match self.client.upload_part_copy(self.key, id, source).await {
            Ok(copied) => copied,
            Err(error) => {
                tracing::warn!(%error, key = source.key, "cannot copy a part, so it is sent");
                copies.refuse();
                return None;
            }
        };
        let stored = StoredChecksum {
            etag: copied.etag.clone(),
            crc32c: copied.crc32c,
            ..StoredChecksum::default()
        };
        match part.content.checksum.compare(&stored) {
            Comparison::Equal => Some(completed(part, &copied.etag)),
            Comparison::Different | Comparison::Unknown => {
                let key = source.key.as_str();
                tracing::warn!(key, "a copied part has no equal checksum, so it is sent");
                None
            }
        }
    }

    /// The IDs of the unfinished uploads of the key.
    async fn unfinished(self) -> Result<Vec<String>, RequestError> {
        let uploads = self.client.list_uploads(self.key).await?;
        let of_key = uploads.into_iter().filter(|upload| upload.key == self.key);
        Ok(of_key.map(|upload| upload.upload_id).collect())
    }

    /// Aborts all unfinished uploads of the key, and removes their markers. They cannot be completed
    /// any more, because the object exists.
    pub(super) async fn abort_all(self) {
        match self.unfinished().await {
            Ok(unfinished) => {
                for id in unfinished {
                    self.abort(&id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot list unfinished uploads"),
        }
        self.remove_markers(|_| true).await;
    }

    /// Aborts an upload. A failure is only logged, because leftover parts only occupy storage.
    pub(super) async fn abort(self, id: &str) {
        if let Err(error) = self.client.abort(self.key, id).await {
            tracing::warn!(%error, key = self.key, "cannot abort an unfinished upload");
        }
    }
}

/// The part in a request to complete the upload.
fn completed(part: &Part, etag: &str) -> CompletedPart {
    let crc32c = Some(part.content.checksum.crc32c_base64());
    CompletedPart { number: part.number, etag: etag.to_owned(), crc32c }
}

impl SentParts {
    fn add(&mut self, sent: SentPart) {
        self.parts.push(sent.part);
        self.transferred.sent += sent.transferred.sent;
        self.transferred.copied += sent.transferred.copied;
    }
}

/// A failure to read or to send parts.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) enum Failure {
    Source(#[from] Error),
    Request(#[from] RequestError),
}
