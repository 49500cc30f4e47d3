//! The HTTP clients for the registry, its token service, and the hosts that it redirects to.

use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;

use crate::Error;
use crate::connect_retry::ConnectRetry;
use crate::http::plain_client::PlainClient;
use crate::http::{HttpOptions, TrustStore, build};

/// The HTTP clients for the registry and for the hosts that it redirects to.
#[derive(Debug)]
pub(super) struct HttpClients {
    registry: ClientPair,
    external: ClientPair,
    /// Sends the `GET` requests to the registry, if it can, so that all of them share connections.
    plain: Option<PlainClient>,
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
    /// Creates the clients for the registry at a URL. `limit` is the time limit of a response without
    /// its body.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if an option is invalid.
    pub(super) fn new(options: &HttpOptions, url: &Url, limit: Duration) -> Result<Self, Error> {
        if let Some(own) = &options.client {
            let pair = ClientPair { api: own.clone(), blob: own.clone() };
            return Ok(Self { registry: pair.clone(), external: pair, plain: None });
        }
        let (trust, plain_http) = (TrustStore::new(options)?, url.scheme() == "http");
        let registry = ClientPair::new(options, &trust, plain_http)?;
        // A client certificate identifies the user, so only the registry gets it.
        let external = match &options.client_cert_pem {
            Some(_) => ClientPair::new(&options.clone().client_cert_pem(None), &trust, plain_http)?,
            None => registry.clone(),
        };
        let plain = PlainClient::for_url(url.as_str(), options, limit);
        Ok(Self { registry, external, plain: plain.filter(|_| options.read_timeout.is_none()) })
    }

    /// Returns the client that reads from the registry in bounded memory, if it can.
    pub(super) fn plain(&self) -> Option<&PlainClient> {
        self.plain.as_ref()
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

impl ClientPair {
    fn new(options: &HttpOptions, trust: &TrustStore, plain_http: bool) -> Result<Self, Error> {
        // The transport follows redirects itself: it decides which hosts get credentials.
        let create =
            |options: &HttpOptions| build(options.builder_with(trust)?.redirect(Policy::none()));
        let api = create(options)?;
        // Without TLS, every request uses HTTP/1.1.
        let blob = match plain_http {
            true => api.clone(),
            false => create(&options.clone().http1_only(true))?,
        };
        Ok(Self { api, blob })
    }
}

/// A request that needs an `Authorization` header, with the clients to get a token for it.
#[derive(Clone, Copy)]
pub(super) struct AuthRequest<'e> {
    pub(super) scope: &'e str,
    pub(super) clients: &'e HttpClients,
    pub(super) registry: &'e Url,
    pub(super) connect_retry: &'e ConnectRetry,
}

impl AuthRequest<'_> {
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
