//! A store in an object storage: Amazon S3 or a compatible one, or Alibaba Cloud OSS.

mod address;
mod checksum;
mod client;
mod copies;
mod diagnose;
mod file_parts;
mod inventory;
mod object_file;
mod part;
mod part_layout;
mod part_memory;
mod publish;
mod read_back;
mod repeated_blob;
mod send_input;
mod settings;
mod unit_reader;
mod units;
mod upload;
mod upload_marker;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::http::Proxy;
use compass_registry::internal::PlainClient;
use compass_registry::{ImageSource, Progress};
use reqwest::redirect::Policy;

use self::address::{ObjectAddress, Provider};
use self::client::{Client, HttpClients};
pub use self::diagnose::StoreCheck;
pub use self::inventory::UnfinishedUpload;
pub use self::object_file::ObjectFile;
use self::part_layout::PartLayout;
use self::publish::{Input, Object};
pub use self::settings::StoreEnvironment;
use self::settings::{ConfigFiles, Settings};
use super::{
    PublishOptions, Published, SentShard, Shard, ShardOptions, Store, StoreOptions, StoredBundle,
    StoredFile, store_path,
};
use crate::format::document::BundleDocument;
use crate::read::LocalFile;
use crate::{Bundle, BundlePlan, Error, WriteOptions};

/// A bucket, or a prefix of keys in it.
///
/// A bundle is uploaded in parts, and appears when all of them have arrived, unless another object
/// has its name. An interrupted upload stays in the storage: the next run, on any machine, sends
/// only the parts that are missing or have other bytes. Parts of a layer that another bundle of the
/// same name has are copied inside the storage.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    client: Client,
    address: ObjectAddress,
    allow_versioned: bool,
    copy: bool,
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
        let StoreOptions { allow_versioned, copy, .. } = *options;
        Ok(Self { client, address, allow_versioned, copy })
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

    /// Sends a share of a planned bundle. The process that sends the last missing part completes it.
    ///
    /// Any process, on any machine and at any time, may send any share. The processes exchange
    /// nothing but the parts in the storage. A share that was sent already is not sent again.
    ///
    /// # Errors
    /// As [`Store::write`]; [`Error::InvalidInput`] if the bundle is too large to be shared.
    pub async fn write_shard(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        shard: &ShardOptions,
        options: &WriteOptions,
    ) -> Result<SentShard, Error> {
        self.send(plan, Input::Source(source), shard, &options.progress).await
    }

    /// Sends a bundle, or a share of it.
    async fn send(
        &self,
        plan: &Arc<BundlePlan>,
        input: Input<'_>,
        shard: &ShardOptions,
        progress: &Arc<dyn Progress>,
    ) -> Result<SentShard, Error> {
        let path = store_path(plan.document())?;
        let address = self.address.join(&path.display().to_string());
        self.require_unversioned().await?;
        let layout = PartLayout::new(plan).ok_or_else(|| {
            let size = plan.size();
            Error::InvalidInput(format!("a bundle of {size} bytes is too large for the store"))
        })?;
        if !layout.is_aligned() && shard.shard.count() > 1 {
            return Err(Error::InvalidInput(format!(
                "a bundle of {} bytes is too large to be sent in shards",
                plan.size()
            )));
        }
        let object = Object {
            client: &self.client,
            store: &self.address,
            address,
            path: &path,
            plan,
            layout,
            input,
            options: *shard,
            copies: self.copy,
            progress,
        };
        object.publish().await
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
        let opened = Bundle::open(bundle).await?;
        if opened.document() != document {
            let message = format!("{} has another bundle.json", bundle.display());
            return Err(Error::InvalidInput(message));
        }
        let plan = Arc::new(opened.plan().clone());
        let input = Input::File { file: LocalFile::open(bundle)?, path: bundle };
        let whole = ShardOptions::new(Shard::WHOLE);
        published(self.send(&plan, input, &whole, &options.progress).await?)
    }

    async fn write(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        options: &WriteOptions,
    ) -> Result<Published, Error> {
        let whole = ShardOptions::new(Shard::WHOLE);
        let input = Input::Source(source);
        published(self.send(plan, input, &whole, &options.progress).await?)
    }

    async fn list(&self) -> Result<Vec<StoredBundle>, Error> {
        inventory::bundles(&self.client, &self.address).await
    }

    async fn find(&self, document: &BundleDocument) -> Result<Option<StoredFile>, Error> {
        let path = store_path(document)?.display().to_string();
        inventory::find(&self.client, &self.address, &path).await
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

/// Converts the result of sending the whole bundle.
fn published(sent: SentShard) -> Result<Published, Error> {
    let SentShard { url, size, present, sent, copied, digest, .. } = sent;
    let digest = digest.ok_or_else(|| Error::store("upload", &url, "parts are missing"))?;
    let published = Published::new(url, size, digest, (!present).then_some(sent));
    Ok(published.copied(copied))
}

/// Creates the client of the bucket in an address.
fn connect(address: &str, options: &StoreOptions) -> Result<(Client, ObjectAddress), Error> {
    let address = ObjectAddress::parse(address)?;
    let files = ConfigFiles::read(&options.environment);
    let settings = Settings::find(&address, &options.environment, &files)?;
    let invalid = |error: String| Error::invalid_address(&address.shown, error);
    let http = http_client(&settings, options).map_err(invalid)?;
    let clients = HttpClients { http, plain: plain_client(&settings, options) };
    let client = Client::new(settings, &options.environment, clients, options.retry);
    Ok((client, address))
}

/// Creates the client for long responses, if it can send requests to the endpoint.
fn plain_client(settings: &Settings, options: &StoreOptions) -> Option<PlainClient> {
    let endpoint = &settings.endpoint;
    let url = format!("{}://{}/", endpoint.scheme(), endpoint.authority);
    PlainClient::for_url(&url, &options.http, options.retry.idle_timeout)
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
