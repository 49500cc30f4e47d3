//! Error messages of object storages.

use std::fmt;

use opendal::ErrorKind;

use crate::Error;

/// An error of the storage library, displayed without the names of its components.
#[derive(Debug)]
pub(super) struct StorageError {
    error: opendal::Error,
    /// Whether the storage is Alibaba OSS.
    is_oss: bool,
}

/// Converts an error of the storage library. `action` is a verb phrase.
pub(super) fn failed(action: &'static str, address: &str, error: opendal::Error) -> Error {
    Error::store(action, address, StorageError::new(error, address))
}

/// The environment variables for credentials.
pub(super) fn credential_variables(is_oss: bool) -> &'static str {
    match is_oss {
        true => "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        false => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    }
}

impl StorageError {
    fn new(error: opendal::Error, address: &str) -> Self {
        tracing::debug!(%error, address, "object storage request failed");
        Self { error, is_oss: address.starts_with("oss://") }
    }

    fn lacks_credentials(&self) -> bool {
        self.error.message() == "signing http request"
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.error.message();
        match self.error.kind() {
            _ if self.lacks_credentials() => {
                write!(f, "no credentials: set {}", credential_variables(self.is_oss))
            }
            ErrorKind::NotFound => write!(f, "it does not exist: {message}"),
            ErrorKind::PermissionDenied => write!(f, "access denied: {message}"),
            ErrorKind::RateLimited => write!(f, "the storage limits the request rate: {message}"),
            _ => f.write_str(message),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn storage_error_without_credentials_names_variables() {
        let error = || {
            let error = opendal::Error::new(ErrorKind::Unexpected, "signing http request");
            error.set_source(std::io::Error::other("failed to load signing credential"))
        };
        let s3 = StorageError::new(error(), "s3://bucket/x");
        assert!(s3.to_string().contains("set AWS_ACCESS_KEY_ID"), "{s3}");
        assert!(s3.source().is_some());
        let oss = StorageError::new(error(), "oss://bucket/x");
        assert!(oss.to_string().contains("set ALIBABA_CLOUD_ACCESS_KEY_ID"), "{oss}");
    }

    #[test]
    fn storage_error_omits_library_context() {
        let error = opendal::Error::new(ErrorKind::NotFound, "NoSuchKey");
        let error = error.with_context("service", "s3");
        assert_eq!(
            StorageError::new(error, "s3://b/x").to_string(),
            "it does not exist: NoSuchKey"
        );
    }
}
