//! A verifier that loads the CA certificates of the system when it verifies the first server.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error as TlsError, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::error::NO_CERTIFICATES;

/// Verifies servers with the CA certificates of the system.
///
/// Loading them takes some milliseconds, which plain HTTP does not need. On a system without
/// certificates, each server is refused, and plain HTTP works.
#[derive(Debug)]
pub(super) struct SystemVerifier {
    provider: Arc<CryptoProvider>,
    /// The verifier, or why there are no certificates.
    verifier: OnceLock<Result<Verifier, String>>,
}

impl SystemVerifier {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, verifier: OnceLock::new() }
    }

    fn verifier(&self) -> Result<&Verifier, TlsError> {
        let verifier = self.verifier.get_or_init(|| {
            let loaded = Verifier::new(self.provider.clone());
            // The error does not name the file, so it is replaced.
            loaded.map_err(|_| describe_missing(|name| std::env::var_os(name)))
        });
        verifier.as_ref().map_err(|reason| TlsError::General(reason.clone()))
    }
}

/// Describes where no certificates were found. If one of the variables is set, those of the system
/// are not read.
fn describe_missing(variable: impl Fn(&str) -> Option<OsString>) -> String {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(|name| {
        let value = variable(name).filter(|value| !value.is_empty())?;
        Some(describe_variable(name, Path::new(&value)))
    });
    let named: Vec<_> = named.collect();
    match named.is_empty() {
        true => format!("the system has {NO_CERTIFICATES}"),
        false => format!("{NO_CERTIFICATES}: {}", named.join(", and ")),
    }
}

fn describe_variable(name: &str, path: &Path) -> String {
    let shown = path.display();
    let opened = match name {
        // Several directories may be named, so they are not opened.
        "SSL_CERT_DIR" => Ok(()),
        _ => std::fs::File::open(path).map(drop),
    };
    match opened {
        Ok(()) => format!("`{name}` names {shown}, which contains none"),
        Err(error) => format!("cannot read {shown}, which `{name}` names: {error}"),
    }
}

impl ServerCertVerifier for SystemVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verifier = self.verifier()?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_certificates_name_variable() {
        let describe = |set: &[(&str, &str)]| {
            describe_missing(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(describe(&[]), "the system has no CA certificates");
        assert_eq!(describe(&[("SSL_CERT_FILE", "")]), "the system has no CA certificates");
        let missing = describe(&[("SSL_CERT_FILE", "none/ca.pem")]);
        let expected = "no CA certificates: cannot read none/ca.pem, which `SSL_CERT_FILE` names: ";
        assert!(missing.starts_with(expected), "{missing}");
        let both = describe(&[("SSL_CERT_FILE", "Cargo.toml"), ("SSL_CERT_DIR", "a:b")]);
        let expected = "no CA certificates: `SSL_CERT_FILE` names Cargo.toml, which contains none, \
                        and `SSL_CERT_DIR` names a:b, which contains none";
        assert_eq!(both, expected);
    }
}
