//! Credentials as Docker users know them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::{Error, Repository};

/// How long a credential helper may take: it may ask a person to unlock a keyring.
const HELPER_PATIENCE: Duration = Duration::from_mins(1);

/// Bytes that a credential helper prints at most.
const MAX_ANSWER: u64 = 1 << 20;

/// A text that never appears in logs or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Who asks a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token that the token service gave out at login.
    IdentityToken(Secret),
}

/// The files in which `docker login`, `podman login` and `skopeo login` keep credentials.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles(Vec<PathBuf>);

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl CredentialFiles {
    /// These files, the first with an entry for a host wins. Files that are not there are empty.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().collect())
    }

    /// `REGISTRY_AUTH_FILE` alone where it is set; else `DOCKER_CONFIG/config.json` or
    /// `~/.docker/config.json`, then `$XDG_RUNTIME_DIR/containers/auth.json`.
    pub fn from_environment() -> Self {
        let variable =
            |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Self(vec![file]);
        }
        let docker =
            variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|d| d.join(".docker")));
        let podman =
            variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
        Self::new(docker.map(|directory| directory.join("config.json")).into_iter().chain(podman))
    }

    /// The credentials for a registry host. This blocks: a credential helper may take a minute.
    ///
    /// # Errors
    /// Where a file or a credential helper cannot be read, or a helper fails.
    pub fn find(&self, host: &str) -> Result<Option<Credentials>, Error> {
        for path in &self.0 {
            if let Some(found) = File::read(path)?.find(path, host)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The credentials for single projects or repositories of a registry host, as `podman login
    /// HOST/PROJECT` keeps them, with their paths.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn find_projects(&self, host: &str) -> Result<Vec<(Repository, Credentials)>, Error> {
        let mut found: Vec<(Repository, Credentials)> = Vec::new();
        for path in &self.0 {
            for (key, entry) in File::read(path)?.auths.unwrap_or_default() {
                let project = bare(&key).strip_prefix(host).and_then(|rest| rest.strip_prefix('/'));
                let project = project.and_then(|project| project.parse().ok());
                let (Some(project), Some(entry)) = (project, entry) else { continue };
                let known = found.iter().any(|(known, _)| *known == project);
                if let Some(credentials) = entry.credentials(path, &key)?.filter(|_| !known) {
                    found.push((project, credentials));
                }
            }
        }
        Ok(found)
    }
}

impl File {
    /// What is not there, and what holds nothing, is empty.
    fn read(path: &Path) -> Result<Self, Error> {
        match std::fs::read(path) {
            Ok(text) => Self::parse(path, text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
        }
    }

    fn parse(path: &Path, text: &[u8]) -> Result<Self, Error> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // The parser's message names a line, and may quote what stands there: a secret.
        serde_json::from_slice(text).map_err(|error| Error::BadContent {
            what: path.display().to_string(),
            reason: format!("line {} is not a Docker configuration", error.line()),
        })
    }

    fn find(&self, path: &Path, host: &str) -> Result<Option<Credentials>, Error> {
        // A helper without a name is none: so a host is taken out of the common store.
        let named = |helper: &&String| !helper.is_empty();
        let mut helpers = self.helpers.iter().flatten();
        let own_helper = helpers.find(|(key, _)| is_key_of(key, host)).map(|(_, helper)| helper);
        if let Some(helper) = own_helper.filter(named) {
            return ask_helper(helper, host);
        }
        let mut entries = self.auths.iter().flatten();
        let own = entries.find(|(key, _)| is_key_of(key, host));
        let own = own.and_then(|(_, entry)| entry.as_ref());
        if let Some(found) = own.map(|entry| entry.credentials(path, host)).transpose()?.flatten() {
            return Ok(Some(found));
        }
        let store = self.store.as_ref().filter(|_| own_helper.is_none()).filter(named);
        store.map_or(Ok(None), |helper| ask_helper(helper, host))
    }
}

/// Whether a login is kept under this key for a host. Docker Hub has several names.
fn is_key_of(key: &str, host: &str) -> bool {
    bare(key) == host || (is_hub(host) && is_hub(bare(key)))
}

fn is_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// `https://host/v2/` is a key for `host`.
fn bare(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare)
}

impl Entry {
    fn credentials(&self, path: &Path, host: &str) -> Result<Option<Credentials>, Error> {
        let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = present(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(Secret(token))));
        }
        if let (Some(username), Some(password)) = (present(&self.username), present(&self.password))
        {
            return Ok(Some(Credentials::Password { username, password: Secret(password) }));
        }
        let Some(auth) = present(&self.auth) else { return Ok(None) };
        let decoded =
            STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
        let (username, password) = pair.ok_or_else(|| Error::BadContent {
            what: path.display().to_string(),
            reason: format!("`auth` of {host} is not base64 of `user:password`"),
        })?;
        Ok(Some(Credentials::Password {
            username: username.to_owned(),
            password: Secret(password.to_owned()),
        }))
    }
}

