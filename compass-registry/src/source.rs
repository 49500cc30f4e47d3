//! Where images come from.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::blob_reader::stream_range;
use crate::image_manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::index_images;
use crate::min_speed::SpeedGuard;
use crate::range_fetch::RangeOptions;
use crate::retry::RetryPolicy;
use crate::verify::VerifiedBlob;
use crate::{Descriptor, Digest, Error, Platform, RawManifest, Repository, TagOrDigest};

/// Bytes on their way. Nothing is promised about them; see [`VerifiedBlob`].
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// A place that images can be read from: what an implementor writes. Callers use
/// [`ImageSourceExt`], which verifies.
///
/// # Contract
/// - `manifest` answers with the manifest's exact bytes. Asked for a digest, the bytes need not be
///   verified; [`ImageSourceExt::verified_manifest`] does that.
/// - `blob` answers with a range of the blob's bytes; more of the blob may follow, and is dropped. A
///   source that cannot begin in the middle reads and drops what stands before.
/// - What is not there is [`Error::NotFound`]; what may be there on another try is an error whose
///   [`Error::is_transient`] holds. `manifest` and `resolve` try that again by themselves, as with
///   [`RetryPolicy::run`]; who reads a blob goes on where it broke, as [`ImageSource::retry`] says.
/// - Dropping a future or stream stops its work and leaves nothing behind.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Reads an image manifest or index.
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error>;

    /// Begins to read a range of a blob.
    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error>;

    /// Whether a blob can be read from here.
    async fn holds_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        let first = match self.blob(repository, descriptor, 0..descriptor.size.min(1)).await {
            Ok(mut bytes) => bytes.next().await.transpose(),
            Err(error) => Err(error),
        };
        match first {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The digest of the manifest that a tag names.
    async fn resolve(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Digest, Error> {
        Ok(self.manifest(repository, reference).await?.digest())
    }

    /// How large blobs are read in parts, several at once; otherwise they are one stream.
    fn range_options(&self) -> Option<&RangeOptions> {
        None
    }

    /// The host, where this is a registry that other clients know by it.
    fn registry(&self) -> Option<&str> {
        None
    }

    /// How failures that may pass are dealt with.
    fn retry(&self) -> RetryPolicy {
        RetryPolicy::default()
    }
}

/// What callers of an [`ImageSource`] use: everything that comes out has been verified.
#[async_trait]
pub trait ImageSourceExt: ImageSource {
    /// Reads an image manifest or index; asked for a digest, its bytes have that digest.
    async fn verified_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error>;

    /// Reads a small blob, such as an image configuration, into memory.
    async fn read(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Bytes, Error>;

    /// Reads the image manifest for a platform: of an index the one that suits it best
    /// ([`Platform::best_of`]); a single image is taken whatever it is for.
    ///
    /// # Errors
    /// [`Error::NoSuchPlatform`] and [`Error::AmbiguousPlatform`], which list the platforms of the
    /// index.
    async fn image(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
        platform: &Platform,
    ) -> Result<RawManifest, Error>;

    /// The images of an index and of the indexes in it, with the platform of each. Those of which the
    /// index names none have the platform of their configuration, which is read for it.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] for indexes that are nested too deep, or are too large together.
    async fn images_of(
        &self,
        repository: &Repository,
        index: &RawManifest,
    ) -> Result<Vec<Descriptor>, Error>;

    /// The platform that a single image's configuration names; nothing if it names none, as that of
    /// an artifact.
    async fn platform_of(
        &self,
        repository: &Repository,
        image: &RawManifest,
    ) -> Result<Option<Platform>, Error>;
}

#[async_trait]
impl<S: ImageSource + ?Sized> ImageSourceExt for S {
    async fn verified_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        let manifest = self.manifest(repository, reference).await?;
        match reference {
            TagOrDigest::Digest(expected) if manifest.digest() != *expected => {
                Err(Error::DigestMismatch {
                    what: format!("manifest {repository}@{expected}"),
                    expected: Box::new(*expected),
                    actual: Box::new(manifest.digest()),
                })
            }
            _ => Ok(manifest),
        }
    }

    async fn read(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Bytes, Error> {
        if descriptor.size > MAX_MANIFEST_BYTES {
            return Err(Error::InvalidContent {
                what: format!("{repository}@{}", descriptor.digest),
                reason: format!("{} bytes are too many to be read at once", descriptor.size),
            });
        }
        let retry = self.retry();
        let read = || async move {
            let what = format!("{repository}@{}", descriptor.digest);
            let bytes = self.blob(repository, descriptor, 0..descriptor.size).await?;
            let mut blob = VerifiedBlob::new(what, descriptor.clone(), bytes);
            let mut content = Vec::new();
            let broken = |source: Box<dyn std::error::Error + Send + Sync>| Error::Unreachable {
                host: self.registry().unwrap_or("the source").to_owned(),
                request: format!("blob {repository}@{}", descriptor.digest),
                source,
            };
            let mut guard = SpeedGuard::new(&retry);
            loop {
                let received = content.len() as u64;
                let chunk = tokio::time::timeout(retry.idle_timeout, blob.next());
                let chunk = guard.watch(|| received, chunk).await;
                let chunk = chunk.map_err(|slow| broken(Box::new(slow)))?;
                match chunk.map_err(|elapsed| broken(Box::new(elapsed)))? {
                    Some(chunk) => content.extend_from_slice(&chunk?),
                    None => return Ok(content.into()),
                }
            }
        };
        retry.run(read).await
    }

    async fn image(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
        platform: &Platform,
    ) -> Result<RawManifest, Error> {
        let manifest = self.verified_manifest(repository, reference).await?;
        if !matches!(manifest.parse()?, Manifest::Index(_)) {
            return Ok(manifest);
        }
        let images = index_images::list_images(self, repository, &manifest).await?;
        let what = format!("{repository}:{reference}");
        let image = index_images::select_image(&what, &images, platform)?;
        self.verified_manifest(repository, &TagOrDigest::Digest(image.digest)).await
    }

    async fn images_of(
        &self,
        repository: &Repository,
        index: &RawManifest,
    ) -> Result<Vec<Descriptor>, Error> {
        index_images::list_images(self, repository, index).await
    }

    async fn platform_of(
        &self,
        repository: &Repository,
        image: &RawManifest,
    ) -> Result<Option<Platform>, Error> {
        let Manifest::Image { config, .. } = image.parse()? else { return Ok(None) };
        // A larger one is the content of an artifact.
        if config.size > MAX_MANIFEST_BYTES {
            return Ok(None);
        }
        let config = self.read(repository, &config).await?;
        Ok(Platform::from_config(&config))
    }
}

/// Opens a range of a blob of a shared source, over one connection. Nothing is asked for before the
/// stream is polled; a connection that breaks is opened again where it broke.
///
/// The bytes are as they came: who has all of them proves them by the digest.
pub fn open_blob_range(
    source: Arc<dyn ImageSource>,
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> ByteStream {
    stream_range(source, repository.clone(), descriptor.clone(), range, true)
}

/// Opens a blob of a shared source. Nothing is asked for before the stream is polled; a connection
/// that breaks is opened again where it broke.
pub fn open_blob(
    source: Arc<dyn ImageSource>,
    repository: &Repository,
    descriptor: &Descriptor,
) -> VerifiedBlob {
    let what = format!("{repository}@{}", descriptor.digest);
    let (repository, described) = (repository.clone(), descriptor.clone());
    let open = move |range| {
        stream_range(Arc::clone(&source), repository.clone(), described.clone(), range, false)
    };
    VerifiedBlob::seekable(what, descriptor.clone(), Box::new(open))
}
