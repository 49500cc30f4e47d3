//! A store in an object storage: Amazon S3 or a compatible one, or Alibaba Cloud OSS.

mod address;
mod checksum;
mod client;
mod diagnose;
mod inventory;
mod object_file;
mod part_layout;
mod part_reader;
mod publish;
mod settings;
mod upload;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::http::Proxy;
use compass_registry::{ImageSource, Progress};
use futures_util::StreamExt as _;
use reqwest::redirect::Policy;

use self::address::{ObjectAddress, Provider};
use self::client::Client;
pub use self::diagnose::StoreCheck;
pub use self::inventory::UnfinishedUpload;
pub use self::object_file::ObjectFile;
use self::part_layout::PartLayout;
use self::part_reader::PartReader;
use self::publish::Object;
pub use self::settings::StoreEnvironment;
use self::settings::{ConfigFiles, Settings};
use super::{PublishOptions, Published, Store, StoreOptions, StoredBundle, store_path};
use crate::format::document::BundleDocument;
use crate::read::{BundleSource as _, LocalFile, check_sidecar};
use crate::{BundlePlan, Error, WriteOptions};

/// A bucket, or a prefix of keys in it.
///
/// A bundle is uploaded in parts, and appears when all of them have arrived, unless another object
/// has its name. An interrupted upload stays in the storage: the next run, on any machine, sends
/// only the parts that are missing or have other bytes.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    client: Client,
    address: ObjectAddress,
    allow_versioned: bool,
}

impl ObjectStore {
    /// Opens `s3://bucket/prefix` or `oss://bucket/prefix`. Sends no request.
    ///
    /// `docs/stores.md` lists the settings. This reads small configuration files and blocks.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if the URL or a setting is invalid.
    pub fn open(address: &str, options: &StoreOptions) -> Result<Self, Error> {
        let (client, address) = connect(address, options)?;
        Ok(Self { client, address, allow_versioned: options.allow_versioned })
    }

    /// Lists the unfinished uploads of bundles.
    ///
    /// # Errors
    /// [`Error::Store`] if the storage does not list them.
    pub async fn unfinished_uploads(&self) -> Result<Vec<UnfinishedUpload>, Error> {
        inventory::unfinished(&self.client, &self.address).await
    }

    /// Removes an unfinished upload and its parts. If a process still sends parts, it starts again.
    ///
    /// # Errors
    /// [`Error::Store`] if the storage refuses.
    pub async fn abort(&self, upload: &UnfinishedUpload) -> Result<(), Error> {
        inventory::abort(&self.client, upload).await
    }

    /// Tests which operations the bucket supports. Writes small objects below `.compass-doctor/`, and deletes
    /// them.
    pub async fn diagnose(&self) -> Vec<StoreCheck> {
        diagnose::diagnose(&self.client, &self.address).await
    }

    async fn upload(
        &self,
        document: &BundleDocument,
        size: u64,
        (read, check): (&(dyn Fn(PartLayout) -> PartReader + Sync), &publish::CheckDigest<'_>),
        progress: &dyn Progress,
    ) -> Result<Published, Error> {
        let path = store_path(document)?;
        let address = self.address.join(&path.display().to_string());
        self.require_unversioned().await?;
        let layout = PartLayout::new(size).ok_or_else(|| {
            Error::InvalidInput(format!("a bundle of {size} bytes is too large for the store"))
        })?;
        progress.add_total(size);
        Object { client: &self.client, address, path: &path, layout, read, check, progress }
            .publish()
            .await
    }
}

#[async_trait]
impl Store for ObjectStore {
    fn url(&self) -> String {
        self.address.shown.clone()
    }

    async fn publish(
        &self,
        bundle: &Path,
        document: &BundleDocument,
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        let file = LocalFile::open(bundle)?;
        let read = |layout| PartReader::of_file(file.clone(), layout);
        let check = |digest| check_sidecar(bundle, digest);
        self.upload(document, file.size(), (&read, &check), &*options.progress).await
    }

    async fn write(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        options: &WriteOptions,
    ) -> Result<Published, Error> {
        let read = |layout| {
            let chunks = crate::stream(Arc::clone(plan), Arc::clone(&source));
            PartReader::of_stream(chunks.boxed(), layout)
        };
        let check = |_| Ok(());
        self.upload(plan.document(), plan.size(), (&read, &check), &*options.progress).await
    }

    async fn list(&self) -> Result<Vec<StoredBundle>, Error> {
        inventory::bundles(&self.client, &self.address).await
    }
}

impl ObjectStore {
    /// Returns an error for an OSS bucket with versioning.
    ///
    /// OSS ignores `x-oss-forbid-overwrite` there, so that published bundles could be replaced.
    async fn require_unversioned(&self) -> Result<(), Error> {
        if self.allow_versioned || self.address.provider != Provider::Oss {
            return Ok(());
        }
        match self.client.is_versioned().await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::Versioned { address: self.address.shown.clone() }),
            // The credentials may be for objects only.
            Err(error) if error.is_unavailable() => Ok(()),
            Err(error) => Err(Error::store("look at", &self.address.shown, error)),
        }
    }
}

/// Creates the client of the bucket in an address.
fn connect(address: &str, options: &StoreOptions) -> Result<(Client, ObjectAddress), Error> {
    let address = ObjectAddress::parse(address)?;
    let files = ConfigFiles::read(&options.environment);
    let settings = Settings::find(&address, &options.environment, &files)?;
    let invalid = |error: String| Error::invalid_address(&address.shown, error);
    let http = http_client(&settings, options).map_err(invalid)?;
    let client = Client::new(settings, &options.environment, http, options.retry);
    Ok((client, address))
}

/// Creates the HTTP client of a bucket.
///
/// It does not follow redirects, because signatures are for one host. Transfers are limited by their
/// progress, so it has no timeout for them.
fn http_client(settings: &Settings, options: &StoreOptions) -> Result<reqwest::Client, String> {
    if let Some(own) = &options.http.client {
        return Ok(own.clone());
    }
    let http = options.http.clone().http1_only(true).read_timeout(None);
    // A remote proxy cannot reach this machine by a loopback name.
    let host = settings.endpoint.host();
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "::1");
    let http = if is_local { http.proxy(Proxy::None) } else { http };
    let builder = http.builder().map_err(|error| error.to_string())?;
    let builder = builder.redirect(Policy::none()).tcp_nodelay(true);
    builder.build().map_err(|error| error.to_string())
}
