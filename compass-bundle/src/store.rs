//! Stores, to which bundles are published. Published bundles are immutable.

mod directory;
#[cfg(feature = "store")]
mod http;
#[cfg(feature = "store")]
mod min_speed;
#[cfg(feature = "store")]
mod object;
mod path;
#[cfg(feature = "store")]
mod range_stream;
#[cfg(feature = "store")]
mod shard;
mod stored_bundle;
#[cfg(feature = "store")]
mod url;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
#[cfg(feature = "store")]
use compass_registry::RetryPolicy;
#[cfg(feature = "store")]
use compass_registry::http::HttpOptions;
use compass_registry::{Digest, ImageSource, NoProgress, Progress, setters};

pub use self::directory::DirectoryStore;
#[cfg(feature = "store")]
pub use self::http::HttpFile;
#[cfg(feature = "store")]
use self::min_speed::MinSpeedSource;
#[cfg(feature = "store")]
pub(crate) use self::min_speed::TooSlow;
#[cfg(feature = "store")]
pub use self::object::{ObjectFile, ObjectStore, StoreCheck, StoreEnvironment, UnfinishedUpload};
pub use self::path::store_path;
#[cfg(feature = "store")]
pub use self::shard::{SentShard, Shard, ShardOptions};
pub use self::stored_bundle::{StoredBundle, StoredFile};
#[cfg(feature = "store")]
pub use self::url::redact_url;
use crate::format::document::BundleDocument;
#[cfg(feature = "store")]
use crate::{Bundle, BundleSource, LocalFile};
use crate::{BundlePlan, Error, WriteOptions};

/// A store, to which bundles are published.
///
/// # Contract
/// - A bundle is stored at [`store_path`], with its `.sha256` beside it in the form of `sha256sum`.
///   The `.sha256` is written last.
/// - A bundle is visible only when it is complete. A visible bundle never changes: if the path has
///   the same bytes, publishing succeeds and [`Published::present`] is true; if it has other bytes,
///   publishing is an error. Of several processes that publish different bytes at once, one
///   succeeds.
/// - Memory does not depend on the size of the bundle.
///
/// # Cancellation
/// Futures may be dropped, and processes killed, at any time. No incomplete bundle becomes visible.
/// Data that was transferred may stay in the store, if a later call for the same bundle continues
/// with it and removes it when the bundle is published.
///
/// # Errors
/// [`Error::Conflict`] if the path has other bytes; [`Error::Versioned`] if the store cannot keep
/// bundles from being replaced; [`Error::Store`] or [`Error::Io`] if the store
/// fails.
///
/// # Retries
/// The implementation retries transient failures; callers report the first error.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// The URL of the store without secrets, for messages.
    fn url(&self) -> String;

    /// Publishes a bundle file with this `bundle.json`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the file does not match the `.sha256` beside it; the errors of the
    /// store.
    async fn publish(
        &self,
        bundle: &Path,
        document: &BundleDocument,
        options: &PublishOptions,
    ) -> Result<Published, Error>;

    /// Publishes a planned bundle without a local file.
    ///
    /// # Errors
    /// The errors of the source and of the store.
    async fn write(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        options: &WriteOptions,
    ) -> Result<Published, Error>;

    /// Lists the published bundles.
    ///
    /// # Errors
    /// The errors of the store.
    async fn list(&self) -> Result<Vec<StoredBundle>, Error>;

    /// Finds the published file that has the path of this document. Its content may differ.
    ///
    /// Does not list the store. Amazon S3 answers the request for a missing object with 403 if listing
    /// is not permitted.
    ///
    /// # Errors
    /// The errors of the store.
    async fn find(&self, document: &BundleDocument) -> Result<Option<StoredFile>, Error>;
}

/// The options of [`Store::publish`].
#[derive(Clone)]
#[non_exhaustive]
pub struct PublishOptions {
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { progress: Arc::new(NoProgress) }
    }
}

setters!(PublishOptions { progress: Arc<dyn Progress> });

