//! HTTP clients: TLS, certificates and proxies.

use std::sync::Once;
use std::time::Duration;

use reqwest::Url;

use super::error::unreachable;
use super::{ClientOptions, Secret};
use crate::Error;
use crate::connect_retry::ConnectRetry;
use crate::error::connection::error_chain;

/// The HTTP clients for the registry and for the hosts that it redirects to.
#[derive(Debug)]
pub(super) struct HttpClients {
    registry: ClientPair,
    external: ClientPair,
}

/// The kind of host that a request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The registry itself.
    Registry,
    /// Another host, which must not get the client certificate.
    External,
}

/// The kind of content that a request transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// A small document.
    Api,
    /// A blob.
    Blob,
}

#[derive(Debug, Clone)]
struct ClientPair {
    /// For small requests. Over TLS, they share one connection.
    api: reqwest::Client,
    /// For blobs: HTTP/1.1 only, so that each transfer has a flow-control window of its own.
    blob: reqwest::Client,
}

impl HttpClients {
    /// Creates the clients. Requests to this machine (`local`) do not use a proxy.
    ///
    /// # Errors
    /// [`Error::Parse`] if a certificate is invalid.
    pub(super) fn new(
        host: &str,
        (local, plain): (bool, bool),
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        install_crypto();
        let external = ClientPair::new(host, (local, plain), (options, None))?;
        // A client certificate identifies the user, so only the registry gets it.
        let registry = match &options.client_cert_pem {
            Some(pem) => ClientPair::new(host, (local, plain), (options, Some(pem)))?,
            None => external.clone(),
        };
        Ok(Self { registry, external })
    }

    /// Returns the client for an origin and a kind of traffic.
    pub(super) fn client_for(&self, origin: Origin, traffic: Traffic) -> &reqwest::Client {
        let pair = match origin {
            Origin::Registry => &self.registry,
            Origin::External => &self.external,
        };
        match traffic {
            Traffic::Api => &pair.api,
            Traffic::Blob => &pair.blob,
        }
    }
}

/// The context of a token request: the clients, and the registry that the token is for.
#[derive(Clone, Copy)]
pub(super) struct TokenEndpoint<'e> {
    pub(super) clients: &'e HttpClients,
    pub(super) registry: &'e Url,
    pub(super) connect_retry: &'e ConnectRetry,
}

impl TokenEndpoint<'_> {
    /// Returns the client for a token service.
    pub(super) fn client_for(&self, url: &Url) -> &reqwest::Client {
        self.clients.client_for(Origin::of(url, self.registry), Traffic::Api)
    }
}

impl Origin {
    /// Returns whether a URL belongs to the registry or to another host.
    pub(super) fn of(url: &Url, registry: &Url) -> Self {
        match url.origin() == registry.origin() {
            true => Self::Registry,
            false => Self::External,
        }
    }
}

impl ClientPair {
    fn new(
        host: &str,
        (local, plain): (bool, bool),
        (options, cert_pem): (&ClientOptions, Option<&Secret>),
    ) -> Result<Self, Error> {
        let builder = || builder(host, local, options, cert_pem);
        let failed = |error: reqwest::Error| match cert_pem {
            Some(_) => Error::invalid("client certificate", host, last_cause(&error)),
            None => unreachable(host, "anything", error),
        };
        let api = builder()?.build().map_err(failed)?;
        // Without TLS, every request uses HTTP/1.1.
        let blob = match plain {
            true => api.clone(),
            false => builder()?.http1_only().build().map_err(failed)?,
        };
        Ok(Self { api, blob })
    }
}

/// Returns the last cause of an error.
fn last_cause(error: &(dyn std::error::Error + 'static)) -> String {
    error_chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn builder(
    host: &str,
    local: bool,
    options: &ClientOptions,
    cert_pem: Option<&Secret>,
) -> Result<reqwest::ClientBuilder, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("compass/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.retry.idle_timeout.min(Duration::from_secs(10)))
        .pool_max_idle_per_host(64)
        .tcp_nodelay(true);
    if local {
        // A remote proxy cannot reach this machine by a loopback name.
        builder = builder.no_proxy();
    }
    if let Some(pem) = &options.ca_pem {
        let invalid = || Error::invalid("CA file", host, "expected certificates in PEM form");
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| invalid())?;
        if certificates.is_empty() {
            return Err(invalid());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(pem) = cert_pem {
        let invalid = |_| {
            let reason = "expected a certificate and its key in PEM form";
            Error::invalid("client certificate", host, reason)
        };
        let identity = reqwest::Identity::from_pem(pem.reveal().as_bytes()).map_err(invalid)?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// Installs ring as the crypto provider of rustls, unless the program has installed one.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
