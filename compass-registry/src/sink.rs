//! Where images go.

use async_trait::async_trait;

use crate::{Descriptor, Digest, Error, RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob};

/// A place that images can be written to.
///
/// # Contract
/// - `put_blob` shows nothing before the stream has ended without an error; where it fails or its
///   future is dropped, nothing is left behind, or is being removed. Putting a blob that is there is
///   a success.
/// - `put_manifest` is called after everything that the manifest refers to is there. With a tag,
///   it moves the tag, and that is the last thing it does.
/// - Nothing that is there is changed by an attempt that fails. What may pass is tried again here, as
///   with [`RetryPolicy::run`](crate::RetryPolicy::run): who calls this does not.
#[async_trait]
pub trait ImageSink: Send + Sync {
    /// The digest of the manifest that a tag or digest names, or nothing where none is there.
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error>;

    /// The same, computed from the manifest itself: registries may report a wrong digest.
    async fn verified_manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.manifest_digest(repository, reference).await
    }

    /// Whether a blob is there.
    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error>;

    /// Writes a blob.
    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error>;

    /// Takes a blob over from another repository of the same place, without moving its bytes; says
    /// whether it could. Places that cannot do that say no.
    async fn mount_blob(
        &self,
        _from: &Repository,
        _to: &Repository,
        _descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        Ok(false)
    }

    /// The host, where this is a registry that other clients know by it.
    fn registry(&self) -> Option<&str> {
        None
    }

    /// Writes a manifest, and lets a tag point at it.
    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error>;
}
