//! The order in which credential files are read.

use std::ffi::OsString;
use std::path::Path;

use compass_registry::Secret;
use compass_registry::client::{CredentialFiles, CredentialProvider as _, Credentials};

use super::files::FULL;
use super::{Files, login, one};

/// `TestGetPathToAuth` of containers/image, `TestPodmanConfig` of go-containerregistry,
/// containers-auth.json(5).
///
/// Unlike with crane, Podman's files take precedence over Docker's, as the manual specifies.
#[test]
fn files_are_read_in_order() {
    let text = |user: &str| {
        let user = format!(r#""username": "{user}", "password": "pass""#);
        format!(r#"{{"auths": {{"reg.a": {{{user}}}}}}}"#)
    };
    let all = [
        ("named.json", "named"),
        ("run/containers/auth.json", "runtime"),
        ("xdg/containers/auth.json", "config"),
        ("home/.config/containers/auth.json", "home-config"),
        ("docker/config.json", "docker"),
        ("home/.docker/config.json", "home-docker"),
    ];
    let variables = [
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "run"),
        ("XDG_CONFIG_HOME", "xdg"),
        ("DOCKER_CONFIG", "docker"),
    ];
    let found = |files: &[&str], variables: &[(&str, &str)]| {
        let texts: Vec<_> = all.iter().map(|(name, user)| (*name, text(user))).collect();
        let present: Vec<_> = texts
            .iter()
            .filter(|(name, _)| files.contains(name))
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let files = Files::new(&present);
        let logins = files.environment(variables).find("reg.a").unwrap();
        login(&logins, "x").map(|login| login.split(':').next().unwrap().to_owned())
    };
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    for (from, user) in [(1, "runtime"), (2, "config"), (4, "docker")] {
        assert_eq!(found(&names[from..], &variables).as_deref(), Some(user));
    }
    // If a variable moves a directory, the default one is not read.
    assert_eq!(found(&names[5..], &variables), None);
    assert_eq!(found(&names[3..4], &variables), None);
    let home = [("HOME", "home")];
    assert_eq!(found(&names, &home).as_deref(), Some("home-config"));
    assert_eq!(found(&names[5..], &home).as_deref(), Some("home-docker"));
    let named = [&variables[..], &[("REGISTRY_AUTH_FILE", "named.json")]].concat();
    assert_eq!(found(&names, &named).as_deref(), Some("named"));
}

#[test]
fn earlier_file_takes_precedence() {
    let files = Files::new(&[
        ("one.json", r#"{"auths": {"reg.a/team": {"auth": "Zm9vOmJhcg=="}}}"#),
        ("two.json", r#"{"auths": {"reg.a": {"auth": "YmF6OnF1dXg="}}}"#),
        ("three.json", r#"{"auths": {"reg.a/team/web": {"auth": "YmFyOmJheg=="}}}"#),
    ]);
    let names = ["one.json", "two.json", "three.json"].map(|name| files.path(name));
    let logins = CredentialFiles::new(names.clone()).find("reg.a").unwrap();
    assert_eq!(login(&logins, "team/web").as_deref(), Some("foo:bar"));
    assert_eq!(login(&logins, "other").as_deref(), Some("baz:quux"));
    assert_eq!(logins[0].source, names[0].display().to_string());
    let later = CredentialFiles::new(names.into_iter().rev()).find("reg.a").unwrap();
    assert_eq!(login(&later, "team/web").as_deref(), Some("bar:baz"));
}

/// Reads the environment with these variables; paths need not exist.
fn variables(values: &[(&str, &str)]) -> CredentialFiles {
    let variable = |name: &str| {
        values.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value))
    };
    CredentialFiles::from_variables(variable, 4_000_042)
}

/// docker/cli, `TestGetAllCredentialsFromEnvironment`.
#[test]
fn docker_auth_config_precedes_files() {
    let inline = r#"{"auths": {"reg.a": {"auth": "Zm9vOmJhcg=="}}}"#;
    let files = Files::new(&[(".docker/config.json", FULL)]);
    let home = files.path(".").display().to_string();
    let found = variables(&[("DOCKER_AUTH_CONFIG", inline), ("HOME", &home)]);
    let logins = found.find("reg.a").unwrap();
    assert_eq!(
        (login(&logins, "x").as_deref(), logins[0].source.as_str()),
        (Some("foo:bar"), "DOCKER_AUTH_CONFIG")
    );
    assert_eq!(login(&found.find("docker.io").unwrap(), "x").as_deref(), Some("docker:io"));
    // Docker rejects `username` and `password` in `DOCKER_AUTH_CONFIG`; here, they are accepted.
    // Docker ignores an invalid value; here, it is an error.
    let plain = r#"{"auths": {"reg.a": {"username": "user", "password": "pass"}}}"#;
    let logins = variables(&[("DOCKER_AUTH_CONFIG", plain)]).find("reg.a").unwrap();
    assert_eq!(login(&logins, "x").as_deref(), Some("user:pass"));
    let error = variables(&[("DOCKER_AUTH_CONFIG", "{")]).find("reg.a").unwrap_err();
    assert!(error.to_string().contains("DOCKER_AUTH_CONFIG"), "{error}");
    assert_eq!(variables(&[("DOCKER_AUTH_CONFIG", "")]).find("reg.a").unwrap(), []);
}

#[test]
fn missing_named_file_is_error() {
    let missing = "/nonexistent/auth.json";
    let error = variables(&[("REGISTRY_AUTH_FILE", missing)]).find("reg.a").unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains(missing) && said.contains("REGISTRY_AUTH_FILE"), "{said}");
    // Docker creates the directory in DOCKER_CONFIG at the first login.
    for name in ["HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        assert_eq!(variables(&[(name, "/nonexistent")]).find("reg.a").unwrap(), [], "{name}");
    }
    // go-containerregistry, `TestConfigFileIsADir`: a missing optional secret.
    let files = Files::new(&[]);
    std::fs::create_dir_all(files.path("config.json")).unwrap();
    let found = files.environment(&[("DOCKER_CONFIG", ".")]);
    assert_eq!(found.find("reg.a").unwrap(), []);
}

#[test]
fn variable_with_path_is_explained() {
    let files = Files::new(&[("auth.json", "{}")]);
    let file = files.path("auth.json").display().to_string();
    let error = variables(&[("DOCKER_AUTH_CONFIG", &file)]).find("reg.a").unwrap_err();
    assert!(error.to_string().contains("use REGISTRY_AUTH_FILE to name a file"), "{error}");
}

#[test]
fn registry_token_counts_first() {
    let (_files, found) = one(
        r#"{"auths": {"reg.a": {"registrytoken": "t", "identitytoken": "i", "auth": "Zm9vOmJhcg=="}}}"#,
    );
    let logins = found.find("reg.a").unwrap();
    assert_eq!(logins[0].credentials, Credentials::RegistryToken(Secret::new("t")));
}

#[tokio::test]
async fn provider_reads_files_once() {
    let (files, found) = one(FULL);
    let resolve = async |host| found.resolve(host, None).await.unwrap().map(|login| login.source);
    let file = files.path("config.json");
    assert_eq!(resolve("example.org").await, Some(file.display().to_string()));
    std::fs::remove_file(file).unwrap();
    assert!(resolve("example.org").await.is_some());
    assert_eq!(resolve("localhost").await, None, "the file is gone");
}

#[test]
fn missing_helper_names_its_file() {
    for (key, text) in [
        ("credsStore", r#"{"credsStore": "there-is-no-such-helper"}"#),
        ("credHelpers", r#"{"credHelpers": {"reg.a": "there-is-no-such-helper"}}"#),
    ] {
        let (files, found) = one(text);
        let error = found.find("reg.a").unwrap_err();
        let said = error.to_string();
        let file: &Path = &files.path("config.json");
        assert!(said.contains("docker-credential-there-is-no-such-helper"), "{said}");
        assert!(said.contains(key) && said.contains(&file.display().to_string()), "{said}");
    }
    // The file names a helper for another host only.
    let (_files, found) = one(r#"{"credHelpers": {"other.a": "there-is-no-such-helper"}}"#);
    assert_eq!(found.find("reg.a").unwrap(), []);
    // A login in the file takes precedence over the default helper.
    let (_files, found) = one(
        r#"{"credsStore": "there-is-no-such-helper", "auths": {"reg.a": {"auth": "Zm9vOmJhcg=="}}}"#,
    );
    assert_eq!(login(&found.find("reg.a").unwrap(), "x").as_deref(), Some("foo:bar"));
}
