//! Publishes one object, unless another one has its key.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use compass_registry::{Digest, Hasher, Progress};

use super::address::ObjectAddress;
use super::checksum::{Comparison, ObjectChecksum, StoredChecksum};
use super::client::{Body, Client, RequestError};
use super::part_layout::PartLayout;
use super::part_reader::{PartReader, Summary};
use super::upload::{Failure, SentUpload, Target};
use crate::Error;
use crate::read::{BundleSource as _, MAX_CHECKSUM, checksum_in};
use crate::store::Published;
use crate::write::{checksum_line, checksum_path};

/// Compares the digest of a file with the one it should have.
pub(super) type CheckDigest<'c> = dyn Fn(Digest) -> Result<(), Error> + Sync + 'c;

/// The maximum number of attempts of an upload that other processes abort.
const MAX_RESTARTS: usize = 3;

/// The maximum number of attempts to complete an upload while the storage reports a conflict.
const MAX_COMPLETIONS: u32 = 5;

/// Bytes per read of a published object.
const READ_SIZE: u64 = 8 << 20;

/// An object to publish.
pub(super) struct Object<'o> {
    pub(super) client: &'o Client,
    pub(super) address: ObjectAddress,
    /// The path of the object in the store.
    pub(super) path: &'o Path,
    pub(super) layout: PartLayout,
    /// Starts to read the bytes.
    pub(super) read: &'o (dyn Fn(PartLayout) -> PartReader + Sync),
    pub(super) check: &'o CheckDigest<'o>,
    pub(super) progress: &'o dyn Progress,
}

/// A published object.
struct Existing {
    stored: StoredChecksum,
    /// The digest in the `.sha256` object, if there is one.
    sidecar: Option<Digest>,
}

