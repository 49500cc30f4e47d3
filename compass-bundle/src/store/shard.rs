//! Shares of a bundle that several processes send.

use std::fmt;
use std::str::FromStr;

use compass_registry::Digest;

use crate::Error;

/// The maximum number of shards. An upload has at most 10,000 parts.
const MAX_SHARDS: u32 = 10_000;

/// One of several shares of the bytes of a bundle, such as `2/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    count: u32,
}

impl Shard {
    /// The only share.
    pub const WHOLE: Self = Self { number: 1, count: 1 };

    /// Creates the share with this number, from 1, of `count` shares.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the number is not between 1 and `count`, or `count` is more than
    /// 10,000.
    pub fn new(number: u32, count: u32) -> Result<Self, Error> {
        if number == 0 || number > count || count > MAX_SHARDS {
            return Err(Error::InvalidInput(format!(
                "{number}/{count} is not a shard: the number is from 1 to the count, which is at \
                 most {MAX_SHARDS}"
            )));
        }
        Ok(Self { number, count })
    }

    /// The number, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The number of all shards.
    pub fn count(self) -> u32 {
        self.count
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('/').and_then(|(number, count)| {
            Some((number.parse::<u32>().ok()?, count.parse::<u32>().ok()?))
        });
        match parsed {
            Some((number, count)) => Self::new(number, count),
            None => Err(Error::InvalidInput(format!("`{text}` is not a shard such as `2/16`"))),
        }
    }
}

/// The options of [`ObjectStore::write_shard`](super::ObjectStore::write_shard).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardOptions {
    /// The share to send.
    pub shard: Shard,
    /// Whether the process that completes the bundle reads it back, verifies it and writes its
    /// `.sha256`.
    pub checksum: bool,
}

impl ShardOptions {
    /// Options for a share, with the `.sha256`.
    pub fn new(shard: Shard) -> Self {
        Self { shard, checksum: true }
    }

    /// Sets [`checksum`](field@Self::checksum).
    #[must_use]
    pub fn checksum(self, checksum: bool) -> Self {
        Self { checksum, ..self }
    }
}

/// The result of sending a share.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentShard {
    /// The URL of the bundle in the store.
    pub url: String,
    /// The size of the bundle in bytes.
    pub size: u64,
    /// Whether the bundle was published before this call.
    pub present: bool,
    /// The bytes that this call has sent to the store.
    pub sent: u64,
    /// The bytes that this call has copied inside the store.
    pub copied: u64,
    /// The number of parts that other processes have to send; 0 if the bundle is published.
    pub missing_parts: u64,
    /// The digest of the file, if the bundle is published and has a `.sha256`.
    pub digest: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_is_parsed() {
        let shard: Shard = "2/16".parse().unwrap();
        assert_eq!((shard.number(), shard.count(), shard.to_string()), (2, 16, "2/16".to_owned()));
        for text in ["", "1", "0/1", "2/1", "1/0", "-1/2", "1/10001", "a/b", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
