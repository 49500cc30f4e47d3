//! Publishes one object, unless another one has its key.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Digest, Hasher, ImageSource, Progress};

use super::address::ObjectAddress;
use super::checksum::{Comparison, ObjectChecksum, StoredChecksum};
use super::client::{Client, CompletedPart, Content, RequestError};
use super::file_parts::{FileParts, Summary};
use super::object_file::ObjectFile;
use super::part_layout::PartLayout;
use super::read_back;
use super::upload::{Target, Transferred};
use crate::read::{LocalFile, MAX_CHECKSUM, check_sidecar, checksum_in};
use crate::store::{SentShard, ShardOptions};
use crate::write::{checksum_line, checksum_path};
use crate::{BundlePlan, Error};

/// The maximum number of attempts of an upload that other processes abort.
const MAX_RESTARTS: usize = 4;

/// Bytes per read of a published object.
const READ_SIZE: u64 = 8 << 20;

/// The bytes of a bundle to publish.
pub(super) enum Input<'i> {
    /// A local bundle.
    File { file: LocalFile, path: &'i Path },
    /// The source of its blobs.
    Source(Arc<dyn ImageSource>),
}

/// An object to publish.
pub(super) struct Object<'o> {
    pub(super) client: &'o Client,
    /// The address of the store.
    pub(super) store: &'o ObjectAddress,
    pub(super) address: ObjectAddress,
    /// The path of the object in the store.
    pub(super) path: &'o Path,
    pub(super) plan: &'o Arc<BundlePlan>,
    pub(super) layout: PartLayout,
    pub(super) input: Input<'o>,
    pub(super) options: ShardOptions,
    /// Whether blobs of published bundles are copied.
    pub(super) copies: bool,
    pub(super) progress: &'o Arc<dyn Progress>,
}

/// A published object.
struct Existing {
    stored: StoredChecksum,
    /// The digest in the `.sha256` object, if there is one.
    sidecar: Option<Digest>,
}

/// An upload of which the storage has all parts.
pub(super) struct CompleteUpload {
    pub(super) id: String,
    pub(super) parts: Vec<CompletedPart>,
    pub(super) transferred: Transferred,
    /// The digest and checksums, if this process has read all bytes in order.
    pub(super) summary: Option<Summary>,
}

