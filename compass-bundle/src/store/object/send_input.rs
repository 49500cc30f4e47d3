//! Sends the bytes of an object: a local file, or a share of a planned bundle.

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::ImageSource;

use super::client::{CompletedPart, ListedPart};
use super::copies::{Copies, WithCopies};
use super::file_parts::{FileParts, Summary};
use super::publish::{CompleteUpload, Input, Object};
use super::unit_reader::UnitReader;
use super::units::{Unit, share, units};
use super::upload::{Failure, PartSender, SentParts, Transferred, Upload};
use super::upload_marker::marker_key;
use crate::Error;
use crate::read::check_sidecar;
use crate::store::SentShard;

/// The maximum number of parts of a local bundle that are sent at once.
const CONCURRENT_PARTS: u32 = 3;

/// The maximum number of parts of a planned bundle that are sent from temporary files at once. They
/// and the part that is read are on the disk.
const CONCURRENT_TEMPORARY_FILES: u32 = 2;

/// What [`Object::send_units`] has sent.
struct SentUnits {
    sent: SentParts,
    summary: Option<Summary>,
}

impl Object<'_> {
    /// Writes an object of one part. Returns `None` if an object appeared meanwhile.
    pub(super) async fn put(&self) -> Result<Option<SentShard>, Error> {
        if self.options.shard.number() > 1 {
            return Ok(Some(self.incomplete(Transferred::default(), 1)));
        }
        let size = self.layout.size();
        self.progress.add_total(size);
        let (part, summary) = match &self.input {
            Input::File { file, path } => {
                let mut parts = FileParts::new(file.clone(), self.layout.clone());
                let part = parts.next().await?;
                let summary = parts.finish(&**self.progress).await?;
                check_sidecar(path, summary.digest)?;
                (part, Some(summary))
            }
            Input::Source(source) => {
                let mut reader = self.reader(Arc::clone(source), true);
                let (sender, mut receiver) = PartSender::channel(1);
                for unit in units(self.plan, &self.layout) {
                    reader.read(&unit, &sender).await?;
                }
                (receiver.recv().await, reader.finish())
            }
        };
        let part = part.ok_or_else(|| Error::damaged("the bundle has no bytes"))?;
        match self.client.put(&self.address.key, part.content, true).await {
            Ok(()) => {}
            Err(error) if error.is_existing() || error.is_conflict() => return Ok(None),
            Err(error) => return Err(self.failed("upload", error)),
        }
        self.progress.advance(size);
        self.finish(summary, Transferred { sent: size, copied: 0 }).await.map(Some)
    }

    /// Uploads an object in parts. Returns `None` if the upload must be started again.
    pub(super) async fn upload(&self) -> Result<Option<SentShard>, Error> {
        let copies = match self.copies {
            true => Copies::find(self.client, self.store, self.plan, &self.layout).await?,
            false => Copies::default(),
        };
        let marker = marker_key(&self.address.key, self.plan, &self.layout);
        let agreed = self.target().agree(&marker).await;
        let agreed = agreed.map_err(|error| self.failed("start the upload of", error))?;
        let Some(upload) = agreed else { return Ok(None) };
        if upload.is_own && self.exists().await? {
            self.target().abort_all().await;
            return Ok(None);
        }
        let copies = Arc::new(copies);
        let sent = match self.send_input(&upload, &copies, &marker).await {
            Err(Failure::Source(error)) if copies.caused(&error) => {
                tracing::warn!(%error, "a published bundle is damaged, so nothing is copied");
                self.send_input(&upload, &Arc::default(), &marker).await
            }
            sent => sent,
        };
        match sent {
            Ok(sent) => Ok(sent),
            Err(Failure::Request(error)) if error.is_upload_gone() => Ok(None),
            Err(Failure::Request(error)) => Err(self.failed("upload", error)),
            Err(Failure::Source(error)) => Err(error),
        }
    }

    /// Sends the input, and completes the upload if the storage has all parts. Returns `None` if the
    /// upload must be started again.
    async fn send_input(
        &self,
        upload: &Upload,
        copies: &Arc<Copies>,
        marker: &str,
    ) -> Result<Option<SentShard>, Failure> {
        let id = upload.id.clone();
        match &self.input {
            Input::File { .. } => {
                let SentUnits { sent, summary } = self.send_file(upload, copies).await?;
                let SentParts { parts, transferred } = sent;
                let complete = CompleteUpload { id, parts, transferred, summary };
                Ok(self.complete(complete).await?)
            }
            Input::Source(source) => {
                let SentUnits { sent, summary } = self.send_units(upload, copies, source).await?;
                self.complete_if_whole(upload, marker, SentUnits { sent, summary }).await
            }
        }
    }

    /// Sends the parts of a local file that the storage does not have.
    async fn send_file(&self, upload: &Upload, copies: &Copies) -> Result<SentUnits, Failure> {
        let Input::File { file, path } = &self.input else {
            return Err(Error::damaged("the input is not a file").into());
        };
        self.progress.add_total(self.layout.size());
        let mut reader = FileParts::new(file.clone(), self.layout.clone());
        let (sender, receiver) = PartSender::channel(CONCURRENT_PARTS);
        let read = async {
            let sender = sender;
            while let Some(part) = reader.next().await? {
                sender.send(part).await;
            }
            Ok(())
        };
        let send = self.target().send_all(upload, copies, receiver);
        let ((), sent) = tokio::try_join!(read, send)?;
        let summary = reader.finish(&**self.progress).await?;
        if let Err(error) = check_sidecar(path, summary.digest) {
            // The file is damaged. A resumed upload may belong to another process that reads an intact
            // file; that process sends the wrong parts again.
            if upload.is_own {
                self.target().abort_all().await;
            }
            return Err(error.into());
        }
        Ok(SentUnits { sent, summary: Some(summary) })
    }

    /// Sends the units of the share that the storage does not have completely.
    async fn send_units(
        &self,
        upload: &Upload,
        copies: &Arc<Copies>,
        source: &Arc<dyn ImageSource>,
    ) -> Result<SentUnits, Failure> {
        let all = units(self.plan, &self.layout);
        let count = all.len();
        let mut own = share(all, &self.layout, self.options.shard);
        own.retain(|unit| !self.is_complete(unit, upload));
        self.progress.add_total(own.iter().map(|unit| unit.size(&self.layout)).sum());
        let source = WithCopies::new(Arc::clone(copies), Arc::clone(source));
        let mut reader = self.reader(Arc::new(source), own.len() == count);
        let (sender, receiver) = PartSender::channel(CONCURRENT_TEMPORARY_FILES);
        let read = async {
            let sender = sender;
            for unit in &own {
                reader.read(unit, &sender).await?;
            }
            Ok(())
        };
        let send = self.target().send_all(upload, copies, receiver);
        let ((), sent) = tokio::try_join!(read, send)?;
        Ok(SentUnits { sent, summary: reader.finish() })
    }

    /// Completes the upload if the storage has the parts of all shares.
    async fn complete_if_whole(
        &self,
        upload: &Upload,
        marker: &str,
        units: SentUnits,
    ) -> Result<Option<SentShard>, Failure> {
        let target = self.target();
        let SentUnits { sent: SentParts { mut parts, transferred }, summary } = units;
        if parts.len() as u64 != self.layout.count() {
            let Some(listed) = target.list_parts(&upload.id).await? else { return Ok(None) };
            parts = self.listed_parts(&listed, parts);
        }
        let missing = self.layout.count() - parts.len() as u64;
        if missing == 0 {
            let complete = CompleteUpload { id: upload.id.clone(), parts, transferred, summary };
            return Ok(self.complete(complete).await?);
        }
        // The other processes may have agreed on another upload meanwhile.
        let is_agreed = target.marked(marker).await?.as_ref() == Some(&upload.id);
        let is_share = self.options.shard.count() > 1;
        Ok((is_agreed && is_share).then(|| self.incomplete(transferred, missing)))
    }

    /// The parts in the storage that have the planned size. `sent` are those of this process.
    fn listed_parts(
        &self,
        listed: &HashMap<u64, ListedPart>,
        sent: Vec<CompletedPart>,
    ) -> Vec<CompletedPart> {
        let mut checksums: HashMap<u64, _> =
            sent.into_iter().map(|part| (part.number, part.crc32c)).collect();
        let complete = (1..=self.layout.count()).filter(|number| self.is_listed(*number, listed));
        let parts = complete.filter_map(|number| {
            let stored = listed.get(&number)?.checksum();
            let crc32c = stored.crc32c.or_else(|| checksums.remove(&number).flatten());
            Some(CompletedPart { number, etag: stored.etag, crc32c })
        });
        let mut parts: Vec<_> = parts.collect();
        // Storages that do not list checksums accept a completion without any, but not with some.
        if parts.iter().any(|part| part.crc32c.is_none()) {
            for part in &mut parts {
                part.crc32c = None;
            }
        }
        parts
    }

    /// Whether the storage has all parts of a unit. The last part of a blob is sent after all others,
    /// when the blob was verified.
    fn is_complete(&self, unit: &Unit, upload: &Upload) -> bool {
        unit.parts().all(|number| self.is_listed(number, &upload.listed))
    }

    fn is_listed(&self, number: u64, listed: &HashMap<u64, ListedPart>) -> bool {
        let size = listed.get(&number).and_then(|part| part.checksum().size);
        size == Some(self.layout.part_size(number))
    }

    fn reader(&self, source: Arc<dyn ImageSource>, is_complete: bool) -> UnitReader {
        UnitReader::new(Arc::clone(self.plan), source, self.layout.clone(), is_complete)
    }

    /// The result of a share, while other shares are missing.
    fn incomplete(&self, transferred: Transferred, missing_parts: u64) -> SentShard {
        let Transferred { sent, copied } = transferred;
        let (url, size) = (self.address.shown.clone(), self.layout.size());
        SentShard { url, size, present: false, sent, copied, missing_parts, digest: None }
    }
}
