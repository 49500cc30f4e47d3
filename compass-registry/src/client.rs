//! A registry over HTTP (OCI distribution specification 1.1), as [`ImageSource`] and [`ImageSink`].
//!
//! - Credentials are sent to the registry's own origin and to the token service that it names,
//!   never to the target of a redirect or to an upload location on another host.
//! - Transient failures are retried with growing delays. Interrupted blob transfers resume where
//!   they broke, in both directions.
//! - Large blobs are read in several ranges at once and yielded in order.
//! - Tokens are cached per repository and action until shortly before they expire.
//! - The client sends fewer requests or pauses if the registry asks for it (429, `Retry-After`,
//!   `ratelimit-*`).

mod auth;
mod catalog;
mod challenge;
mod credentials;
mod delete;
mod doctor;
mod error;
mod error_body;
mod http_clients;
mod mount;
mod paging;
mod pending_uploads;
mod pull;
mod push;
mod rate_limit;
mod referrers;
mod resumable_body;
mod scopes;
mod tags;
mod token_cache;
mod token_response;
mod transport;
mod trial_upload;
mod upload;
mod upload_session;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::http::HttpOptions;
use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, RangeOptions, RawManifest,
    Referrer, Repository, RetryPolicy, Tag, TagOrDigest, VerifiedBlob,
};

pub use credentials::{CredentialFiles, CredentialProvider, Credentials, Login};
pub use doctor::Check;
use transport::Transport;
pub use trial_upload::TrialUpload;

/// A client of one registry. Clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

/// Options of a [`Client`].
///
/// A client of its own is used for all requests:
/// ```
/// use compass_registry::client::{Client, ClientOptions};
/// use compass_registry::http::HttpOptions;
/// use reqwest::redirect::Policy;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // `HttpOptions::builder` sets TLS up; any other `reqwest::Client` can be used, too.
/// let own = HttpOptions::default().builder()?.redirect(Policy::none()).build()?;
/// let http = HttpOptions::default().client(Some(own));
/// let client = Client::new("registry.example", ClientOptions::default().http(http))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Uses HTTP without TLS. `localhost`, `127.0.0.1` and `[::1]` are always used without TLS.
    pub plain_http: bool,
    /// TLS, proxy and user agent. A client certificate is sent only to the registry.
    ///
    /// With [`HttpOptions::client`], requests to all hosts use that client. Build it with
    /// [`redirect::Policy::none`](reqwest::redirect::Policy::none), so that this crate can refuse
    /// redirects from https to http.
    pub http: HttpOptions,
    /// The source of credentials; `None` for requests without a login.
    pub credentials: Option<Arc<dyn CredentialProvider>>,
    /// Limits of retries and timeouts.
    pub retry: RetryPolicy,
    /// How to read large blobs in ranges.
    pub range_options: RangeOptions,
    /// The maximum number of requests that wait for a response; lowered while the registry
    /// throttles.
    pub max_in_flight: u16,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            http: HttpOptions::default(),
            credentials: None,
            retry: RetryPolicy::default(),
            range_options: RangeOptions::default(),
            max_in_flight: 32,
        }
    }
}

setters!(ClientOptions {
    plain_http: bool,
    http: HttpOptions,
    retry: RetryPolicy,
    range_options: RangeOptions,
    max_in_flight: u16,
});

impl ClientOptions {
    /// Sets [`credentials`](field@Self::credentials): fixed [`Credentials`], the
    /// [`CredentialFiles`] of other tools, or a provider of your own.
    #[must_use]
    pub fn credentials(mut self, provider: impl CredentialProvider + 'static) -> Self {
        self.credentials = Some(Arc::new(provider));
        self
    }
}

impl Client {
    /// Creates a client for a registry host, `HOST[:PORT]`, without sending a request.
    ///
    /// # Errors
    /// [`Error::Parse`] if the host is invalid; [`Error::InvalidOption`] if a certificate or the
    /// proxy is.
    pub fn new(host: &str, options: ClientOptions) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(host, options)? })
    }

    /// Checks that the registry is reachable and accepts the credentials.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Unauthorized`], or [`Error::NotARegistry`] if something
    /// else answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.transport.ping().await.map(drop)
    }

    /// Announces which repositories will be read, so that one token request covers several of them.
    ///
    /// Sends no request itself. Without this call, each repository needs a token request of its
    /// own.
    ///
    /// # Errors
    /// Errors of the credential provider.
    pub async fn prefetch_pull_tokens<'r>(
        &self,
        repositories: impl IntoIterator<Item = &'r Repository>,
    ) -> Result<(), Error> {
        self.transport.prefetch_pull_tokens(repositories.into_iter()).await
    }

    /// Tests what the registry supports, with the login for `project` if one is given.
    ///
    /// Without a scratch repository, nothing is written. With one, blobs and a tag are written to
    /// it and to `<scratch>/mounted`, and are deleted afterwards if the registry allows it.
    pub async fn diagnose(
        &self,
        project: Option<&Repository>,
        scratch: Option<&Repository>,
    ) -> Vec<Check> {
        doctor::diagnose(&self.transport, project, scratch).await
    }

    /// Returns the size of a blob in bytes, or `None` if the registry does not have it.
    ///
    /// # Errors
    /// [`Error::InvalidResponse`] if the registry does not tell the size, and errors of the request.
    pub async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        pull::blob_size(&self.transport, repository, digest).await
    }

    /// Lists the tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// An error with [`Error::is_not_found`] if the registry does not know the repository.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        tags::list_tags(&self.transport, repository).await
    }

    /// Lists the repositories of the registry.
    ///
    /// # Errors
    /// [`Error::Status`] if the registry has no catalog, and errors of the connection.
    pub async fn repositories(&self) -> Result<Vec<Repository>, Error> {
        catalog::list_repositories(&self.transport).await
    }

    /// Lists the manifests whose subject is `subject`, optionally of one artifact type.
    ///
    /// The list is empty if no manifest refers to `subject`.
    ///
    /// # Errors
    /// Errors of the request.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Error> {
        referrers::list_referrers(&self.transport, repository, subject, artifact_type).await
    }

    /// Checks that the registry accepts uploads to a repository, by opening an upload session.
    ///
    /// The next blob of the repository is uploaded in this session, if the returned value still
    /// exists then.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] or [`Error::Status`] if it does not, and errors of the connection.
    pub async fn check_push(&self, repository: &Repository) -> Result<TrialUpload, Error> {
        TrialUpload::open(&self.transport, repository).await
    }

    /// Cancels the upload sessions that no upload has used, and waits for the responses. Errors are
    /// ignored.
    pub async fn cancel_unused_uploads(&self) {
        upload::cancel_unused(&self.transport).await;
    }

    /// Deletes a tag, or a manifest with all its tags.
    ///
    /// # Errors
    /// An error with [`Error::is_not_found`] if the content does not exist; [`Error::Status`] if
    /// the registry does not allow deletion.
    pub async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<(), Error> {
        delete::delete(&self.transport, repository, &format!("manifests/{reference}")).await
    }

    /// Deletes a blob from a repository.
    ///
    /// # Errors
    /// As [`Client::delete_manifest`].
    pub async fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), Error> {
        delete::delete(&self.transport, repository, &format!("blobs/{digest}")).await
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
            // Some registries answer every `HEAD` with 404. If the manifest is missing, the
            // response to `GET` contains a message.
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
