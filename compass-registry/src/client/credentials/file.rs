//! Parses one credentials file. Supports Docker's `config.json`, the `auth.json` of Podman, Skopeo
//! and Buildah, and Docker's old `~/.dockercfg`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Credentials;
use crate::{Error, Repository, Secret};

/// Base64 with or without padding, as tools write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of Docker Hub's login, in files and for helpers.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The content of a file.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct File {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, Option<String>>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `auths`, `credHelpers` and `credsStore`.
    Current,
    /// `~/.dockercfg`: entries by host, at the top level.
    Legacy,
}

/// A credential helper that a file names for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper<'f> {
    /// The helper of this host (`credHelpers`).
    ForHost(&'f str),
    /// The helper of all hosts (`credsStore`).
    Default(&'f str),
}

/// The host, project or repository that a key of `auths` names.
#[derive(Debug, PartialEq, Eq)]
enum Key<'k> {
    /// A host. The plain host has rank 0; URLs of it have higher ranks.
    Host { host: &'k str, rank: u8 },
    /// A project or repository of a host.
    Path { host: &'k str, path: &'k str },
}

impl File {
    /// Parses the text of a file; `name` is for messages. An empty text has no entries.
    pub(super) fn parse(name: &str, text: &[u8], format: Format) -> Result<Self, Error> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let bad = |reason: String| Error::InvalidContent { what: name.to_owned(), reason };
        // The parser's message may quote a secret, so only the line is shown.
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| bad(format!("line {} is not a Docker configuration", error.line())))?;
        Self::from_value(value, format).ok_or_else(|| {
            bad("some values have types that a Docker configuration does not allow".to_owned())
        })
    }

    /// Reads a value as Go does: field names are case-insensitive, and null means absent.
    fn from_value(mut value: Value, format: Format) -> Option<Self> {
        if format == Format::Current {
            rename_keys(&mut value, &["auths", "credHelpers", "credsStore"]);
        }
        let entries = match format {
            Format::Current => value.get_mut("auths"),
            Format::Legacy => Some(&mut value),
        };
        for entry in entries.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            let names = ["auth", "username", "password", "identitytoken", "registrytoken"];
            rename_keys(entry, &names);
        }
        match format {
            Format::Current => serde_json::from_value(value).ok(),
            Format::Legacy => {
                let auths = serde_json::from_value(value).ok()?;
                Some(Self { auths, ..Self::default() })
            }
        }
    }

    /// Returns the helper for a host. An empty name in `credHelpers` disables the default helper.
    pub(super) fn helper(&self, host: &str) -> Option<Helper<'_>> {
        let own =
            lowest_rank(self.helpers.iter().flatten(), |key| rank_for(key, host, Format::Current));
        let own = own.map(|helper| helper.as_deref().unwrap_or_default());
        match (own, self.store.as_deref()) {
            (Some(""), _) => None,
            (Some(helper), _) => Some(Helper::ForHost(helper)),
            (None, Some(store)) if !store.is_empty() => Some(Helper::Default(store)),
            _ => None,
        }
    }

    /// Returns the credentials of a host. A key that equals the host takes precedence over URLs of
    /// the host.
    pub(super) fn host_credentials(
        &self,
        name: &str,
        host: &str,
        format: Format,
    ) -> Result<Option<Credentials>, Error> {
        let entries = self.auths.iter().flatten();
        let entry =
            lowest_rank(entries, |key| rank_for(key, host, format)).and_then(Option::as_ref);
        entry.map_or(Ok(None), |entry| entry.credentials(name, host))
    }

    /// Returns the credentials of projects and repositories of a host, the longest path first.
    pub(super) fn path_credentials(
        &self,
        name: &str,
        host: &str,
    ) -> Result<Vec<(Repository, Credentials)>, Error> {
        let mut found: Vec<(Repository, Credentials)> = Vec::new();
        for (key, entry) in self.auths.iter().flatten() {
            let Key::Path { host: own, path } = Key::parse(key, Format::Current) else { continue };
            let path: Option<Repository> = path.parse().ok().filter(|_| is_same_host(own, host));
            let (Some(path), Some(entry)) = (path, entry) else { continue };
            let is_known = found.iter().any(|(known, _)| *known == path);
            if let Some(credentials) = entry.credentials(name, key)?.filter(|_| !is_known) {
                found.push((path, credentials));
            }
        }
        found.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_str().len()));
        Ok(found)
    }
}

/// Renames the known keys of an object to their exact case. An exact key takes precedence.
fn rename_keys(value: &mut Value, known: &[&str]) {
    let Some(object) = value.as_object_mut() else { return };
    for known in known.iter().filter(|known| !object.contains_key(**known)).collect::<Vec<_>>() {
        let other = object.keys().find(|key| key.eq_ignore_ascii_case(known)).cloned();
        if let Some(value) = other.and_then(|other| object.remove(&other)) {
            object.insert((*known).to_owned(), value);
        }
    }
}

