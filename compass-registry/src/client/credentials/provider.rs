//! The trait for sources of credentials.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Credentials, Login};
use crate::{Error, Repository};

/// Supplies the credentials of a client, like `Keychain` of go-containerregistry.
///
/// Implemented by [`CredentialFiles`](super::CredentialFiles) for the files and helpers of other
/// tools, by [`Credentials`] and [`Login`] for fixed credentials, and by `Vec` for a chain, in which
/// the first provider with a login for the request wins.
///
/// ```
/// use std::sync::Arc;
///
/// use compass_registry::client::{
///     Client, ClientOptions, CredentialFiles, CredentialProvider, Credentials, Login,
/// };
/// use compass_registry::{Error, Repository, Secret};
///
/// /// Reads the password of one registry from an environment variable.
/// #[derive(Debug)]
/// struct FromEnvironment;
///
/// #[async_trait::async_trait]
/// impl CredentialProvider for FromEnvironment {
///     async fn resolve(
///         &self,
///         host: &str,
///         _repository: Option<&Repository>,
///     ) -> Result<Option<Login>, Error> {
///         let Some(password) = std::env::var("RELEASE_PASSWORD").ok() else { return Ok(None) };
///         let (username, password) = ("release".to_owned(), Secret::new(password));
///         let credentials = Credentials::Password { username, password };
///         let is_own = host == "registry.example";
///         Ok(is_own.then(|| Login::new(None, credentials, "RELEASE_PASSWORD")))
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// // The files of other tools are read if the variable is not set.
/// let chain: Vec<Arc<dyn CredentialProvider>> =
///     vec![Arc::new(FromEnvironment), Arc::new(CredentialFiles::from_environment())];
/// let client = Client::new("registry.example", ClientOptions::default().credentials(chain))?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait CredentialProvider: fmt::Debug + Send + Sync {
    /// Returns the login for a repository of a registry, or for the registry itself (`None`).
    ///
    /// The result is `None` if this provider has no login; the request is then sent without one.
    ///
    /// The client calls this method before each request, possibly several times at once. A provider
    /// that fetches credentials caches them, and renews them before they expire.
    ///
    /// # Errors
    /// If the credentials cannot be read. The request fails with this error, and is retried if it
    /// [is transient](Error::is_transient).
    async fn resolve(
        &self,
        host: &str,
        repository: Option<&Repository>,
    ) -> Result<Option<Login>, Error>;
}

/// Applies to every request.
#[async_trait]
impl CredentialProvider for Credentials {
    async fn resolve(&self, _: &str, _: Option<&Repository>) -> Result<Option<Login>, Error> {
        Ok(Some(Login::new(None, self.clone(), "the options")))
    }
}

/// Applies to requests to [`Self::repository`], and to those below it.
#[async_trait]
impl CredentialProvider for Login {
    async fn resolve(
        &self,
        _: &str,
        repository: Option<&Repository>,
    ) -> Result<Option<Login>, Error> {
        Ok(self.applies_to(repository).then(|| self.clone()))
    }
}

/// Asks the providers in order.
#[async_trait]
impl<P: CredentialProvider> CredentialProvider for Vec<P> {
    async fn resolve(
        &self,
        host: &str,
        repository: Option<&Repository>,
    ) -> Result<Option<Login>, Error> {
        for provider in self {
            if let Some(login) = provider.resolve(host, repository).await? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl<P: CredentialProvider + ?Sized> CredentialProvider for Arc<P> {
    async fn resolve(
        &self,
        host: &str,
        repository: Option<&Repository>,
    ) -> Result<Option<Login>, Error> {
        (**self).resolve(host, repository).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[derive(Debug)]
    struct Failing;

    #[async_trait]
    impl CredentialProvider for Failing {
        async fn resolve(&self, _: &str, _: Option<&Repository>) -> Result<Option<Login>, Error> {
            Err(Error::NotFound { what: "the vault".to_owned() })
        }
    }

    #[tokio::test]
    async fn chain_first_login_wins() {
        let token = |text: &str| Credentials::IdentityToken(Secret::new(text));
        let team = Login::new(Some("team".parse().unwrap()), token("t"), "/auth.json");
        let chain: Vec<Arc<dyn CredentialProvider>> =
            vec![Arc::new(team), Arc::new(token("fixed")), Arc::new(Failing)];
        let resolved = async |repository: Option<&str>| {
            let repository = repository.map(|name| name.parse().unwrap());
            chain.resolve("a.b", repository.as_ref()).await.unwrap().unwrap().credentials
        };
        assert_eq!(resolved(Some("team/web")).await, token("t"));
        assert_eq!(resolved(Some("other")).await, token("fixed"));
        assert_eq!(resolved(None).await, token("fixed"));
    }

    #[tokio::test]
    async fn chain_error_is_returned() {
        let chain: Vec<Arc<dyn CredentialProvider>> =
            vec![Arc::new(Vec::<Login>::new()), Arc::new(Failing)];
        assert!(chain.resolve("a.b", None).await.is_err());
    }
}