impl Object<'_> {
    /// Publishes the object and its `.sha256`, or sends a share of it.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an object with other bytes has the key; the errors of the source and
    /// of the storage.
    pub(super) async fn publish(&self) -> Result<SentShard, Error> {
        for _ in 0..MAX_RESTARTS {
            if let Some(existing) = self.existing().await? {
                return self.confirm(existing).await;
            }
            let sent = match self.layout.count() {
                1 => self.put().await?,
                _ => self.upload().await?,
            };
            if let Some(sent) = sent {
                return Ok(sent);
            }
        }
        let reason = "other processes have aborted the upload repeatedly";
        Err(Error::store("upload", &self.address.shown, reason))
    }

    /// Makes the object visible. Returns `None` if the upload must be started again.
    pub(super) async fn complete(
        &self,
        upload: CompleteUpload,
    ) -> Result<Option<SentShard>, Error> {
        self.remove_stale_checksum().await?;
        let complete = || self.client.complete(&self.address.key, &upload.id, &upload.parts);
        match self.client.policy().run_if(RequestError::is_conflict, complete).await {
            Ok(()) => self.finish(upload.summary, upload.transferred).await.map(Some),
            Err(error) if error.is_existing() => {
                self.target().abort(&upload.id).await;
                self.confirm_appeared(upload.summary).await
            }
            // Another process has completed or aborted it, or the answer to an earlier attempt was
            // lost.
            Err(error) if error.is_upload_gone() || error.is_part_changed() => {
                self.confirm_appeared(upload.summary).await
            }
            Err(error) => Err(self.failed("complete the upload of", error)),
        }
    }

    /// Compares the stored object with the sent bytes, and writes the `.sha256`.
    pub(super) async fn finish(
        &self,
        summary: Option<Summary>,
        transferred: Transferred,
    ) -> Result<SentShard, Error> {
        let stored = self.client.head(&self.address.key).await;
        let stored = stored.map_err(|error| self.failed("read back", error))?;
        let stored = stored.ok_or_else(|| {
            let reason = "the store has lost the object after the upload";
            Error::store("read back", &self.address.shown, reason)
        })?;
        let is_intact = match &summary {
            Some(summary) => self.is_identical(summary, &stored, None).await?,
            None => stored.size == Some(self.layout.size()),
        };
        if !is_intact {
            return Err(self.remove_damaged().await?);
        }
        self.target().abort_all().await;
        let digest = match summary {
            Some(summary) => Some(summary.digest),
            None if self.options.checksum => Some(self.read_back_own().await?),
            None => None,
        };
        if let Some(digest) = digest.filter(|_| self.options.checksum) {
            self.write_checksum(digest).await?;
        }
        Ok(self.sent(digest, transferred, false))
    }

    /// Verifies the object that this process has completed.
    async fn read_back_own(&self) -> Result<Digest, Error> {
        match self.read_back().await? {
            Some(digest) => Ok(digest),
            None => Err(self.remove_damaged().await?),
        }
    }

    /// Removes an object that this process has completed: without a `.sha256`, it is not completely
    /// published. Returns the error that tells about the damage.
    async fn remove_damaged(&self) -> Result<Error, Error> {
        let removed = self.client.delete(&self.address.key).await;
        removed.map_err(|error| self.failed("remove the damaged object", error))?;
        Ok(self.damaged())
    }

    async fn read_back(&self) -> Result<Option<Digest>, Error> {
        read_back::verify(self.file(), self.plan, Arc::clone(self.progress)).await
    }

    /// Compares an object that another process has published meanwhile. Returns `None` if there is
    /// none.
    async fn confirm_appeared(&self, summary: Option<Summary>) -> Result<Option<SentShard>, Error> {
        let Some(existing) = self.existing().await? else { return Ok(None) };
        match summary {
            Some(summary) => self.confirm_identical(existing, &summary).await.map(Some),
            None => self.confirm(existing).await.map(Some),
        }
    }

    /// Checks that the published object is this bundle.
    async fn confirm(&self, existing: Existing) -> Result<SentShard, Error> {
        if existing.stored.size != Some(self.layout.size()) {
            return Err(self.conflict());
        }
        match &self.input {
            Input::File { file, path } => {
                let parts = FileParts::new(file.clone(), self.layout.clone());
                self.progress.add_total(self.layout.size());
                let summary = parts.finish(&**self.progress).await?;
                check_sidecar(path, summary.digest)?;
                self.confirm_identical(existing, &summary).await
            }
            Input::Source(_) => self.confirm_planned(existing).await,
        }
    }

    /// Checks that the published object has the same bytes.
    async fn confirm_identical(
        &self,
        existing: Existing,
        summary: &Summary,
    ) -> Result<SentShard, Error> {
        if !self.is_identical(summary, &existing.stored, existing.sidecar).await? {
            return Err(self.conflict());
        }
        self.target().abort_all().await;
        if existing.sidecar != Some(summary.digest) {
            self.write_checksum(summary.digest).await?;
        }
        Ok(self.sent(Some(summary.digest), Transferred::default(), true))
    }

    /// Whether a stored object has these bytes. It is read if its checksums do not tell that.
    async fn is_identical(
        &self,
        summary: &Summary,
        stored: &StoredChecksum,
        sidecar: Option<Digest>,
    ) -> Result<bool, Error> {
        Ok(match (summary.object.compare(stored), sidecar) {
            (Comparison::Equal, _) => true,
            (Comparison::Different, _) => false,
            (Comparison::Unknown, Some(digest)) => digest == summary.digest,
            (Comparison::Unknown, None) => {
                self.read_digest(&summary.object).await? == summary.digest
            }
        })
    }

    /// Checks that the published object is the bundle of the plan. Its `bundle.json` determines every
    /// byte.
    async fn confirm_planned(&self, existing: Existing) -> Result<SentShard, Error> {
        if !read_back::is_bundle_of(self.file(), self.plan).await? {
            return Err(self.conflict());
        }
        self.target().abort_all().await;
        let mut digest = existing.sidecar;
        if digest.is_none() && self.options.checksum {
            let read = self.read_back().await?.ok_or_else(|| self.damaged())?;
            self.write_checksum(read).await?;
            digest = Some(read);
        }
        Ok(self.sent(digest, Transferred::default(), true))
    }

    /// The object that is published under the key.
    async fn existing(&self) -> Result<Option<Existing>, Error> {
        let stored = self.client.head(&self.address.key).await;
        let stored = stored.map_err(|error| self.failed("look at", error))?;
        let Some(stored) = stored else { return Ok(None) };
        let text = read_small(self.client, &self.checksum_key()).await;
        let text = text.map_err(|error| self.failed("read the checksum of", error))?;
        let name = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let sidecar = text.and_then(|text| checksum_in(&text, name).ok());
        Ok(Some(Existing { stored, sidecar }))
    }

    /// Whether an object has the key.
    pub(super) async fn exists(&self) -> Result<bool, Error> {
        let stored = self.client.head(&self.address.key).await;
        Ok(stored.map_err(|error| self.failed("look at", error))?.is_some())
    }

    /// Reads the published object to compute its digest.
    async fn read_digest(&self, object: &ObjectChecksum) -> Result<Digest, Error> {
        let (mut hasher, mut position) = (Hasher::default(), 0);
        while position < object.size() {
            let next = object.size().min(position + READ_SIZE);
            let read = self.client.get(&self.address.key, position..next).await;
            hasher.update(&read.map_err(|error| self.failed("read", error))?);
            position = next;
        }
        Ok(hasher.finish())
    }

    /// Removes the `.sha256` of a bundle that was deleted. If this process is killed before it writes
    /// the new one, the next process must not take the old one for it.
    async fn remove_stale_checksum(&self) -> Result<(), Error> {
        let key = self.checksum_key();
        let failed = |error| self.failed("remove the checksum of", error);
        match self.client.head(&key).await.map_err(failed)? {
            Some(_) if !self.exists().await? => self.client.delete(&key).await.map_err(failed),
            _ => Ok(()),
        }
    }

    /// Writes the `.sha256` object.
    async fn write_checksum(&self, digest: Digest) -> Result<(), Error> {
        let line = Bytes::from(checksum_line(self.path, digest));
        let written = self.client.put(&self.checksum_key(), Content::of(line), false).await;
        written.map_err(|error| self.failed("write the checksum of", error))
    }

    fn checksum_key(&self) -> String {
        checksum_path(Path::new(&self.address.key)).display().to_string()
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target { client: self.client, key: &self.address.key, progress: &**self.progress }
    }

    fn file(&self) -> ObjectFile {
        ObjectFile::new(self.client.clone(), &self.address, self.layout.size())
    }

    fn sent(&self, digest: Option<Digest>, transferred: Transferred, present: bool) -> SentShard {
        let Transferred { sent, copied } = transferred;
        let (url, size) = (self.address.shown.clone(), self.layout.size());
        SentShard { url, size, present, sent, copied, missing_parts: 0, digest }
    }

    fn conflict(&self) -> Error {
        Error::Conflict { path: self.address.shown.clone() }
    }

    fn damaged(&self) -> Error {
        Error::damaged(format!("{} has other bytes than were uploaded", self.address.shown))
    }

    pub(super) fn failed(&self, action: &'static str, error: RequestError) -> Error {
        Error::store(action, &self.address.shown, error)
    }
}

/// Reads a small object. Returns `None` if it does not exist.
///
/// Reads one byte more than allowed, so that a larger object is noticed.
pub(super) async fn read_small(client: &Client, key: &str) -> Result<Option<Bytes>, RequestError> {
    let Some(stored) = client.head(key).await? else { return Ok(None) };
    match stored.size.unwrap_or_default().min(MAX_CHECKSUM + 1) {
        0 => Ok(Some(Bytes::new())),
        size => match client.get(key, 0..size).await {
            Ok(bytes) => Ok(Some(bytes)),
            // Another process has removed it meanwhile.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        },
    }
}
