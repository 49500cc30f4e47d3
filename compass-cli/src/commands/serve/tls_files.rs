//! The files with the certificate and key of a server, which are read again when they are renewed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use compass_registry::Digest;
use compass_registry::server::TlsIdentity;

use crate::error::{CliError, Result};

/// How often the files are read again. They may be links, so that events of the file system would
/// have to be received for several directories.
const INTERVAL: Duration = Duration::from_secs(5);

/// The failures in a row that are reported. A renewal replaces the files one after the other, so that
/// they may not match for a moment.
const REPORTED_FAILURE: u32 = 2;

/// The certificate and key of a server, and the files that they come from.
pub(super) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    identity: TlsIdentity,
    /// The digests of the contents in use.
    used: [Digest; 2],
}

impl TlsFiles {
    pub(super) async fn open(certificate: &Path, key: &Path) -> Result<Self> {
        let [certificate_pem, key_pem] = [read(certificate).await?, read(key).await?];
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            identity: TlsIdentity::from_pem(&certificate_pem, &key_pem)?,
            used: [Digest::of(&certificate_pem), Digest::of(&key_pem)],
        })
    }

    /// The certificate and key. [`Self::watch`] replaces them in all clones.
    pub(super) fn identity(&self) -> TlsIdentity {
        self.identity.clone()
    }

    /// Replaces the certificate and key when the files change. Never returns.
    pub(super) async fn watch(mut self) {
        let mut failures = 0;
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.refresh().await {
                Ok(is_renewed) => {
                    failures = 0;
                    if is_renewed {
                        tracing::info!("the TLS certificate was renewed");
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures == REPORTED_FAILURE {
                        let reason = error.message;
                        tracing::warn!(reason, "the previous TLS certificate stays in use");
                    }
                }
            }
        }
    }

    /// Reads the files. Returns whether the certificate or key was replaced.
    async fn refresh(&mut self) -> Result<bool> {
        let [certificate, key] = [read(&self.certificate).await?, read(&self.key).await?];
        let digests = [Digest::of(&certificate), Digest::of(&key)];
        if digests == self.used {
            return Ok(false);
        }
        self.identity.replace(&certificate, &key)?;
        self.used = digests;
        Ok(true)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>> {
    let read = tokio::fs::read(path).await;
    read.map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Writes a certificate and a key. Returns whether `openssl` could be run.
    fn write_identity(directory: &Path, name: &str) -> bool {
        let created = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(' '))
            .args(["-subj", "/CN=server", "-days", "2", "-out"])
            .arg(directory.join(format!("{name}.crt")))
            .arg("-keyout")
            .arg(directory.join(format!("{name}.key")))
            .output();
        created.is_ok_and(|created| created.status.success())
    }

    #[tokio::test]
    async fn refresh_wrong_file_keeps_identity() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        if !["a", "b"].iter().all(|name| write_identity(directory.path(), name)) {
            eprintln!("SKIPPED: the test needs openssl");
            return;
        }
        let mut files = TlsFiles::open(&path("a.crt"), &path("a.key")).await.unwrap();
        assert!(!files.refresh().await.unwrap());
        // The certificate belongs to another key until the key is replaced, too.
        std::fs::rename(path("b.crt"), path("a.crt")).unwrap();
        for _ in 0..2 {
            let reason = files.refresh().await.unwrap_err().message;
            assert!(reason.contains("the TLS certificate and key"), "{reason}");
        }
        std::fs::rename(path("b.key"), path("a.key")).unwrap();
        assert!(files.refresh().await.unwrap());
        assert!(!files.refresh().await.unwrap());
        std::fs::remove_file(path("a.key")).unwrap();
        assert!(files.refresh().await.unwrap_err().message.contains("cannot read"));
    }
}
