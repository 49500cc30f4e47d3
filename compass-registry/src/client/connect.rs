//! How connections are made: TLS, certificates, proxies.

use std::sync::Once;
use std::time::Duration;

use super::ClientOptions;
use crate::Error;

/// A client for a host. What is `local` is on this machine, and spoken with without a proxy.
pub(super) fn builder(
    host: &str,
    local: bool,
    options: &ClientOptions,
) -> Result<reqwest::ClientBuilder, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("compass/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.retry.silence.min(Duration::from_secs(10)))
        .pool_max_idle_per_host(64)
        .tcp_nodelay(true);
    if local {
        // No proxy elsewhere can reach this machine by that name.
        builder = builder.no_proxy();
    }
    if let Some(pem) = &options.ca {
        let bad = |_| Error::invalid("CA file", host, "expected certificates in PEM form");
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(bad)?;
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(identity) = &options.identity {
        let bad = |_| {
            let reason = "expected a certificate and its key in PEM form";
            Error::invalid("client certificate", host, reason)
        };
        let identity = reqwest::Identity::from_pem(identity.reveal().as_bytes()).map_err(bad)?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// Lets rustls use ring, unless the program has chosen already.
pub(super) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that a provider is installed, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
