//! TLS for the connections of a server.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::Error;

/// The certificate and key of a server. Clones share them.
///
/// TLS uses rustls with ring. The process-wide provider of rustls is neither needed nor changed.
#[derive(Clone)]
pub struct TlsIdentity(Arc<RwLock<Arc<ServerConfig>>>);

impl TlsIdentity {
    /// Reads a certificate, followed by those of its issuers, and its key, both in PEM form.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if one of them cannot be read, or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let config = server_config(certificate, key)?;
        Ok(Self(Arc::new(RwLock::new(Arc::new(config)))))
    }

    /// Replaces the certificate and key, also in the servers that use a clone. Later connections use
    /// the new ones.
    ///
    /// # Errors
    /// As [`Self::from_pem`]. Then the previous ones stay in use.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), Error> {
        let config = Arc::new(server_config(certificate, key)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(…)")
    }
}

fn server_config(certificate: &[u8], key: &[u8]) -> Result<ServerConfig, Error> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain =
        chain.ok_or_else(|| invalid("the TLS certificate", "expected certificates in PEM form"))?;
    // The reason is not quoted, because it could contain a part of the key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| invalid("the TLS key", "expected a private key in PEM form"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config =
        config.map_err(|error| invalid("the TLS certificate and key", error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn invalid(what: &'static str, reason: impl Into<String>) -> Error {
    Error::InvalidOption { what, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_pem_invalid_input_names_part() {
        let failure = |certificate: &[u8], key: &[u8]| {
            TlsIdentity::from_pem(certificate, key).unwrap_err().to_string()
        };
        let certificate = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(failure(b"x", b"x").contains("the TLS certificate: expected certificates"));
        let error = failure(certificate, b"hunter2");
        assert!(error.contains("the TLS key: expected a private key"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
