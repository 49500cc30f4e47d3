//! Objects as files that are read by range.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::Digest;
use opendal::{ErrorKind, Operator};

use super::operator::{operator, split};
use super::redact_url;
use super::storage_error::failed;
use crate::Error;
use crate::read::{BundleSource, MAX_CHECKSUM, checksum_in};
use crate::write::CHECKSUM_END;

/// An object that is read by range.
#[derive(Debug, Clone)]
pub struct ObjectFile {
    operator: Operator,
    address: String,
    path: String,
    size: u64,
}

impl ObjectFile {
    /// Opens `s3://bucket/path` or `oss://bucket/path`.
    ///
    /// # Errors
    /// [`Error::Store`] if the object does not exist.
    pub async fn open(address: &str) -> Result<Self, Error> {
        let (bucket, path) = split(address)?;
        let operator = operator(address, bucket, "")?;
        let metadata = operator.stat(path).await;
        let address = redact_url(address);
        let metadata = metadata.map_err(|error| failed("read", &address, error))?;
        let path = path.to_owned();
        Ok(Self { operator, address, path, size: metadata.content_length() })
    }
}

#[async_trait]
impl BundleSource for ObjectFile {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let read = self.operator.read_with(&self.path).range(range).await;
        Ok(read.map_err(|error| failed("read", &self.address, error))?.to_bytes())
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        let beside = format!("{}{CHECKSUM_END}", self.path);
        let bad =
            |reason| Error::invalid_checksum(format!("{}{CHECKSUM_END}", self.address), reason);
        match read_small(&self.operator, &beside).await {
            Ok(text) => {
                let name = self.path.rsplit('/').next().unwrap_or_default();
                checksum_in(&text, name.as_bytes()).map(Some).map_err(bad)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read the checksum of", &self.address, error)),
        }
    }
}

/// Reads a small object. Reads one byte more than allowed, so that a larger object is noticed.
pub(super) async fn read_small(operator: &Operator, key: &str) -> opendal::Result<Vec<u8>> {
    let size = operator.stat(key).await?.content_length();
    let end = size.min(MAX_CHECKSUM + 1);
    Ok(operator.read_with(key).range(0..end).await?.to_vec())
}
