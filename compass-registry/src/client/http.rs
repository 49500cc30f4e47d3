//! HTTP clients: TLS, certificates and proxies.

use std::sync::Once;
use std::time::Duration;

use reqwest::Url;

use super::transport::unreachable;
use super::{ClientOptions, Secret};
use crate::Error;
use crate::connect_retry::ConnectRetry;
use crate::error::connection::error_chain;

/// The HTTP clients for the registry and for the hosts that it redirects to.
#[derive(Debug)]
pub(super) struct Connections {
    registry: Ways,
    elsewhere: Ways,
}

#[derive(Debug, Clone)]
struct Ways {
    /// For small requests. Over TLS, they share one connection.
    http: reqwest::Client,
    /// For blobs: HTTP/1.1 only, so that each transfer has a flow-control window of its own.
    bulk: reqwest::Client,
}

impl Connections {
    /// Creates the clients. Requests to this machine (`local`) do not use a proxy.
    ///
    /// # Errors
    /// [`Error::Parse`] if a certificate is invalid.
    pub(super) fn new(
        host: &str,
        (local, plain): (bool, bool),
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        let stranger = Ways::new(host, (local, plain), (options, None))?;
        let registry = match &options.client_cert_pem {
            Some(identity) => Ways::new(host, (local, plain), (options, Some(identity)))?,
            None => stranger.clone(),
        };
        // A client certificate identifies the user, so only the registry gets it.
        Ok(Self { registry, elsewhere: stranger })
    }

    /// Returns the client for an origin and a kind of traffic.
    pub(super) fn to(&self, is_registry_origin: bool, is_bulk: bool) -> &reqwest::Client {
        let ways = if is_registry_origin { &self.registry } else { &self.elsewhere };
        if is_bulk { &ways.bulk } else { &ways.http }
    }
}

/// What a token request needs: the clients, and the registry on whose behalf it is sent.
#[derive(Clone, Copy)]
pub(super) struct TokenEndpoint<'d> {
    pub(super) connections: &'d Connections,
    pub(super) registry: &'d Url,
    pub(super) connect_retry: &'d ConnectRetry,
}

impl TokenEndpoint<'_> {
    /// Returns the client for a token service.
    pub(super) fn to(&self, url: &Url) -> &reqwest::Client {
        self.connections.to(url.origin() == self.registry.origin(), false)
    }
}

impl Ways {
    fn new(
        host: &str,
        (local, plain): (bool, bool),
        (options, identity): (&ClientOptions, Option<&Secret>),
    ) -> Result<Self, Error> {
        let builder = || builder(host, local, options, identity);
        let failed = |error: reqwest::Error| match identity {
            Some(_) => Error::invalid("client certificate", host, innermost(&error)),
            None => unreachable(host, "anything", error),
        };
        let http = builder()?.build().map_err(failed)?;
        // Without TLS, every request uses HTTP/1.1.
        let bulk = match plain {
            true => http.clone(),
            false => builder()?.http1_only().build().map_err(failed)?,
        };
        Ok(Self { http, bulk })
    }
}

/// Returns the last cause of an error.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    error_chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn builder(
    host: &str,
    local: bool,
    options: &ClientOptions,
    identity: Option<&Secret>,
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
        let bad = || Error::invalid("CA file", host, "expected certificates in PEM form");
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| bad())?;
        if certificates.is_empty() {
            return Err(bad());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(identity) = identity {
        let bad = |_| {
            let reason = "expected a certificate and its key in PEM form";
            Error::invalid("client certificate", host, reason)
        };
        let identity = reqwest::Identity::from_pem(identity.reveal().as_bytes()).map_err(bad)?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// Installs ring as the crypto provider of rustls, unless the program has installed one.
pub(super) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails if a provider is installed already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
