//! Sources of images.

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

/// A stream of unverified bytes; see [`VerifiedBlob`].
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// The maximum number of consecutive empty chunks in a [`ByteStream`]. If it is exceeded, the
/// reader fails, so that a stream without progress ends.
pub const MAX_EMPTY_CHUNKS: u32 = 1000;

/// A source that images can be read from. Implementors implement this trait; callers use
/// [`ImageSourceExt`], which verifies content.
///
/// # Contract
/// - `manifest` returns the exact bytes of the manifest. The caller verifies them against a
///   requested digest.
/// - `blob` returns a range of the blob. More bytes of the blob may follow, and are dropped. A
///   source that cannot seek skips the bytes before the range.
/// - A stream makes progress: after [`MAX_EMPTY_CHUNKS`] empty chunks in a row, the reader fails.
///
/// # Cancellation
/// Dropping a future or a stream stops its work and leaves nothing behind.
///
/// # Errors
/// [`Error::is_not_found`] is true for the error of missing content, and [`Error::is_transient`]
/// for that of a failure that a retry may fix.
///
/// # Retries
/// `manifest` and `resolve` retry transient failures themselves, as with [`RetryPolicy::run`]. The
/// reader of a blob resumes it, within the limits of [`ImageSource::retry`].
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Reads an image manifest or index.
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error>;

    /// Opens a range of a blob.
    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error>;

    /// Whether a blob can be read from this source.
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

    /// Returns the digest of the manifest that a tag or digest names.
    async fn resolve(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Digest, Error> {
        Ok(self.manifest(repository, reference).await?.digest())
    }

    /// Returns how large blobs are read in ranges, or `None` to read each blob in one stream.
    fn range_options(&self) -> Option<&RangeOptions> {
        None
    }

    /// Returns the host if this is a registry that other clients reach under that name.
    fn registry(&self) -> Option<&str> {
        None
    }

    /// Returns the limits of retries and timeouts.
    fn retry(&self) -> RetryPolicy {
        RetryPolicy::default()
    }
}

/// Reads verified content from an [`ImageSource`].
pub trait ImageSourceExt: ImageSource {
    /// Reads an image manifest or index, and verifies a requested digest.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], and errors of the source.
    fn verified_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> impl Future<Output = Result<RawManifest, Error>> + Send {
        async move {
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
    }

    /// Reads a small blob, such as an image configuration, into memory.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] if it is larger than a manifest may be, [`Error::DigestMismatch`],
    /// [`Error::SizeMismatch`], and errors of the source.
    fn read(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send {
        async move {
            if descriptor.size > MAX_MANIFEST_BYTES {
                let reason =
                    format!("{} bytes exceed the limit for reading into memory", descriptor.size);
                let what = format!("{repository}@{}", descriptor.digest);
                return Err(Error::InvalidContent { what, reason });
            }
            let retry = self.retry();
            retry.run(|| read_once(self, repository, descriptor, &retry)).await
        }
    }

    /// Reads the image manifest for a platform.
    ///
    /// From an index, selects the image that suits the platform best ([`Platform::best_of`]). A
    /// single image is returned without checking its platform.
    ///
    /// # Errors
    /// [`Error::NoSuchPlatform`] and [`Error::AmbiguousPlatform`], which list the platforms of the
    /// index.
    fn image(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
        platform: &Platform,
    ) -> impl Future<Output = Result<RawManifest, Error>> + Send {
        async move {
            let manifest = self.verified_manifest(repository, reference).await?;
            if !matches!(manifest.parse()?, Manifest::Index(_)) {
                return Ok(manifest);
            }
            let images = self.images_of(repository, &manifest).await?;
            let what = format!("{repository}:{reference}");
            let image = index_images::select_image(&what, &images, platform)?;
            self.verified_manifest(repository, &TagOrDigest::Digest(image.digest)).await
        }
    }

    /// Lists the images of an index and of its nested indexes, with their platforms.
    ///
    /// If the index names no platform for an image, the platform is read from the configuration of
    /// the image.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] if indexes are nested too deep, or are too large in total.
    fn images_of(
        &self,
        repository: &Repository,
        index: &RawManifest,
    ) -> impl Future<Output = Result<Vec<Descriptor>, Error>> + Send {
        index_images::list_images(self, repository, index)
    }

    /// Returns the platform in the configuration of a single image. Returns `None` if the
    /// configuration names no platform, as for an artifact.
    fn platform_of(
        &self,
        repository: &Repository,
        image: &RawManifest,
    ) -> impl Future<Output = Result<Option<Platform>, Error>> + Send {
        async move {
            let Manifest::Image { config, .. } = image.parse()? else { return Ok(None) };
            // A larger configuration is the content of an artifact and names no platform.
            if config.size > MAX_MANIFEST_BYTES {
                return Ok(None);
            }
            let config = self.read(repository, &config).await?;
            Ok(Platform::from_config(&config))
        }
    }
}

impl<S: ImageSource + ?Sized> ImageSourceExt for S {}

/// Reads and verifies a blob in one attempt. Fails if the stream is idle or too slow.
async fn read_once<S: ImageSource + ?Sized>(
    source: &S,
    repository: &Repository,
    descriptor: &Descriptor,
    retry: &RetryPolicy,
) -> Result<Bytes, Error> {
    let what = format!("{repository}@{}", descriptor.digest);
    let broken = |source: Box<dyn std::error::Error + Send + Sync>, host: Option<&str>| {
        let (host, request) = (host.unwrap_or("the source").to_owned(), format!("blob {what}"));
        Error::Unreachable { host, request, source }
    };
    let bytes = source.blob(repository, descriptor, 0..descriptor.size).await?;
    let mut blob = VerifiedBlob::new(what.clone(), descriptor.clone(), bytes);
    let (mut content, mut guard) =
        (Vec::new(), SpeedGuard::new(retry.min_speed, retry.speed_window));
    loop {
        let received = content.len() as u64;
        let chunk = tokio::time::timeout(retry.idle_timeout, blob.next());
        let chunk = guard.watch(|| received, chunk).await;
        let chunk = chunk.map_err(|slow| broken(Box::new(slow), source.registry()))?;
        match chunk.map_err(|elapsed| broken(Box::new(elapsed), source.registry()))? {
            Some(chunk) => content.extend_from_slice(&chunk?),
            None => return Ok(content.into()),
        }
    }
}

/// Returns a range of bytes in memory as a stream, up to their end at most.
pub(crate) fn stream_bytes(bytes: &Bytes, range: Range<u64>) -> ByteStream {
    let position = |at| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let end = position(range.end);
    let part = bytes.slice(position(range.start).min(end)..end);
    futures_util::stream::once(async { Ok(part) }).boxed()
}

/// Opens a range of a blob over one connection. Broken connections are resumed.
///
/// The first request is sent when the stream is polled. The bytes are not verified.
pub fn open_blob_range(
    source: Arc<dyn ImageSource>,
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> ByteStream {
    stream_range(source, repository.clone(), descriptor.clone(), range, true)
}

/// Opens a blob and verifies it. Broken connections are resumed.
///
/// The first request is sent when the stream is polled.
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
