//! URLs of buckets and objects.

use super::super::redact_url;
use crate::Error;

/// The kind of an object storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// Amazon S3, or a storage with the same API.
    S3,
    /// Alibaba Cloud OSS.
    Oss,
}

/// The address of an object or of a prefix of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectAddress {
    pub(super) provider: Provider,
    pub(super) bucket: String,
    /// The key, or the prefix of keys, without leading and trailing slashes.
    pub(super) key: String,
    /// The URL without secrets, for messages.
    pub(super) shown: String,
}

impl ObjectAddress {
    /// Parses `s3://bucket/key` or `oss://bucket/key`.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if the scheme, the bucket or the key is invalid.
    pub(super) fn parse(address: &str) -> Result<Self, Error> {
        let invalid = |reason| Error::invalid_address(address, reason);
        let (provider, rest) = match address.split_once("://") {
            Some(("s3", rest)) => (Provider::S3, rest),
            Some(("oss", rest)) => (Provider::Oss, rest),
            _ => return Err(invalid("expected `s3://bucket/key` or `oss://bucket/key`")),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = key.trim_matches('/');
        match bucket {
            "" => return Err(invalid("the bucket is missing")),
            _ if !bucket.bytes().all(is_bucket_byte) => {
                return Err(invalid("the bucket has characters that bucket names cannot have"));
            }
            _ => {}
        }
        // HTTP clients resolve these segments, and the signature would not match.
        if key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(invalid("`.` and `..` are not possible in keys"));
        }
        if key.chars().any(char::is_control) {
            return Err(invalid("the key contains control characters"));
        }
        let shown = redact_url(address.trim_end_matches('/'));
        Ok(Self { provider, bucket: bucket.to_owned(), key: key.to_owned(), shown })
    }

    /// The address of a key below this prefix.
    pub(super) fn join(&self, key: &str) -> Self {
        let below = |prefix: &str| match prefix {
            "" => key.to_owned(),
            _ => format!("{prefix}/{key}"),
        };
        Self { key: below(&self.key), shown: below(&self.shown), ..self.clone() }
    }
}

fn is_bucket_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_splits_bucket_and_key() {
        for (text, bucket, key) in [
            ("s3://releases", "releases", ""),
            ("s3://releases/", "releases", ""),
            ("s3://releases/team/a b/", "releases", "team/a b"),
        ] {
            let address = ObjectAddress::parse(text).unwrap();
            assert_eq!((&*address.bucket, &*address.key), (bucket, key), "{text}");
        }
        let joined = ObjectAddress::parse("oss://releases/team").unwrap().join("a/b");
        assert_eq!((&*joined.key, &*joined.shown), ("team/a/b", "oss://releases/team/a/b"));
        let joined = ObjectAddress::parse("oss://releases/").unwrap().join("a/b");
        assert_eq!((&*joined.key, &*joined.shown), ("a/b", "oss://releases/a/b"));
    }

    #[test]
    fn parse_invalid_address_is_error() {
        for text in
            ["", "releases", "ftp://releases", "s3://", "s3:///key", "s3://a@b/c", "s3://a/../b"]
        {
            assert!(ObjectAddress::parse(text).is_err(), "{text}");
        }
    }
}
