//! Clients for the registries that a command connects to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use compass_manifest::policy::Host;
use compass_registry::client::{Client, ClientOptions, CredentialFiles};
use compass_registry::http::HttpOptions;
use compass_registry::{Error, RetryPolicy, Secret};

use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::repository::Repository;

/// The settings of hosts, and the credentials.
#[derive(Debug)]
pub(crate) struct Registries {
    root: PathBuf,
    hosts: BTreeMap<String, Host>,
    credentials: CredentialFiles,
    retry: RetryPolicy,
}

impl Registries {
    /// Creates clients' settings from the policy of a repository.
    pub(crate) fn new(repository: &Repository, global: &GlobalArgs) -> Self {
        Self {
            root: repository.settings.clone(),
            hosts: repository.policy.registries.hosts.clone(),
            ..Self::without_policy(global)
        }
    }

    /// Creates clients' settings without a policy.
    pub(crate) fn without_policy(global: &GlobalArgs) -> Self {
        Self {
            root: PathBuf::new(),
            hosts: BTreeMap::new(),
            credentials: CredentialFiles::from_environment(),
            retry: global.retry_policy(),
        }
    }

    /// Creates clients' settings for a site; see [`Repository::at_site`].
    pub(crate) fn at_site(global: &GlobalArgs) -> Result<Self> {
        Ok(Self::new(&Repository::at_site(global)?, global))
    }

    /// Sets short timeouts and few retries, for interactive commands.
    pub(crate) fn interactive(self) -> Self {
        let (idle_timeout, connect_retry) = (Duration::from_secs(15), Duration::ZERO);
        let retry =
            self.retry.max_attempts(2).idle_timeout(idle_timeout).connect_retry(connect_retry);
        Self { retry, ..self }
    }

    pub(crate) fn client(&self, host: &str, plain_http: bool) -> Result<Client> {
        let settings = self.hosts.get(host).cloned().unwrap_or_default();
        let ca = settings.ca.as_deref().map(|file| self.read("CA file", file)).transpose()?;
        let options = ClientOptions::default()
            .plain_http(plain_http || settings.plain_http)
            .http(HttpOptions::default().ca_pem(ca).client_cert_pem(self.identity(&settings)?))
            // Read the files now, so that an invalid one is an error of the configuration.
            .credentials(self.credentials.find(host).map_err(credentials_error)?)
            .retry(self.retry);
        Client::new(host, options).map_err(|error| match error {
            Error::InvalidOption { .. } if settings != Host::default() => {
                let hint =
                    format!("check the files of {host} under `registries.hosts` in the policy");
                CliError::from(error).hint(hint)
            }
            error => error.into(),
        })
    }

    /// The client certificate and its key.
    fn identity(&self, host: &Host) -> Result<Option<Secret>> {
        let Some(certificate) = &host.certificate else { return Ok(None) };
        let mut pem = self.read("client certificate", certificate)?;
        if let Some(key) = &host.key {
            pem.push(b'\n');
            pem.extend(self.read("client key", key)?);
        }
        let bad =
            |_| CliError::usage(format!("the client certificate {certificate} is not PEM text"));
        Ok(Some(Secret::new(String::from_utf8(pem).map_err(bad)?)))
    }

    fn read(&self, what: &str, file: &str) -> Result<Vec<u8>> {
        let path = self.root.join(file);
        std::fs::read(&path).map_err(|error| {
            CliError::usage(format!("cannot read the {what} {}: {error}", path.display()))
        })
    }
}

/// The error for a credentials file, which is an error of the configuration.
fn credentials_error(error: compass_registry::Error) -> CliError {
    let hint = "correct the file, remove a helper that is not needed, or set `REGISTRY_AUTH_FILE` to \
                another file (docs/registries.md)";
    CliError::from(error).into_config().hint(hint)
}