/// The result of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// URL of the bundle in the store.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
    /// Whether the store already contained the same bytes.
    pub present: bool,
    /// The bytes of the bundle that this call has sent to the store, without those that an earlier
    /// call had sent.
    pub sent: u64,
    /// The bytes that this call has copied from other bundles inside the store.
    pub copied: u64,
}

impl Published {
    /// Describes a published bundle, of which `sent` bytes were sent to the store.
    pub fn new(url: String, size: u64, digest: Digest, sent: Option<u64>) -> Self {
        let (present, sent) = (sent.is_none(), sent.unwrap_or_default());
        Self { url, size, digest, present, sent, copied: 0 }
    }

    /// Sets [`copied`](field@Self::copied).
    #[must_use]
    pub fn copied(self, copied: u64) -> Self {
        Self { copied, ..self }
    }
}

/// The options of object storages.
#[cfg(feature = "store")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The environment variables and the home directory that settings and credentials come from;
    /// those of this process by default.
    pub environment: StoreEnvironment,
    /// Limits of retries and timeouts.
    pub retry: RetryPolicy,
    /// How to create the HTTP client. Redirects are not followed.
    pub http: HttpOptions,
    /// Publishes to buckets of OSS with versioning as well, in which published bundles can be
    /// replaced.
    pub allow_versioned: bool,
    /// Copies blobs from published bundles of the same name inside the store instead of sending them.
    pub copy: bool,
}

#[cfg(feature = "store")]
impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            environment: StoreEnvironment::of_process(),
            retry: RetryPolicy::default(),
            http: HttpOptions::default(),
            allow_versioned: false,
            copy: true,
        }
    }
}

#[cfg(feature = "store")]
setters!(StoreOptions {
    environment: StoreEnvironment,
    retry: RetryPolicy,
    http: HttpOptions,
    allow_versioned: bool,
    copy: bool,
});

/// Opens a store by its URL: `file:///path`, `s3://bucket/prefix` or `oss://bucket/prefix`.
///
/// Sends no request. This reads small configuration files and blocks.
///
/// # Errors
/// [`Error::InvalidAddress`] if the URL or a setting is invalid.
#[cfg(feature = "store")]
pub fn open_store(address: &str, options: &StoreOptions) -> Result<Arc<dyn Store>, Error> {
    let invalid = |reason| Err(Error::invalid_address(address, reason));
    match address.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => Ok(Arc::new(DirectoryStore::new(path))),
        Some(("file", _)) => invalid("not an absolute path: write three slashes, `file:///path`"),
        Some(("s3" | "oss", _)) => Ok(Arc::new(ObjectStore::open(address, options)?)),
        _ => invalid("expected `file:///path`, `s3://bucket` or `oss://bucket`"),
    }
}

/// Opens a file by its path, or by a `file://`, `http://`, `https://`, `s3://` or `oss://` URL.
///
/// `policy` sets the retries and the minimum speed of remote reads.
///
/// # Errors
/// If the file does not exist, or the server does not support range requests.
#[cfg(feature = "store")]
pub async fn open_source(
    address: &str,
    policy: &RetryPolicy,
) -> Result<Arc<dyn BundleSource>, Error> {
    Ok(match address.split_once("://") {
        Some(("http" | "https", _)) => {
            MinSpeedSource::open(address, policy, HttpFile::open(address, policy)).await?
        }
        Some(("s3" | "oss", _)) => {
            let options = StoreOptions::default().retry(*policy);
            MinSpeedSource::open(address, policy, ObjectFile::open(address, &options)).await?
        }
        Some(("file", path)) => Arc::new(LocalFile::open(Path::new(path))?),
        Some(_) if !Path::new(address).exists() => {
            let reason = "expected a path, or a `file`, `http`, `https`, `s3` or `oss` URL";
            return Err(Error::invalid_address(address, reason));
        }
        _ => Arc::new(LocalFile::open(Path::new(address))?),
    })
}

/// Opens a bundle by path or URL; see [`open_source`].
///
/// # Errors
/// As [`open_source`] and [`Bundle::read`].
#[cfg(feature = "store")]
pub async fn open(address: &str) -> Result<Bundle, Error> {
    Bundle::read(open_source(address, &RetryPolicy::default()).await?).await
}
