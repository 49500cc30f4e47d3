//! Credentials, and their sources: files and helpers of other tools, and providers of embedders.

mod credential_helper;
mod file;
mod files;
mod provider;

use std::fmt;

use crate::{Repository, Secret};

pub use files::CredentialFiles;
pub use provider::CredentialProvider;

/// Credentials of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token from the token service.
    IdentityToken(Secret),
    /// A token for the registry itself, sent without a token service.
    RegistryToken(Secret),
}

/// Credentials for a registry, or for one of its projects or repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The project or repository; `None` for the whole registry.
    pub repository: Option<Repository>,
    /// The credentials.
    pub credentials: Credentials,
    /// The file or helper that they came from, for messages.
    pub source: String,
}

impl Credentials {
    /// Returns the secret part.
    pub(crate) fn secret(&self) -> &Secret {
        match self {
            Self::Password { password, .. } => password,
            Self::IdentityToken(token) | Self::RegistryToken(token) => token,
        }
    }

    /// Describes the user or the kind of token, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Password { username, .. } => format!("as `{username}`"),
            Self::IdentityToken(_) => "with an identity token".to_owned(),
            Self::RegistryToken(_) => "with a registry token".to_owned(),
        }
    }
}

impl Login {
    /// Creates a login that came from `source`.
    pub fn new(
        repository: Option<Repository>,
        credentials: Credentials,
        source: impl Into<String>,
    ) -> Self {
        Self { repository, credentials, source: source.into() }
    }

    /// Whether the login applies to a repository, or to the registry itself (`None`).
    fn applies_to(&self, repository: Option<&Repository>) -> bool {
        let Some(own) = &self.repository else { return true };
        let rest = repository.and_then(|path| path.as_str().strip_prefix(own.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {})", self.credentials.describe(), self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_debug_hides_secrets() {
        for credentials in [
            Credentials::IdentityToken(Secret::new("hunter2")),
            Credentials::RegistryToken(Secret::new("hunter2")),
        ] {
            let login = Login::new(None, credentials, "/auth.json");
            assert!(!format!("{login:?} {login}").contains("hunter2"));
        }
    }

    #[test]
    fn login_applies_below_its_path() {
        let path = |text: &str| Some(text.parse::<Repository>().unwrap());
        let login = |repository: Option<Repository>| {
            Login::new(repository, Credentials::IdentityToken(Secret::new("x")), "x")
        };
        let team = login(path("team"));
        for (repository, applies) in [
            (path("team"), true),
            (path("team/web"), true),
            (path("teams/web"), false),
            (None, false),
        ] {
            assert_eq!(team.applies_to(repository.as_ref()), applies, "{repository:?}");
            assert!(login(None).applies_to(repository.as_ref()));
        }
    }
}
