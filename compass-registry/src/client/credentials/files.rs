//! Finds the credential files to read for a registry, and their order.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::file::{File, Format, Helper};
use super::{CredentialProvider, Login, credential_helper};
use crate::{Error, Repository};

/// The files in which `docker login`, `podman login` and `skopeo login` store credentials. They are
/// in order of precedence: the first login that applies to a repository is used.
///
/// As a [`CredentialProvider`], it reads the files at the first request to each host.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    sources: Arc<[Source]>,
    /// The logins of the hosts that were asked for.
    found: Arc<Mutex<HashMap<String, Vec<Login>>>>,
}

#[derive(Debug, Clone)]
enum Source {
    /// A file that may be missing.
    File(PathBuf, Format),
    /// The file in `REGISTRY_AUTH_FILE`, which must exist.
    Named(PathBuf),
    /// The content of an environment variable.
    Variable(&'static str, String),
}

/// The directory with a directory for each user, for sessions without `XDG_RUNTIME_DIR`.
const RUNTIME_DIRECTORY: &str = "/run/containers";

/// The variable that names the only file to read.
const AUTH_FILE_VARIABLE: &str = "REGISTRY_AUTH_FILE";

/// The variable that contains credentials.
const AUTH_CONFIG_VARIABLE: &str = "DOCKER_AUTH_CONFIG";

impl CredentialFiles {
    /// Reads these files. Missing files count as empty.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self::from_sources(files.into_iter().map(|file| Source::File(file, Format::Current)))
    }

    /// Reads the files of `containers-auth.json(5)` and of Docker.
    ///
    /// `REGISTRY_AUTH_FILE` names a file that is read instead of all others. `DOCKER_AUTH_CONFIG`
    /// contains credentials that take effect after that file, and before all other files.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name), rustix::process::getuid().as_raw())
    }

    /// Does the same as [`CredentialFiles::from_environment`], with the given variables and user
    /// ID.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let directory = |name: &str| variable(name).map(PathBuf::from);
        let inline = variable(AUTH_CONFIG_VARIABLE).map(|text| text.to_string_lossy().into_owned());
        let inline = inline.map(|text| Source::Variable(AUTH_CONFIG_VARIABLE, text));
        if let Some(file) = directory(AUTH_FILE_VARIABLE) {
            return Self::from_sources([Source::Named(file)].into_iter().chain(inline));
        }
        let home = directory("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let runtime = match directory("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("containers/auth.json"),
            None => PathBuf::from(format!("{RUNTIME_DIRECTORY}/{user}/auth.json")),
        };
        let config = directory("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let docker = directory("DOCKER_CONFIG").or_else(|| below_home(".docker"));
        let current = [
            Some(runtime),
            config.map(|config| config.join("containers/auth.json")),
            docker.map(|docker| docker.join("config.json")),
        ];
        let current = current.into_iter().flatten().map(|file| Source::File(file, Format::Current));
        let legacy = below_home(".dockercfg").map(|file| Source::File(file, Format::Legacy));
        Self::from_sources(inline.into_iter().chain(current).chain(legacy))
    }

    fn from_sources(sources: impl Iterator<Item = Source>) -> Self {
        Self { sources: sources.collect(), found: Arc::default() }
    }

    /// Finds the logins for a registry host, in order of precedence. The result includes logins for
    /// single projects or repositories (`podman login HOST/PROJECT`).
    ///
    /// Blocks: a credential helper may take a minute.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, if the file in `REGISTRY_AUTH_FILE` does not exist,
    /// or if a credential helper fails; [`Error::InvalidContent`] if a file is malformed.
    pub fn find(&self, host: &str) -> Result<Vec<Login>, Error> {
        let mut logins = Vec::new();
        for source in &*self.sources {
            let (name, format) = (source.name(), source.format());
            let file = source.read()?;
            if format == Format::Current {
                for (path, credentials) in file.path_credentials(&name, host)? {
                    logins.push(Login::new(Some(path), credentials, &*name));
                }
            }
            if let Some(login) = host_login(&file, &name, format, host)? {
                // This login applies to every repository, so later files are not needed.
                logins.push(login);
                break;
            }
        }
        Ok(logins)
    }
}

