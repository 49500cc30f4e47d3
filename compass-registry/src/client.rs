//! A registry over HTTP (OCI distribution specification 1.1): an [`ImageSource`] and an
//! [`ImageSink`].
//!
//! - Credentials go to the registry's own origin and to the token service that it names, and to
//!   nobody else: not to the target of a redirect, not to an upload location elsewhere.
//! - What fails for a reason that may pass is tried again, with growing pauses.
//! - Tokens are kept per repository and action until shortly before they expire.

mod auth;
mod challenge;
mod credentials;
mod pull;
mod push;
mod transport;

use async_trait::async_trait;

use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, Locator, RawManifest,
    Repository, Tag, VerifiedBlob,
};

pub use credentials::{CredentialFiles, Credentials, Secret};
use transport::Transport;

/// A registry over HTTP. Clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

/// How to speak with a registry.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Without TLS. `localhost` and `127.0.0.1` never use it.
    pub plain_http: bool,
    /// Certificates in PEM form that are trusted besides the system's.
    pub ca: Option<Vec<u8>>,
    /// Who asks; anonymous otherwise.
    pub credentials: Option<Credentials>,
}

impl Client {
    /// A client for a registry host, with its port where it has one. Nothing is asked for yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a host or CA file that is none.
    pub fn new(host: &str, options: ClientOptions) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(host, options)? })
    }

    /// Asks whether the registry is there and lets us in.
    ///
    /// # Errors
    /// Where it is not, or does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.transport.ping().await
    }
}

#[async_trait]
impl ImageSource for Client {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<RawManifest, Error> {
        pull::manifest(&self.transport, repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<ByteStream, Error> {
        pull::blob(&self.transport, repository, descriptor, offset).await
    }
}

#[async_trait]
impl ImageSink for Client {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<Option<Digest>, Error> {
        pull::manifest_digest(&self.transport, repository, locator).await
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        push::has_blob(&self.transport, repository, descriptor).await
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        push::put_blob(&self.transport, repository, blob).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        push::put_manifest(&self.transport, repository, manifest, tag).await
    }
}
