//! Settings of object storages, from environment variables and the files of the vendors' tools.
//!
//! The parsers are pure; [`StoreEnvironment::of_process`] reads the process environment, and
//! [`ConfigFiles::read`] the files.

mod aws;
mod endpoint;
mod environment;
mod ini;
mod oss;

pub(super) use self::endpoint::{Addressing, Endpoint};
pub(super) use self::environment::ConfigFiles;
pub use self::environment::StoreEnvironment;
use super::address::{ObjectAddress, Provider};
use crate::Error;

/// The version of the signatures of OSS requests. S3 has only version 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SignatureVersion {
    V1,
    #[default]
    V4,
}

/// The source of credentials.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) enum CredentialSource {
    /// The environment, the files of the vendor's tools, and the roles of instances.
    #[default]
    Default,
    /// Keys from `~/.ossutilconfig`.
    Keys { id: String, secret: String, token: Option<String>, role: Option<AssumedRole> },
    /// The RAM role of the ECS instance, if its name is configured.
    InstanceRole(Option<String>),
    /// Requests are not signed.
    Anonymous,
}

/// A RAM role that is assumed with keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AssumedRole {
    pub(super) arn: String,
    pub(super) session: Option<String>,
}

/// The settings of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) provider: Provider,
    pub(super) bucket: String,
    pub(super) endpoint: Endpoint,
    pub(super) addressing: Addressing,
    pub(super) region: String,
    pub(super) signature: SignatureVersion,
    pub(super) credentials: CredentialSource,
}

impl Settings {
    /// Finds the settings of a bucket.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if a setting is invalid, or a required one is missing.
    pub(super) fn find(
        address: &ObjectAddress,
        environment: &StoreEnvironment,
        files: &ConfigFiles,
    ) -> Result<Self, Error> {
        let found = match address.provider {
            Provider::S3 => aws::settings(&address.bucket, environment, files),
            Provider::Oss => oss::settings(&address.bucket, environment, files),
        };
        found.map_err(|reason| Error::invalid_address(&address.shown, reason))
    }
}

impl std::fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Default => "Default",
            Self::Keys { .. } => "Keys",
            Self::InstanceRole(_) => "InstanceRole",
            Self::Anonymous => "Anonymous",
        })
    }
}
