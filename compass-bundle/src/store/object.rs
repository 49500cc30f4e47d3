//! Object storages: Amazon S3 and compatible ones, and Alibaba OSS.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Digest, Hasher, ImageSource, Progress};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use opendal::{ErrorKind, Operator};
use tokio::task::spawn_blocking;

use super::directory::digest_of;
use super::object_file::read_small;
use super::operator::{operator, split};
use super::storage_error::failed;
use super::upload::Upload;
use super::{Published, digest_of_plan, redact_url, store_path};
use crate::format::document::BundleDocument;
use crate::read::{BundleSource as _, LocalFile, check_sidecar, checksum_in};
use crate::write::{checksum_line, checksum_path};
use crate::{BundlePlan, Error};

/// Bytes per part of an upload. Storages allow ten thousand parts.
const PART_SIZE: usize = 8 << 20;

/// Maximum parts of an upload, with a margin.
const MAX_PARTS: u64 = 9_000;

/// Concurrent parts of an upload.
const CONCURRENT_PARTS: usize = 2;

/// Bytes per read from a local file.
const READ_SIZE: u64 = 1 << 20;

/// A bucket, or a prefix in it.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    operator: Operator,
    address: String,
}

/// A published bundle.
struct ExistingObject {
    digest: Digest,
    size: u64,
    has_checksum: bool,
}

impl ObjectStore {
    /// Opens `s3://bucket/prefix` or `oss://bucket/prefix`. Sends no request.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], also if the environment lacks an endpoint.
    pub fn open(address: &str) -> Result<Self, Error> {
        let address = address.trim_end_matches('/');
        let (bucket, prefix) = split(address)?;
        let operator = operator(address, bucket, prefix)?;
        Ok(Self { operator, address: redact_url(address) })
    }

