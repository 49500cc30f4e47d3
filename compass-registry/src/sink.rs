//! Destinations of images.

use async_trait::async_trait;

use crate::{Descriptor, Digest, Error, RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob};

/// A destination that images can be written to.
///
/// # Contract
/// - `put_blob` makes the blob visible only after its stream has ended without an error. Writing a
///   blob that exists succeeds.
/// - `put_manifest` is called after everything that the manifest refers to has been written. It
///   moves the tag last.
/// - A failed attempt does not change existing content.
///
/// # Cancellation
/// Dropping a future leaves nothing visible. Temporary content is removed, possibly in the
/// background.
///
/// # Errors
/// Content that does not match its digest is [`Error::DigestMismatch`] or [`Error::SizeMismatch`],
/// as the stream reports it. A missing manifest is `None`, and a missing blob `false`.
///
/// # Retries
/// The sink retries transient failures, as with [`RetryPolicy::run`](crate::RetryPolicy::run);
/// callers do not.
#[async_trait]
pub trait ImageSink: Send + Sync {
    /// Returns the digest of the manifest that a tag or digest names. Returns `None` if the
    /// manifest does not exist.
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error>;

    /// Returns the digest computed from the manifest itself. Registries may report a wrong one.
    async fn verified_manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.manifest_digest(repository, reference).await
    }

    /// Whether a blob exists.
    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error>;

    /// Writes a blob.
    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error>;

    /// Adds a blob of another repository of this sink, without transferring it. Returns `false` if
    /// that is not possible.
    async fn mount_blob(
        &self,
        _from: &Repository,
        _to: &Repository,
        _descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        Ok(false)
    }

    /// Returns the host if this is a registry that other clients reach under that name.
    fn registry(&self) -> Option<&str> {
        None
    }

    /// Writes a manifest, and points a tag at it.
    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error>;
}
