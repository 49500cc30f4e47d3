//! Clients for the registries that a command speaks with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compass_manifest::policy::Host;
use compass_registry::client::{Client, ClientOptions, CredentialFiles};

use crate::failure::Failure;
use crate::repository::Repository;

/// How single hosts are spoken with, and who we are.
#[derive(Debug)]
pub(crate) struct Registries {
    root: PathBuf,
    hosts: BTreeMap<String, Host>,
    credentials: CredentialFiles,
}

impl Registries {
    pub(crate) fn of(repository: &Repository) -> Self {
        Self {
            root: repository.root.clone(),
            hosts: repository.policy.registries.hosts.clone(),
            credentials: CredentialFiles::from_environment(),
        }
    }

    /// For commands at a site, where there is no release repository.
    pub(crate) fn without_policy() -> Self {
        Self {
            root: PathBuf::new(),
            hosts: BTreeMap::new(),
            credentials: CredentialFiles::from_environment(),
        }
    }

    pub(crate) fn client(&self, host: &str, plain_http: bool) -> Result<Client, Failure> {
        let known = self.hosts.get(host).cloned().unwrap_or_default();
        let ca = known.ca.as_deref().map(|file| read_ca(&self.root.join(file))).transpose()?;
        let credentials = self.credentials.find(host)?;
        let plain_http = plain_http || known.plain_http;
        Ok(Client::new(host, ClientOptions { plain_http, ca, credentials })?)
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::usage(format!("cannot read the CA file {}: {error}", path.display()))
    })
}
