//! Clients for the registries that a command speaks with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use compass_manifest::policy::Host;
use compass_registry::RetryPolicy;
use compass_registry::client::{Client, ClientOptions, CredentialFiles, Secret};

use crate::cli::Global;
use crate::error::CliError;
use crate::repository::Repository;

/// How single hosts are spoken with, and who we are.
#[derive(Debug)]
pub(crate) struct Registries {
    root: PathBuf,
    hosts: BTreeMap<String, Host>,
    credentials: CredentialFiles,
    retry: RetryPolicy,
}

impl Registries {
    pub(crate) fn of(repository: &Repository, global: &Global) -> Self {
        Self {
            root: repository.root.clone(),
            hosts: repository.policy.registries.hosts.clone(),
            ..Self::without_policy(global)
        }
    }

    /// For commands at a site, where there is no release repository.
    pub(crate) fn without_policy(global: &Global) -> Self {
        Self {
            root: PathBuf::new(),
            hosts: BTreeMap::new(),
            credentials: CredentialFiles::from_environment(),
            retry: global.retry(),
        }
    }

    /// For a site: with the policy that is named, if one is.
    pub(crate) fn at_site(global: &Global) -> Result<Self, CliError> {
        Ok(match (&global.repo, &global.policy) {
            (Some(_), _) => Self::of(&Repository::open(global)?, global),
            (None, Some(_)) => Self::of(&Repository::none(global)?, global),
            (None, None) => Self::without_policy(global),
        })
    }

    /// With short timeouts and few retries, for interactive commands.
    pub(crate) fn interactive(self) -> Self {
        let (idle_timeout, connect_retry) = (Duration::from_secs(15), Duration::ZERO);
        let retry = RetryPolicy { max_attempts: 2, idle_timeout, connect_retry, ..self.retry };
        Self { retry, ..self }
    }

    pub(crate) fn client(&self, host: &str, plain_http: bool) -> Result<Client, CliError> {
        let known = self.hosts.get(host).cloned().unwrap_or_default();
        let options = ClientOptions {
            plain_http: plain_http || known.plain_http,
            ca_pem: known.ca.as_deref().map(|file| self.read("CA file", file)).transpose()?,
            client_cert_pem: self.identity(&known)?,
            logins: self.credentials.find(host).map_err(misconfigured)?,
            retry: self.retry,
            ..ClientOptions::default()
        };
        Ok(Client::new(host, options)?)
    }

    /// The client certificate and its key.
    fn identity(&self, host: &Host) -> Result<Option<Secret>, CliError> {
        let Some(certificate) = &host.certificate else { return Ok(None) };
        let mut pem = self.read("client certificate", certificate)?;
        if let Some(key) = &host.key {
            pem.push(b'\n');
            pem.extend(self.read("client key", key)?);
        }
        let bad =
            |_| CliError::usage(format!("the client certificate {certificate} is no PEM text"));
        Ok(Some(Secret::new(String::from_utf8(pem).map_err(bad)?)))
    }

    fn read(&self, what: &str, file: &str) -> Result<Vec<u8>, CliError> {
        let path = self.root.join(file);
        std::fs::read(&path).map_err(|error| {
            CliError::usage(format!("cannot read the {what} {}: {error}", path.display()))
        })
    }
}

/// What is wrong with the files that logins are read from is nothing that a registry did.
fn misconfigured(error: compass_registry::Error) -> CliError {
    let hint = "correct that file, take a helper that is not needed out of it, or name another file \
                with `REGISTRY_AUTH_FILE` (docs/registries.md)";
    CliError::from(error).as_config().hint(hint)
}
