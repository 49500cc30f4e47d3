//! Objects as files that are read by range.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{Digest, RetryPolicy};
use futures_util::stream::BoxStream;
use reqwest::Response;

use super::address::ObjectAddress;
use super::client::{Client, RequestError};
use super::connect;
use super::publish::read_small;
use crate::Error;
use crate::error::NoSuchObject;
use crate::read::{BundleSource, remote_checksum};
use crate::store::StoreOptions;
use crate::store::range_stream::{RangeResponses, stream_range};
use crate::write::CHECKSUM_END;

/// An object that is read by range.
#[derive(Debug, Clone)]
pub struct ObjectFile {
    client: Client,
    /// The URL without secrets.
    shown: String,
    key: String,
    size: u64,
}

impl ObjectFile {
    /// Opens `s3://bucket/path` or `oss://bucket/path`.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if the URL or a setting is invalid; [`Error::Store`] if the object
    /// does not exist or cannot be read.
    pub async fn open(address: &str, options: &StoreOptions) -> Result<Self, Error> {
        let (client, address) = connect(address, options)?;
        let failed = |error| Error::store("read", &address.shown, error);
        let Some(stored) = client.head(&address.key).await.map_err(failed)? else {
            return Err(Error::store("read", &address.shown, NoSuchObject));
        };
        let size = stored.size.unwrap_or_default();
        Ok(Self { client, shown: address.shown, key: address.key, size })
    }

    /// An object whose size is known.
    pub(super) fn new(client: Client, address: &ObjectAddress, size: u64) -> Self {
        Self { client, shown: address.shown.clone(), key: address.key.clone(), size }
    }

    fn failed(&self, action: &'static str, error: RequestError) -> Error {
        Error::store(action, &self.shown, error)
    }
}

#[async_trait]
impl BundleSource for ObjectFile {
    fn name(&self) -> String {
        self.shown.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.client.get(&self.key, range).await.map_err(|error| self.failed("read", error))
    }

    fn read_stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        stream_range(self, range)
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        let text = read_small(&self.client, &format!("{}{CHECKSUM_END}", self.key)).await;
        let text = text.map_err(|error| self.failed("read the checksum of", error))?;
        let Some(text) = text else { return Ok(None) };
        remote_checksum(&text, &self.shown, &self.key).map(Some)
    }
}

#[async_trait]
impl RangeResponses for ObjectFile {
    async fn respond(&self, range: Range<u64>) -> Result<Response, Error> {
        let response = self.client.get_response(&self.key, range).await;
        response.map_err(|error| self.failed("read", error))
    }

    fn failed(&self, why: Box<dyn std::error::Error + Send + Sync>) -> Error {
        Error::store("read", &self.shown, why)
    }

    fn policy(&self) -> RetryPolicy {
        self.client.policy()
    }
}