/// Returns the value with the lowest rank.
fn lowest_rank<'e, V>(
    entries: impl Iterator<Item = (&'e String, &'e V)>,
    rank: impl Fn(&str) -> Option<u8>,
) -> Option<&'e V> {
    let ranked = entries.filter_map(|(key, value)| Some((rank(key)?, value)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, value)| value)
}

/// Returns the rank of a key, or `None` if the key does not name the host.
fn rank_for(key: &str, host: &str, format: Format) -> Option<u8> {
    match Key::parse(key, format) {
        Key::Host { host: own, rank } if own == host => Some(rank),
        // Docker Hub has several names.
        Key::Host { host: own, rank } if is_same_host(own, host) => Some(rank + 10),
        _ => None,
    }
}

impl<'k> Key<'k> {
    fn parse(key: &'k str, format: Format) -> Self {
        let https = key.strip_prefix("https://").map(|rest| (rest, 1));
        let http = key.strip_prefix("http://").map(|rest| (rest, 2));
        let (rest, rank) = https.or(http).unwrap_or((key, 0));
        let Some((host, path)) = rest.split_once('/') else {
            return Self::Host { host: rest, rank };
        };
        // `host/v1/` is an old API URL; `host/v1` without a scheme is a project.
        let is_api = match path {
            "" | "v1/" | "v2/" => true,
            "v1" | "v2" => rank > 0,
            _ => false,
        };
        match is_api || format == Format::Legacy {
            true => Self::Host { host, rank: rank + 3 },
            false => Self::Path { host, path: path.trim_end_matches('/') },
        }
    }
}

fn is_same_host(own: &str, host: &str) -> bool {
    own == host || (is_docker_hub(own) && is_docker_hub(host))
}

pub(super) fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

impl Entry {
    /// Returns the credentials of an entry. Docker writes empty entries for hosts with a helper.
    fn credentials(&self, name: &str, key: &str) -> Result<Option<Credentials>, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(Secret::new(token))));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
        }
        if let Some(auth) = given(&self.auth) {
            let bad = || Error::InvalidContent {
                what: name.to_owned(),
                reason: format!("`auth` of {key} is not base64 of `user:password`"),
            };
            return decode(&auth).map(Some).ok_or_else(bad);
        }
        Ok(match (given(&self.username), given(&self.password)) {
            (Some(username), Some(password)) => {
                Some(Credentials::Password { username, password: Secret::new(password) })
            }
            _ => None,
        })
    }
}

/// Decodes `user:password`, on one line or wrapped as `base64` prints it.
fn decode(auth: &str) -> Option<Credentials> {
    let joined: String = auth.split_ascii_whitespace().collect();
    let decoded = String::from_utf8(BASE64.decode(joined).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    // Old versions of Docker pad the password with NUL bytes.
    let password = Secret::new(password.trim_matches('\0').to_owned());
    Some(Credentials::Password { username: username.to_owned(), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_host_or_path() {
        let host = |host, rank| Key::Host { host, rank };
        for (key, expected) in [
            ("reg.a:5000", host("reg.a:5000", 0)),
            ("https://reg.a", host("reg.a", 1)),
            ("http://reg.a", host("reg.a", 2)),
            ("reg.a/", host("reg.a", 3)),
            ("reg.a/v1/", host("reg.a", 3)),
            ("https://reg.a/v1/", host("reg.a", 4)),
            ("https://reg.a/v2", host("reg.a", 4)),
            ("http://reg.a/v1", host("reg.a", 5)),
            ("reg.a/v2", Key::Path { host: "reg.a", path: "v2" }),
            ("reg.a/team/web", Key::Path { host: "reg.a", path: "team/web" }),
            ("https://reg.a/team/", Key::Path { host: "reg.a", path: "team" }),
            ("[::1]:5000", host("[::1]:5000", 0)),
        ] {
            assert_eq!(Key::parse(key, Format::Current), expected, "{key}");
        }
        assert_eq!(Key::parse("https://reg.a/x/y", Format::Legacy), host("reg.a", 4));
    }

    #[test]
    fn decode_accepts_any_base64_layout() {
        let password = |text: &str| {
            Some(Credentials::Password {
                username: "user".to_owned(),
                password: Secret::new(text.to_owned()),
            })
        };
        for (auth, expected) in [
            ("dXNlcjpwYXNz", password("pass")),
            ("dXNl\ncjpw\r\nYXNz\n", password("pass")),
            ("dXNlcjpwYTpzcw==", password("pa:ss")),
            ("dXNlcjpwYTpzcw", password("pa:ss")),
            ("dXNlcjpwYXNzAAA=", password("pass")),
            ("dXNlcjo=", password("")),
            ("dXNlcg==", None),
            ("%%%", None),
        ] {
            assert_eq!(decode(auth), expected, "{auth:?}");
        }
    }
}
