//! A registry over HTTP (OCI distribution specification 1.1): an [`ImageSource`] and an
//! [`ImageSink`].
//!
//! - Credentials go to the registry's own origin and to the token service that it names, and to
//!   nobody else: not to the target of a redirect, not to an upload location elsewhere.
//! - What fails for a reason that may pass is tried again, with growing pauses. Blobs go on where
//!   they were cut, in both directions.
//! - Large blobs are read in several parts at once, and handed out in order.
//! - Tokens are kept per repository and action until shortly before they expire.
//! - A registry that asks for fewer requests, or for a pause, gets what it asks for.

mod auth;
mod challenge;
mod credentials;
mod doctor;
mod error_body;
mod http;
mod list;
mod mount;
mod pull;
mod push;
mod rate_limit;
mod resumable_body;
mod scopes;
mod token_cache;
mod token_response;
mod transport;
mod upload;

use std::ops::Range;

use async_trait::async_trait;

use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, RangeOptions, RawManifest,
    Referrer, Repository, RetryPolicy, Tag, TagOrDigest, VerifiedBlob,
};

pub use credentials::{CredentialFiles, Credentials, Login, Secret};
pub use doctor::Check;
use transport::Transport;

/// A registry over HTTP. Clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

/// How to speak with a registry.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Without TLS. `localhost`, `127.0.0.1` and `[::1]` never use it.
    pub plain_http: bool,
    /// Certificates in PEM form that are trusted besides the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// A client certificate and its key, both in PEM form.
    pub client_cert_pem: Option<Secret>,
    /// Credentials for everything that [`Self::logins`] have none for.
    pub credentials: Option<Credentials>,
    /// Credentials as the tools keep them ([`CredentialFiles::find`]).
    pub logins: Vec<Login>,
    /// How failures that may pass are dealt with.
    pub retry: RetryPolicy,
    /// How large blobs are read.
    pub range_options: RangeOptions,
    /// Requests that wait for an answer at once, at most; fewer where the registry wants that.
    pub max_in_flight: u16,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            ca_pem: None,
            client_cert_pem: None,
            credentials: None,
            logins: Vec::new(),
            retry: RetryPolicy::default(),
            range_options: RangeOptions::default(),
            max_in_flight: 32,
        }
    }
}

impl ClientOptions {
    fn all_logins(&self) -> Vec<Login> {
        let own = self.credentials.clone().map(|one| Login::new(None, one, "the options"));
        self.logins.iter().cloned().chain(own).collect()
    }
}

impl Client {
    /// A client for a registry host, with its port where it has one. Nothing is asked for yet.
    ///
    /// # Errors
    /// [`Error::Parse`] for a host or CA file that is none.
    pub fn new(host: &str, options: ClientOptions) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(host, options)? })
    }

    /// Asks whether the registry is there and lets us in.
    ///
    /// # Errors
    /// Where it is not, or does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.transport.ping().await.map(drop)
    }

    /// Says which repositories will be read, so that one token does for several of them where the
    /// registry works with tokens; otherwise each costs a request more. Nothing is asked for yet.
    pub fn prefetch_pull_tokens<'r>(&self, repositories: impl IntoIterator<Item = &'r Repository>) {
        self.transport.prefetch_pull_tokens(repositories.into_iter());
    }

    /// Tries out what the registry can do, with the login for a project if one is given. Without a
    /// scratch repository nothing is written; with one, blobs and a tag are written to it and to
    /// `<scratch>/mounted`, and removed again if the registry allows it.
    pub async fn diagnose(
        &self,
        project: Option<&Repository>,
        scratch: Option<&Repository>,
    ) -> Vec<Check> {
        doctor::diagnose(&self.transport, project, scratch).await
    }

    /// The tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the registry does not know the repository.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        list::tags(&self.transport, repository).await
    }

    /// The repositories of the registry, where it tells.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn repositories(&self) -> Result<Vec<Repository>, Error> {
        list::repositories(&self.transport).await
    }

    /// The manifests that refer to another one, of one kind if that is given.
    ///
    /// # Errors
    /// Where the registry cannot be asked. A manifest that nothing refers to is none.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Error> {
        list::referrers(&self.transport, repository, subject, artifact_type).await
    }

    /// Removes a tag, or a manifest with all its tags.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it is not there; [`Error::Status`] where the registry removes
    /// nothing.
    pub async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<(), Error> {
        list::delete(&self.transport, repository, &format!("manifests/{reference}")).await
    }

    /// Removes a blob from a repository.
    ///
    /// # Errors
    /// As [`Client::delete_manifest`].
    pub async fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), Error> {
        list::delete(&self.transport, repository, &format!("blobs/{digest}")).await
    }
}

#[async_trait]
impl ImageSource for Client {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        pull::manifest(&self.transport, repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        pull::blob(&self.transport, repository, descriptor, range).await
    }

    async fn resolve(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Digest, Error> {
        match pull::manifest_digest(&self.transport, repository, reference).await? {
            Some(digest) => Ok(digest),
            // Some registries answer `HEAD` so whatever they have, and the words are those of `GET`.
            None => Ok(pull::manifest(&self.transport, repository, reference).await?.digest()),
        }
    }

    async fn holds_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        push::has_blob(&self.transport, repository, descriptor, "pull").await
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        self.transport.range_options()
    }

    fn registry(&self) -> Option<&str> {
        Some(self.transport.host())
    }

    fn retry(&self) -> RetryPolicy {
        self.transport.retry()
    }
}

#[async_trait]
impl ImageSink for Client {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        pull::manifest_digest(&self.transport, repository, reference).await
    }

    async fn verified_manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        pull::verified_manifest_digest(&self.transport, repository, reference).await
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        let there = push::has_blob(&self.transport, repository, descriptor, push::PUSH).await?;
        if there {
            mount::cancel_pending_mount_upload(&self.transport, repository, descriptor).await;
        }
        Ok(there)
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        upload::put_blob(&self.transport, repository, blob).await
    }

    async fn mount_blob(
        &self,
        from: &Repository,
        to: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        mount::mount_blob(&self.transport, from, to, descriptor).await
    }

    fn registry(&self) -> Option<&str> {
        Some(self.transport.host())
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