    /// Publishes a bundle file.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the bundle does not match the `.sha256` file beside it;
    /// [`Error::Conflict`] if other bytes are published under the same name.
    pub async fn publish(
        &self,
        bundle: &Path,
        document: &BundleDocument,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, Error> {
        let path = store_path(document)?;
        let file = LocalFile::open(bundle)?;
        let size = file.size();
        if let Some(existing) = self.published(&path).await? {
            if existing.size != size {
                return Err(self.conflict(&path));
            }
            let (path_of_bundle, hashed) = (bundle.to_owned(), Arc::clone(&progress));
            let digest = spawn_blocking(move || digest_of(&path_of_bundle, &*hashed)).await;
            let digest = digest.map_err(|_| Error::damaged("a thread panicked"))??;
            check_sidecar(bundle, digest)?;
            return self.confirm_identical(&path, existing, digest).await;
        }
        progress.add_total(size);
        let chunks = stream::try_unfold(0, async |position| {
            let next = size.min(position + READ_SIZE);
            if position == next {
                return Ok(None);
            }
            Ok(Some((file.read(position..next).await?, next)))
        });
        let check_digest = |digest| check_sidecar(bundle, digest);
        self.upload(&path, chunks.boxed(), (size, &check_digest), &*progress).await
    }

    /// Writes a planned bundle to the storage without a local file.
    ///
    /// # Errors
    /// As [`ObjectStore::publish`]; errors of the source.
    pub async fn write(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        progress: &dyn Progress,
    ) -> Result<Published, Error> {
        let path = store_path(plan.document())?;
        let existing = self.published(&path).await?;
        if existing.as_ref().is_some_and(|existing| existing.size != plan.size()) {
            return Err(self.conflict(&path));
        }
        if let Some(existing) = existing {
            // Only compute the digest; the object exists already.
            let digest = digest_of_plan(plan, source, progress).await?;
            return self.confirm_identical(&path, existing, digest).await;
        }
        progress.add_total(plan.size());
        let chunks = crate::stream(Arc::clone(plan), source).boxed();
        self.upload(&path, chunks, (plan.size(), &|_| Ok(())), progress).await
    }

    /// The bundle that is published at a path.
    async fn published(&self, path: &Path) -> Result<Option<ExistingObject>, Error> {
        let key = key(path);
        let size = match self.operator.stat(&key).await {
            Ok(metadata) => metadata.content_length(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("look at", path)(error)),
        };
        let (digest, has_checksum) =
            match read_small(&self.operator, &self::key(&checksum_path(path))).await {
                Ok(text) => (parse_checksum(&text, path), true),
                // An earlier run ended between the upload of the bundle and of its checksum.
                Err(error) if error.kind() == ErrorKind::NotFound => (None, false),
                Err(error) => return Err(self.failed("read the checksum of", path)(error)),
            };
        let digest = match digest {
            Some(digest) => digest,
            None => self.digest(&key, size).await.map_err(self.failed("read", path))?,
        };
        Ok(Some(ExistingObject { digest, size, has_checksum }))
    }

    async fn digest(&self, key: &str, size: u64) -> opendal::Result<Digest> {
        let reader = self.operator.reader_with(key).chunk(PART_SIZE).await?;
        let mut bytes = reader.into_bytes_stream(0..size).await?;
        let mut hasher = Hasher::default();
        while let Some(chunk) = bytes.try_next().await.map_err(|error| {
            opendal::Error::new(ErrorKind::Unexpected, "reading failed").set_source(error)
        })? {
            hasher.update(&chunk);
        }
        Ok(hasher.finish())
    }

    /// Checks that the published bundle has the expected digest.
    async fn confirm_identical(
        &self,
        path: &Path,
        existing: ExistingObject,
        digest: Digest,
    ) -> Result<Published, Error> {
        if existing.digest != digest {
            return Err(self.conflict(path));
        }
        if !existing.has_checksum {
            self.write_checksum(path, digest).await?;
        }
        Ok(Published { url: self.url(path), size: existing.size, digest, present: true })
    }

    /// Uploads in parts. The object appears after the last part, if the digest is correct and no
    /// other object has the same key.
    async fn upload(
        &self,
        path: &Path,
        chunks: impl Stream<Item = Result<Bytes, Error>> + Unpin,
        (size, check_digest): (u64, &(dyn Fn(Digest) -> Result<(), Error> + Sync)),
        progress: &dyn Progress,
    ) -> Result<Published, Error> {
        let part = PART_SIZE.max(usize::try_from(size / MAX_PARTS).unwrap_or(PART_SIZE));
        let key = key(path);
        let writer = self.operator.writer_with(&key).chunk(part).concurrent(CONCURRENT_PARTS);
        let writer =
            writer.if_not_exists(true).await.map_err(self.failed("begin the upload of", path))?;
        let mut upload = Some(Upload::begin(writer, self.url(path)));
        let sent = self.send(path, (chunks, size), &mut upload, progress).await;
        let digest = match sent.and_then(|digest| check_digest(digest).map(|()| digest)) {
            Ok(digest) => digest,
            Err(error) => {
                abort(upload).await;
                return Err(error);
            }
        };
        let completed = match upload {
            Some(upload) => upload.complete().await,
            None => Err(opendal::Error::new(ErrorKind::AlreadyExists, "the object exists")),
        };
        match completed {
            Ok(()) => {}
            Err(error) if already_exists(&error) => {
                return match self.published(path).await? {
                    Some(existing) if existing.size == size => {
                        self.confirm_identical(path, existing, digest).await
                    }
                    _ => Err(self.conflict(path)),
                };
            }
            Err(error) => return Err(self.failed("complete the upload of", path)(error)),
        }
        self.write_checksum(path, digest).await?;
        Ok(Published { url: self.url(path), size, digest, present: false })
    }

    /// Sends all bytes, and returns their digest. Takes `upload` if the object exists.
    async fn send(
        &self,
        path: &Path,
        (mut chunks, size): (impl Stream<Item = Result<Bytes, Error>> + Unpin, u64),
        upload: &mut Option<Upload>,
        progress: &dyn Progress,
    ) -> Result<Digest, Error> {
        let (mut hasher, mut sent) = (Hasher::default(), 0);
        while let Some(bytes) = chunks.try_next().await? {
            hasher.update(&bytes);
            let length = bytes.len() as u64;
            if let Some(running) = upload {
                match running.write(bytes).await {
                    // The existing object may be identical: continue hashing, and compare the
                    // digests.
                    Err(error) if already_exists(&error) => abort(upload.take()).await,
                    written => written.map_err(self.failed("upload", path))?,
                }
            }
            sent += length;
            progress.advance(length);
        }
        match sent == size {
            true => Ok(hasher.finish()),
            false => Err(Error::damaged(format!("the file ended after {sent} of {size} bytes"))),
        }
    }

    /// Writes the checksum of the published bundle. Replaces the checksum of a deleted bundle.
    async fn write_checksum(&self, path: &Path, digest: Digest) -> Result<(), Error> {
        let key = key(&checksum_path(path));
        let written = self.operator.write(&key, checksum_line(path, digest).into_bytes()).await;
        written.map(drop).map_err(self.failed("write the checksum of", path))
    }

    fn conflict(&self, path: &Path) -> Error {
        Error::Conflict { path: self.url(path) }
    }

    fn url(&self, path: &Path) -> String {
        format!("{}/{}", self.address, path.display())
    }

    fn failed(&self, action: &'static str, path: &Path) -> impl Fn(opendal::Error) -> Error {
        let url = self.url(path);
        move |error| failed(action, &url, error)
    }
}

async fn abort(upload: Option<Upload>) {
    if let Some(upload) = upload {
        upload.abort().await;
    }
}

/// Whether another object has the same key.
fn already_exists(error: &opendal::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists | ErrorKind::Conflict
    )
}

fn key(path: &Path) -> String {
    path.display().to_string()
}

fn parse_checksum(text: &[u8], path: &Path) -> Option<Digest> {
    checksum_in(text, path.file_name().unwrap_or_default().as_encoded_bytes()).ok()
}
