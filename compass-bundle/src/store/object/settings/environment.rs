//! The environment variables and configuration files that settings come from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The maximum number of bytes that are read from a configuration file.
const MAX_CONFIG: u64 = 1 << 20;

/// The environment variables and the home directory that configure a store.
#[derive(Clone, Default)]
pub struct StoreEnvironment {
    variables: HashMap<String, String>,
    home: Option<PathBuf>,
}

impl StoreEnvironment {
    /// An environment with these variables and without a home directory.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect(), home: None }
    }

    /// The environment of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables = std::env::vars_os().filter_map(text).collect();
        Self { variables, home: std::env::home_dir() }
    }

    /// Sets the home directory, which contains `.ossutilconfig` and `.aws`.
    #[must_use]
    pub fn with_home(self, home: impl Into<PathBuf>) -> Self {
        Self { home: Some(home.into()), ..self }
    }

    /// The value of the first of these variables that is set and not empty.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        let mut values = names.iter().filter_map(|name| self.variables.get(*name));
        values.find(|value| !value.trim().is_empty()).map(|value| value.trim())
    }

    pub(crate) fn variables(&self) -> &HashMap<String, String> {
        &self.variables
    }

    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The path in a variable, or the default below the home directory.
    fn path(&self, variable: &str, default: &str) -> Option<PathBuf> {
        match (self.first(&[variable]), &self.home) {
            (Some(path), Some(home)) if path.starts_with("~/") => Some(home.join(&path[2..])),
            (Some(path), _) => Some(path.into()),
            (None, home) => Some(home.as_ref()?.join(default)),
        }
    }
}

impl std::fmt::Debug for StoreEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The values contain secrets.
        f.debug_struct("StoreEnvironment").field("home", &self.home).finish_non_exhaustive()
    }
}

/// The texts of the configuration files. A file that does not exist is empty.
#[derive(Clone, Default)]
pub(in super::super) struct ConfigFiles {
    /// `~/.ossutilconfig`, or the file in `OSSUTIL_CONFIG_FILE`.
    pub(super) ossutil: String,
    /// `~/.aws/config`, or the file in `AWS_CONFIG_FILE`.
    pub(super) aws: String,
}

impl ConfigFiles {
    /// Reads the files. Blocking. Files that cannot be read are skipped and logged.
    pub(in super::super) fn read(environment: &StoreEnvironment) -> Self {
        let read = |path: Option<PathBuf>| path.map(|path| text_of(&path)).unwrap_or_default();
        Self {
            ossutil: read(environment.path("OSSUTIL_CONFIG_FILE", ".ossutilconfig")),
            aws: read(environment.path("AWS_CONFIG_FILE", ".aws/config")),
        }
    }
}

fn text_of(path: &Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_CONFIG).read_to_end(&mut bytes).map(drop));
    if let Err(error) = read
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "cannot read the configuration file");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
