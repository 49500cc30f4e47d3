//! Places that keep images: memory, and a directory.
//!
//! A [`Storage`] knows blobs, manifests and tags, and nothing of HTTP. Each one is an
//! [`ImageSource`] and an [`ImageSink`], and can be served by [`crate::server`].

#[cfg(feature = "disk")]
mod blob_files;
#[cfg(feature = "disk")]
mod chunked_read;
#[cfg(feature = "disk")]
mod disk;
mod memory;

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
pub use disk::DiskStorage;
pub use memory::MemoryStorage;

/// Keeps blobs, manifests and tags of repositories.
///
/// A blob is part of a repository once it was uploaded to it or mounted into it, and of no other.
/// How many copies of its bytes are kept is the storage's own affair.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// The size of a blob in bytes, where it is there.
    async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error>;

    /// Reads a part of a blob.
    async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error>;

    /// Begins to take a blob.
    async fn begin_upload(&self, repository: &Repository) -> Result<Box<dyn Upload>, Error>;

    /// Makes a blob of one repository, or of any where none is named, part of another; says
    /// whether it was there.
    async fn mount_blob(
        &self,
        from: Option<&Repository>,
        to: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error>;

    /// Removes a blob from a repository; says whether it was there.
    async fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error>;

    /// Reads a manifest, where it is there.
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, Error>;

    /// Writes a manifest, and lets a tag point at it.
    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error>;

    /// Removes a tag, or a manifest with all its tags; says whether it was there.
    async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<bool, Error>;

    /// The digests of a repository's manifests whose subject is this one, in order.
    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, Error>;

    /// The tags of a repository in order, where the repository is there.
    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, Error>;

    /// All repositories in order.
    async fn repositories(&self) -> Result<Vec<Repository>, Error>;
}

/// A blob on its way into a storage. Dropped before [`Upload::commit`], it leaves nothing behind.
#[async_trait]
pub trait Upload: Send {
    /// Takes the next bytes. Whoever waits for this may give up: bytes that are not taken by then,
    /// as [`Upload::offset`] says, end the upload.
    async fn append(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// How many bytes were taken.
    fn offset(&self) -> u64;

    /// Reads again what was taken, to compute a digest that was not expected.
    async fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error>;

    /// Makes the blob visible. The caller has proved that the bytes have this digest.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), Error>;
}

/// Takes a whole blob and makes it visible. It is a task of its own, so that several blobs are
/// hashed by several processors.
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