/// Asks a Docker credential helper (`docker-credential-<name> get`).
fn ask_helper(name: &str, host: &str) -> Result<Option<Credentials>, Error> {
    let program = format!("docker-credential-{name}");
    let failed = |error| Error::io(format!("cannot run the credential helper `{program}`"), error);
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        let key = if is_hub(host) { "https://index.docker.io/v1/" } else { host };
        // One that does not listen says by its end what is wrong.
        let _ = stdin.write_all(key.as_bytes());
    }
    let (status, answer) = answer_of(child).map_err(failed)?;
    if !status.success() {
        // Helpers exit so where they know nothing of a host as well, and say it.
        let said = String::from_utf8_lossy(&answer);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let said = said.trim().lines().next().unwrap_or("it failed without a word").to_owned();
        return Err(failed(std::io::Error::other(said)));
    }
    let helped: Helped = serde_json::from_slice(&answer).map_err(|_| Error::BadContent {
        what: format!("the answer of `{program}`"),
        reason: "it is not the object that helpers print".to_owned(),
    })?;
    let secret = Secret(helped.secret);
    Ok(Some(match helped.username.as_str() {
        "<token>" => Credentials::IdentityToken(secret),
        _ => Credentials::Password { username: helped.username, password: secret },
    }))
}

/// What a helper prints, and how it ends. One that does not is ended.
fn answer_of(mut child: Child) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let stdout = child.stdout.take();
    let (give, given) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let read = stdout.map_or(Ok(0), |out| out.take(MAX_ANSWER).read_to_end(&mut answer));
        // Nobody listens any more where it took too long.
        let _ = give.send(read.map(|_| answer));
    });
    let until = Instant::now() + HELPER_PATIENCE;
    if let Ok(answer) = given.recv_timeout(HELPER_PATIENCE) {
        while Instant::now() < until {
            if let Some(status) = child.try_wait()? {
                return Ok((status, answer?));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    child.kill()?;
    child.wait()?;
    let reason = format!("it has not answered and ended within {} s", HELPER_PATIENCE.as_secs());
    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> (tempfile::TempDir, CredentialFiles) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        (directory, CredentialFiles::new([path]))
    }

    #[test]
    fn an_entry_is_found_by_host_however_its_key_is_written() {
        for key in ["reg.example:5000", "https://reg.example:5000/v1/", "http://reg.example:5000/"]
        {
            let (_keep, files) =
                files(&format!(r#"{{"auths": {{"{key}": {{"auth": "dTpwOnc="}}}}}}"#));
            let expected =
                Credentials::Password { username: "u".into(), password: Secret::new("p:w") };
            assert_eq!(files.find("reg.example:5000").unwrap(), Some(expected), "{key}");
            assert_eq!(files.find("reg.example").unwrap(), None, "{key}");
        }
    }

    #[test]
    fn docker_hub_is_known_by_the_name_of_its_first_server() {
        let (_keep, files) =
            files(r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}"#);
        assert!(files.find("docker.io").unwrap().is_some());
        assert_eq!(files.find("other.io").unwrap(), None);
    }

    #[test]
    fn a_login_for_a_project_is_for_that_project() {
        let (_keep, files) = files(
            r#"{"auths": {"a.b/team": {"auth": "dDp3"}, "a.b/team/web": {"auth": "dzp3"},
                "a.b.c/team": {"auth": "dTp3"}, "a.b": {}, "a.b/Oh no": {"auth": "dTp3"}}}"#,
        );
        assert_eq!(files.find("a.b").unwrap(), None);
        let found = files.find_projects("a.b").unwrap();
        let names: Vec<_> = found.iter().map(|(project, _)| project.as_str()).collect();
        assert_eq!(names, ["team", "team/web"]);
    }

    #[test]
    fn what_holds_nothing_is_no_error() {
        for text in [
            "",
            " \n",
            "\u{feff}{}",
            r#"{"auths": null, "credHelpers": null, "credsStore": null}"#,
            r#"{"auths": {"a.b": null}, "credsStore": ""}"#,
            r#"{"credHelpers": {"a.b": ""}, "credsStore": "there-is-no-such-helper"}"#,
        ] {
            let (_keep, files) = files(text);
            assert_eq!(files.find("a.b").unwrap(), None, "{text}");
            assert_eq!(files.find_projects("a.b").unwrap(), [], "{text}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_quotes_nothing() {
        for text in [r#"{"auths": {"a.b": {"auth": "%hunter2"}}}"#, r#"{"auths": "hunter2"}"#] {
            let (_keep, files) = files(text);
            let error = format!("{:?}", files.find("a.b").unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let credentials = Credentials::IdentityToken(Secret::new("hunter2"));
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