#[async_trait]
impl CredentialProvider for CredentialFiles {
    async fn resolve(
        &self,
        host: &str,
        repository: Option<&Repository>,
    ) -> Result<Option<Login>, Error> {
        // Holding the lock while a helper runs prevents several prompts of it.
        let mut found = self.found.lock().await;
        if !found.contains_key(host) {
            let (files, name) = (self.clone(), host.to_owned());
            let logins = tokio::task::spawn_blocking(move || files.find(&name)).await;
            let logins = logins
                .map_err(|error| Error::io("cannot read the credential files", error.into()))?;
            found.insert(host.to_owned(), logins?);
        }
        match found.get(host) {
            Some(logins) => logins.resolve(host, repository).await,
            None => Ok(None),
        }
    }
}

/// Returns the login that one file has for a host.
fn host_login(file: &File, name: &str, format: Format, host: &str) -> Result<Option<Login>, Error> {
    let helper = file.helper(host);
    if let Some(Helper::ForHost(helper)) = helper {
        return run_helper(helper, "credHelpers", name, host);
    }
    if let Some(credentials) = file.host_credentials(name, host, format)? {
        return Ok(Some(Login::new(None, credentials, name)));
    }
    match helper {
        Some(Helper::Default(helper)) => run_helper(helper, "credsStore", name, host),
        _ => Ok(None),
    }
}

/// Runs the helper that a key of a file names.
fn run_helper(helper: &str, key: &str, file: &str, host: &str) -> Result<Option<Login>, Error> {
    let program = credential_helper::program_name(helper);
    let credentials = credential_helper::get(helper, host).map_err(|error| {
        let what = format!(
            "cannot run the credential helper `{program}` for {host}, which `{key}` in {file} names"
        );
        Error::io(what, error)
    })?;
    let source = format!("the credential helper {program}, which {file} names");
    Ok(credentials.map(|credentials| Login::new(None, credentials, source)))
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path, _) | Self::Named(path) => path.display().to_string(),
            Self::Variable(name, _) => (*name).to_owned(),
        }
    }

    fn format(&self) -> Format {
        match self {
            Self::File(_, format) => *format,
            Self::Named(_) | Self::Variable(..) => Format::Current,
        }
    }

    fn read(&self) -> Result<File, Error> {
        match self {
            Self::Variable(name, text) => {
                let file = File::parse(name, text.as_bytes(), Format::Current);
                file.map_err(|error| match Path::new(text.trim()).is_file() {
                    true => Error::InvalidContent {
                        what: (*name).to_owned(),
                        reason: format!(
                            "it contains a path instead of JSON: use {AUTH_FILE_VARIABLE} to name a file"
                        ),
                    },
                    false => error,
                })
            }
            Self::Named(path) => {
                let what =
                    || format!("cannot read {}, which {AUTH_FILE_VARIABLE} names", path.display());
                let text = std::fs::read(path).map_err(|error| Error::io(what(), error))?;
                File::parse(&path.display().to_string(), &text, Format::Current)
            }
            Self::File(path, format) => match std::fs::read(path) {
                Ok(text) => File::parse(&path.display().to_string(), &text, *format),
                Err(error) if is_missing(path, &error) => Ok(File::default()),
                Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
            },
        }
    }
}

/// Whether the file is missing. An optional Kubernetes secret leaves a directory instead.
fn is_missing(path: &Path, error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => true,
        // Podman creates the directory for root only. Other users then have no file in it.
        ErrorKind::PermissionDenied if path.starts_with(RUNTIME_DIRECTORY) => is_out_of_reach(path),
        _ => path.is_dir(),
    }
}

/// Whether the user must not traverse the directory that contains the directory of a file.
fn is_out_of_reach(file: &Path) -> bool {
    use std::io::ErrorKind::PermissionDenied;
    let found = file.parent().map(std::fs::symlink_metadata);
    found.is_some_and(|found| found.is_err_and(|error| error.kind() == PermissionDenied))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn unreadable_file_is_not_out_of_reach() {
        if rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: root may read every file");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().join("containers");
        let file = runtime.join("1000/auth.json");
        std::fs::create_dir_all(runtime.join("1000")).unwrap();
        std::fs::write(&file, "{}").unwrap();
        let set = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
        set(&file, 0o000).unwrap();
        // The directory may be traversed, and not listed.
        set(&runtime, 0o111).unwrap();
        assert!(!is_out_of_reach(&file));
        set(&runtime, 0o000).unwrap();
        assert!(is_out_of_reach(&file));
        set(&runtime, 0o700).unwrap();
    }
}
