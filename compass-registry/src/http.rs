//! Construction of HTTP clients: TLS, certificates, proxies and timeouts; and `Retry-After`.
//!
//! TLS uses rustls with ring, and the trust store of the system. ring is set in the configuration of
//! each client, so that the process-wide provider of rustls is neither needed nor changed.

pub(crate) mod plain_client;
mod retry_after;
mod system_verifier;

use std::sync::Arc;
use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::Verifier;

pub use self::retry_after::retry_after;
use self::system_verifier::SystemVerifier;
use crate::error::connection::error_chain;
use crate::{Error, Secret};

/// How to create HTTP clients.
///
/// ```
/// use std::time::Duration;
///
/// use compass_registry::http::{HttpOptions, Proxy};
///
/// # fn main() -> Result<(), compass_registry::Error> {
/// let options = HttpOptions::default()
///     .user_agent("mirror/1.0".to_owned())
///     .proxy(Proxy::None)
///     .read_timeout(Some(Duration::from_secs(30)));
/// let client = options.build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// CA certificates in PEM form, trusted in addition to the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// A client certificate and its key, both in PEM form.
    pub client_cert_pem: Option<Secret>,
    /// The proxy for all requests.
    pub proxy: Proxy,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The time limit for a new connection.
    pub connect_timeout: Duration,
    /// How long a response may be idle before it fails; `None` for no limit.
    pub read_timeout: Option<Duration>,
    /// Uses HTTP/1.1 only, so that each transfer has a connection of its own.
    pub http1_only: bool,
    /// A client that is used as it is. All other options are ignored.
    pub client: Option<reqwest::Client>,
}

/// The proxy of an HTTP client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// The proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` select.
    #[default]
    Environment,
    /// No proxy.
    None,
    /// The proxy at a URL, which may contain a user and a password.
    Url(Secret),
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca_pem: None,
            client_cert_pem: None,
            proxy: Proxy::default(),
            user_agent: concat!("compass/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: None,
            http1_only: false,
            client: None,
        }
    }
}

setters!(HttpOptions {
    ca_pem: Option<Vec<u8>>,
    client_cert_pem: Option<Secret>,
    proxy: Proxy,
    user_agent: String,
    connect_timeout: Duration,
    read_timeout: Option<Duration>,
    http1_only: bool,
    client: Option<reqwest::Client>,
});

impl HttpOptions {
    /// Creates a client, or returns [`Self::client`] if it is set.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if an option is invalid.
    pub fn build(&self) -> Result<reqwest::Client, Error> {
        match &self.client {
            Some(own) => Ok(own.clone()),
            None => build(self.builder()?),
        }
    }

    /// Returns the builder of a client, for settings that these options do not have.
    ///
    /// The client follows redirects, except from https to http. [`Self::client`] is ignored.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if an option is invalid.
    pub fn builder(&self) -> Result<ClientBuilder, Error> {
        self.builder_with(&TrustStore::new(self)?)
    }

    /// Returns the builder of a client that verifies servers with `trust`.
    pub(crate) fn builder_with(&self, trust: &TrustStore) -> Result<ClientBuilder, Error> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls_config(trust)?)
            .user_agent(&self.user_agent)
            .redirect(without_downgrade())
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(64);
        let builder = match self.read_timeout {
            Some(limit) => builder.read_timeout(limit),
            None => builder,
        };
        let builder = if self.http1_only { builder.http1_only() } else { builder };
        match &self.proxy {
            Proxy::Environment => Ok(builder),
            Proxy::None => Ok(builder.no_proxy()),
            Proxy::Url(url) => {
                // The URL may contain a password, so the message does not quote it.
                let proxy = reqwest::Proxy::all(url.reveal())
                    .map_err(|_| invalid("the proxy URL", "expected `http://HOST:PORT`"))?;
                Ok(builder.proxy(proxy))
            }
        }
    }

    fn tls_config(&self, trust: &TrustStore) -> Result<ClientConfig, Error> {
        let config = ClientConfig::builder_with_provider(trust.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("the TLS versions", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(trust.verifier.clone());
        let mut config = match &self.client_cert_pem {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let (chain, key) = parse_identity(pem)?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| invalid(CLIENT_CERT, error.to_string()))?
            }
        };
        let protocols: &[&str] = if self.http1_only { &["http/1.1"] } else { &["h2", "http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|&protocol| protocol.into()).collect();
        Ok(config)
    }
}

/// The certificates that identify servers. Clients share them.
#[derive(Debug)]
pub(crate) struct TrustStore {
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl TrustStore {
    /// Trusts the certificates of the system and of the options.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if those of the options are invalid.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &options.ca_pem {
            None => Arc::new(SystemVerifier::new(provider.clone())),
            Some(pem) => Arc::new(
                Verifier::new_with_extra_roots(parse_ca(pem)?, provider.clone())
                    .map_err(|error| invalid(CA, error.to_string()))?,
            ),
        };
        Ok(Self { provider, verifier })
    }
}

/// Builds a client.
pub(crate) fn build(builder: ClientBuilder) -> Result<reqwest::Client, Error> {
    builder.build().map_err(|error| {
        let cause = error_chain(&error).last().map(ToString::to_string).unwrap_or_default();
        invalid("the HTTP options", cause)
    })
}

const CA: &str = "the CA certificates";

const CLIENT_CERT: &str = "the client certificate";

fn parse_ca(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(invalid(CA, "expected certificates in PEM form")),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parse_identity(pem: &Secret) -> Result<Identity, Error> {
    let pem = pem.reveal().as_bytes();
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match (chain, PrivateKeyDer::from_pem_slice(pem)) {
        (Ok(chain), Ok(key)) if !chain.is_empty() => Ok((chain, key)),
        _ => Err(invalid(CLIENT_CERT, "expected a certificate and its key in PEM form")),
    }
}

fn invalid(what: &'static str, reason: impl Into<String>) -> Error {
    Error::InvalidOption { what, reason: reason.into() }
}

/// Follows redirects, except from https to http.
fn without_downgrade() -> Policy {
    Policy::custom(|attempt| {
        let leaves_tls = attempt.previous().last().is_some_and(|from| from.scheme() == "https")
            && attempt.url().scheme() != "https";
        match leaves_tls {
            true => attempt.error("the server redirects from https to http"),
            false => Policy::default().redirect(attempt),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(options: &HttpOptions) -> String {
        options.build().unwrap_err().to_string()
    }

    #[test]
    fn build_needs_no_process_wide_provider() {
        HttpOptions::default().build().unwrap();
        assert!(CryptoProvider::get_default().is_none());
    }

    #[test]
    fn build_invalid_certificate_names_option() {
        let ca = HttpOptions::default().ca_pem(Some(b"x".to_vec()));
        assert_eq!(
            failure(&ca),
            "cannot use the CA certificates: expected certificates in PEM form"
        );
        let identity = HttpOptions::default().client_cert_pem(Some(Secret::new("hunter2")));
        assert_eq!(
            failure(&identity),
            "cannot use the client certificate: expected a certificate and its key in PEM form"
        );
    }

    #[test]
    fn build_invalid_proxy_hides_url() {
        let proxy = Proxy::Url(Secret::new("http://me:hunter2@[::bad"));
        let message = failure(&HttpOptions::default().proxy(proxy));
        assert_eq!(message, "cannot use the proxy URL: expected `http://HOST:PORT`");
    }

    #[test]
    fn build_invalid_user_agent_fails() {
        let options = HttpOptions::default().user_agent("a\nb".to_owned());
        assert!(failure(&options).starts_with("cannot use the HTTP options: "));
    }
}
