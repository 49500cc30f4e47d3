//! Credential files from the tests of other tools, and the order in which files are read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod order;

use std::ffi::OsString;
use std::path::PathBuf;

use compass_registry::client::{CredentialFiles, CredentialProvider as _, Credentials, Login};
use futures_util::FutureExt as _;

/// A temporary directory of files.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Reads the environment with variables whose values are paths in the directory. User 42 has no
    /// file in `/run`.
    fn environment(&self, variables: &[(&str, &str)]) -> CredentialFiles {
        let values: Vec<(String, OsString)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), self.path(value).into_os_string()))
            .collect();
        let variable =
            |name: &str| values.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        CredentialFiles::from_variables(variable, 4_000_042)
    }
}

fn one(text: &str) -> (Files, CredentialFiles) {
    let files = Files::new(&[("config.json", text)]);
    let found = CredentialFiles::new([files.path("config.json")]);
    (files, found)
}

/// Returns user and password of the login for a repository, or for the host (`""`).
fn login(logins: &[Login], path: &str) -> Option<String> {
    let (chain, repository) = (logins.to_vec(), path.parse().ok());
    let found = chain.resolve("", repository.as_ref()).now_or_never().unwrap().unwrap();
    found.map(|login| match login.credentials {
        Credentials::Password { username, password } => format!("{username}:{}", password.reveal()),
        Credentials::IdentityToken(_) => "identity token".to_owned(),
        other => format!("{other:?}"),
    })
}