impl Object<'_> {
    /// Publishes the object and its `.sha256`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an object with other bytes has the key; the errors of the source and
    /// of the storage.
    pub(super) async fn publish(&self) -> Result<Published, Error> {
        for _ in 0..MAX_RESTARTS {
            if let Some(existing) = self.existing().await? {
                self.require_size(&existing)?;
                let summary = (self.read)(self.layout).finish(self.progress).await?;
                (self.check)(summary.digest)?;
                return self.confirm_identical(existing, &summary).await;
            }
            let published = match self.layout.count() {
                1 => self.put().await?,
                _ => self.upload().await?,
            };
            if let Some(published) = published {
                return Ok(published);
            }
        }
        let reason = "other processes have aborted the upload repeatedly";
        Err(Error::store("upload", &self.address.shown, reason))
    }

    /// Writes an object of one part. Returns `None` if an object appeared meanwhile.
    async fn put(&self) -> Result<Option<Published>, Error> {
        let mut reader = (self.read)(self.layout);
        let Some(part) = reader.next().await? else {
            return Err(Error::damaged("the bundle has no bytes"));
        };
        let summary = reader.finish(self.progress).await?;
        (self.check)(summary.digest)?;
        let bytes = match part.body {
            Body::Bytes(bytes) => bytes,
            Body::File(file, range) => file.read(range).await?,
        };
        let size = bytes.len() as u64;
        match self.client.put(&self.address.key, bytes, true).await {
            Ok(()) => {}
            Err(error) if error.is_existing() || error.is_conflict() => return Ok(None),
            Err(error) => return Err(self.failed("upload", error)),
        }
        self.progress.advance(size);
        self.finish(&summary, size).await.map(Some)
    }

    /// Uploads an object in parts. Returns `None` if the upload must be started again.
    async fn upload(&self) -> Result<Option<Published>, Error> {
        let target = self.target();
        let upload = match target.send((self.read)(self.layout)).await {
            Ok(Some(upload)) => upload,
            Ok(None) => return Ok(None),
            Err(Failure::Source(error)) => return Err(error),
            Err(Failure::Request(error)) => return Err(self.failed("upload", error)),
        };
        if let Err(error) = (self.check)(upload.summary.digest) {
            // The file is damaged. A resumed upload may belong to another process that reads an intact
            // file; that process sends the wrong parts again.
            if upload.is_own {
                target.abort(&upload.id).await;
            }
            return Err(error);
        }
        self.complete(&upload).await
    }

    /// Makes the object visible. Returns `None` if the upload must be started again.
    async fn complete(&self, upload: &SentUpload) -> Result<Option<Published>, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let completed = self.client.complete(&self.address.key, &upload.id, &upload.parts);
            match completed.await {
                Ok(()) => return self.finish(&upload.summary, upload.sent).await.map(Some),
                Err(error) if error.is_existing() => {
                    self.target().abort(&upload.id).await;
                    return self.confirm_appeared(&upload.summary).await;
                }
                // Another process has completed or aborted it, or the answer to an earlier attempt
                // was lost.
                Err(error) if error.is_upload_gone() || error.is_part_changed() => {
                    return self.confirm_appeared(&upload.summary).await;
                }
                Err(error) if error.is_conflict() && attempts < MAX_COMPLETIONS => {
                    tokio::time::sleep(Duration::from_millis(200) * attempts).await;
                }
                Err(error) => return Err(self.failed("complete the upload of", error)),
            }
        }
    }

    /// Compares the stored object with the sent bytes, and writes the `.sha256`.
    async fn finish(&self, summary: &Summary, sent: u64) -> Result<Published, Error> {
        let stored = self.client.head(&self.address.key).await;
        let stored = stored.map_err(|error| self.failed("read back", error))?;
        match stored.map(|stored| summary.object.compare(&stored)) {
            Some(Comparison::Equal) => {}
            Some(Comparison::Unknown) => {
                tracing::debug!(key = self.address.key, "the store has no checksum to compare");
            }
            Some(Comparison::Different) => {
                let url = &self.address.shown;
                return Err(Error::damaged(format!("{url} has other bytes than were uploaded")));
            }
            None => {
                return Err(Error::store(
                    "read back",
                    &self.address.shown,
                    "the store has lost the object after the upload",
                ));
            }
        }
        self.target().abort_all().await;
        self.write_checksum(summary.digest).await?;
        Ok(self.published(summary.digest, Some(sent)))
    }

    /// Compares an object that another process has published meanwhile. Returns `None` if there is
    /// none.
    async fn confirm_appeared(&self, summary: &Summary) -> Result<Option<Published>, Error> {
        let Some(existing) = self.existing().await? else { return Ok(None) };
        (self.check)(summary.digest)?;
        self.confirm_identical(existing, summary).await.map(Some)
    }

    /// Checks that the published object has the same bytes.
    async fn confirm_identical(
        &self,
        existing: Existing,
        summary: &Summary,
    ) -> Result<Published, Error> {
        let is_identical = match summary.object.compare(&existing.stored) {
            Comparison::Equal => true,
            Comparison::Different => false,
            Comparison::Unknown => match existing.sidecar {
                Some(digest) => digest == summary.digest,
                None => self.read_digest(&summary.object).await? == summary.digest,
            },
        };
        if !is_identical {
            return Err(self.conflict());
        }
        self.target().abort_all().await;
        if existing.sidecar != Some(summary.digest) {
            self.write_checksum(summary.digest).await?;
        }
        Ok(self.published(summary.digest, None))
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

    fn require_size(&self, existing: &Existing) -> Result<(), Error> {
        match existing.stored.size == Some(self.layout.size) {
            true => Ok(()),
            false => Err(self.conflict()),
        }
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

    /// Writes the `.sha256` object. Replaces the checksum of a deleted bundle.
    async fn write_checksum(&self, digest: Digest) -> Result<(), Error> {
        let line = Bytes::from(checksum_line(self.path, digest));
        let written = self.client.put(&self.checksum_key(), line, false).await;
        written.map_err(|error| self.failed("write the checksum of", error))
    }

    fn checksum_key(&self) -> String {
        checksum_path(Path::new(&self.address.key)).display().to_string()
    }

    fn target(&self) -> Target<'_> {
        Target { client: self.client, key: &self.address.key, progress: self.progress }
    }

    fn published(&self, digest: Digest, sent: Option<u64>) -> Published {
        Published::new(self.address.shown.clone(), self.layout.size, digest, sent)
    }

    fn conflict(&self) -> Error {
        Error::Conflict { path: self.address.shown.clone() }
    }

    fn failed(&self, action: &'static str, error: RequestError) -> Error {
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
        size => client.get(key, 0..size).await.map(Some),
    }
}
