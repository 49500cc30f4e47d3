//! Credential files from the tests of other tools, and the order in which files are read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod order;

use compass_registry::Secret;
use compass_registry::client::{CredentialFiles, Credentials, Login};
use std::ffi::OsString;
use std::path::PathBuf;

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
    let fits = |login: &&Login| match &login.repository {
        None => true,
        Some(own) => {
            let rest = path.strip_prefix(own.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    };
    let text = |credentials: &Credentials| match credentials {
        Credentials::Password { username, password } if *password == Secret::new("") => {
            format!("{username}:")
        }
        // Secrets cannot be read, so compare with the password that these tests use for the user.
        Credentials::Password { username, password } => {
            let known = ["org", "io", "docker.io", "example", "host", "host-5000", "host-5001"];
            let more = ["30.45-5000", "30.45", "busybox", "other", "level", "io-legacy"];
            let rest = ["host-legacy", "hello", "pass", "bar", "quux", "docker", "baz"];
            let known = known.iter().chain(&more).chain(&rest);
            let word = known.into_iter().find(|word| *password == Secret::new(**word));
            format!("{username}:{}", word.unwrap_or(&"?"))
        }
        Credentials::IdentityToken(_) => "identity token".to_owned(),
        other => format!("{other:?}"),
    };
    logins.iter().find(fits).map(|login| text(&login.credentials))
}
