//! Storages of images: in memory, and in a directory.
//!
//! A [`Storage`] holds blobs, manifests and tags, independently of HTTP. Every storage is an
//! [`ImageSource`] and an [`ImageSink`], and can be served by [`crate::server`].

#[cfg(feature = "disk")]
mod blob_files;
#[cfg(feature = "disk")]
pub(crate) mod chunked_read;
#[cfg(feature = "disk")]
mod disk;
mod memory;
mod metric;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Algorithm, ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, RawManifest,
    Repository, Tag, TagOrDigest, VerifiedBlob,
};

#[cfg(feature = "layout")]
pub(crate) use blob_files::{
    BlobFiles, CachePolicy, read_optional, remove_temporary_files, write_atomic,
};
#[cfg(feature = "disk")]
pub(crate) use chunked_read::ChunkReader;
#[cfg(feature = "disk")]
pub use disk::DiskStorage;
pub use memory::MemoryStorage;
pub use metric::{Metric, prometheus_head};

/// Stores the blobs, manifests and tags of repositories.
///
/// The methods that write fail by default, so that a read-only storage implements the others only.
///
/// # Contract
/// - A blob belongs only to the repositories that it was uploaded to or mounted into.
///   Implementations may share its bytes between repositories.
/// - Reads see complete content only: a blob after [`Upload::commit`], a manifest after
///   [`Storage::put_manifest`].
/// - The caller verifies digests, and writes a manifest after everything that it refers to.
///
/// # Cancellation
/// Dropping a future may leave unreferenced content, which must not become visible.
///
/// # Errors
/// Missing content is `None` or `false`. Only [`Storage::read_blob`] fails for it, with
/// [`Error::NotFound`]. Other errors are failures of the medium, and callers do not retry them.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Returns the size of a blob in bytes, or `None` if it does not exist.
    async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error>;

    /// Reads a range of a blob, up to the end of the blob at most.
    async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error>;

    /// Starts the upload of a blob.
    async fn begin_upload(&self, _repository: &Repository) -> Result<Box<dyn Upload>, Error> {
        Err(read_only())
    }

    /// Adds a blob of one repository, or of any if `from` is `None`, to another one. Returns
    /// `false` if it does not exist.
    async fn mount_blob(
        &self,
        _from: Option<&Repository>,
        _to: &Repository,
        _digest: &Digest,
    ) -> Result<bool, Error> {
        Err(read_only())
    }

    /// Removes a blob from a repository. Returns `false` if it does not exist.
    async fn delete_blob(&self, _repository: &Repository, _digest: &Digest) -> Result<bool, Error> {
        Err(read_only())
    }

    /// Reads a manifest.
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, Error>;

    /// Writes a manifest, and points a tag at it.
    async fn put_manifest(
        &self,
        _repository: &Repository,
        _manifest: &RawManifest,
        _tag: Option<&Tag>,
    ) -> Result<(), Error> {
        Err(read_only())
    }

    /// Removes a tag, or a manifest with all its tags. Returns `false` if it does not exist.
    async fn delete_manifest(
        &self,
        _repository: &Repository,
        _reference: &TagOrDigest,
    ) -> Result<bool, Error> {
        Err(read_only())
    }

    /// Returns the digests of the manifests whose subject is `subject`, in order.
    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, Error>;

    /// Returns the tags of a repository in order, or `None` if the repository does not exist.
    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, Error>;

    /// Returns all repositories in order.
    async fn repositories(&self) -> Result<Vec<Repository>, Error>;

    /// Returns numbers for monitoring. By default, there are none.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
}

fn read_only() -> Error {
    Error::io("cannot write to the storage", std::io::ErrorKind::ReadOnlyFilesystem.into())
}

/// An upload of a blob. Dropping it before [`Upload::commit`] discards it.
#[async_trait]
pub trait Upload: Send {
    /// Appends bytes.
    ///
    /// # Cancellation
    /// If the future is dropped, [`Upload::offset`] shows whether the bytes were accepted. If not,
    /// the upload must be dropped.
    async fn append(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// Returns the number of bytes accepted.
    fn offset(&self) -> u64;

    /// Computes a digest of the accepted bytes by reading them again.
    async fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error>;

    /// Makes the blob visible. The caller has verified that the bytes have this digest.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), Error>;
}

/// Stores a whole blob. Runs in a task of its own, so that several blobs are hashed in parallel.
pub(crate) async fn store_blob(
    mut upload: Box<dyn Upload>,
    mut blob: VerifiedBlob,
) -> Result<(), Error> {
    let digest = blob.descriptor().digest;
    let filling = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(chunk) = blob.next().await {
            upload.append(chunk?).await?;
        }
        upload.commit(&digest).await
    }));
    filling.await.map_err(|error| Error::io(format!("cannot write {digest}"), error.into()))?
}

#[async_trait]
impl<S: Storage> ImageSource for S {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        let manifest = Storage::manifest(self, repository, reference).await?;
        manifest.ok_or_else(|| Error::NotFound { what: format!("{repository}:{reference}") })
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let digest = &descriptor.digest;
        match self.blob_size(repository, digest).await? {
            Some(size) => {
                let range = range.start.min(size)..range.end.min(size);
                self.read_blob(repository, digest, range).await
            }
            None => Err(Error::NotFound { what: format!("{repository}@{digest}") }),
        }
    }
}

#[async_trait]
impl<S: Storage> ImageSink for S {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        Ok(Storage::manifest(self, repository, reference).await?.map(|manifest| manifest.digest()))
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        Ok(self.blob_size(repository, &descriptor.digest).await?.is_some())
    }

    async fn mount_blob(
        &self,
        from: &Repository,
        to: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        Storage::mount_blob(self, Some(from), to, &descriptor.digest).await
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        store_blob(self.begin_upload(repository).await?, blob).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        Storage::put_manifest(self, repository, manifest, tag).await
    }
}
