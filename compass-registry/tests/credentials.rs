//! Credential files from the tests of other tools, and the order in which files are read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use compass_registry::client::{CredentialFiles, Credentials, Login, Secret};

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

const EXAMPLE: &str = r#"{"auths": {"example.org": {"auth": "ZXhhbXBsZTpvcmc="}}}"#;

const FULL: &str = r#"{"auths": {
    "example.org": {"auth": "ZXhhbXBsZTpvcmc="},
    "index.docker.io": {"auth": "aW5kZXg6ZG9ja2VyLmlv"},
    "docker.io": {"auth": "ZG9ja2VyOmlv"},
    "localhost": {"auth": "bG9jYWw6aG9zdA=="},
    "localhost:5000": {"auth": "bG9jYWw6aG9zdC01MDAw"},
    "10.10.30.45": {"auth": "MTAuMTA6MzAuNDU="},
    "10.10.30.45:5000": {"auth": "MTAuMTA6MzAuNDUtNTAwMA=="},
    "https://normalize.example.org/v1": {"auth": "bm9ybWFsaXplOmV4YW1wbGU="}}}"#;

const ABNORMAL: &str = r#"{"auths": {
    "example.org": {"auth": "ZXhhbXBsZTpvcmc="},
    "https://index.docker.io/v1": {"auth": "aW5kZXg6ZG9ja2VyLmlv"},
    "https://127.0.0.1:5000": {"auth": "MTI3LjA6MC4xLTUwMDA="},
    "http://localhost": {"auth": "bG9jYWw6aG9zdA=="},
    "https://localhost:5001": {"auth": "bG9jYWw6aG9zdC01MDAx"},
    "localhost:5000": {"auth": "bG9jYWw6aG9zdC01MDAw"}}}"#;

const PATHS: &str = r#"{"auths": {
    "example.org/repo": {"auth": "ZXhhbXBsZTpvcmc="},
    "example.org": {"auth": "bG9jYWw6aG9zdA=="},
    "docker.io/vendor": {"auth": "Zmlyc3Q6bGV2ZWw="},
    "docker.io": {"auth": "dG9wOmxldmVs"},
    "docker.io/library/busybox": {"auth": "bGlicmFyeTpidXN5Ym94"},
    "docker.io/library": {"auth": "bGlicmFyeTpvdGhlcg=="}}}"#;

/// `TestGetAuth` of containers/image.
#[test]
fn auth_json_matches_skopeo() {
    let identity = r#"{"auths": {"example.org": {
        "auth": "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==",
        "identitytoken": "some very long identity token"}}}"#;
    for (text, host, path, expected) in [
        (EXAMPLE, "example.org", "x", Some("example:org")),
        (EXAMPLE, "registry.example.org", "x", None),
        (FULL, "docker.io", "x", Some("docker:io")),
        (ABNORMAL, "docker.io", "x", Some("index:docker.io")),
        (FULL, "normalize.example.org", "x", Some("normalize:example")),
        (FULL, "localhost", "x", Some("local:host")),
        (FULL, "10.10.30.45:5000", "x", Some("10.10:30.45-5000")),
        (ABNORMAL, "localhost:5000", "x", Some("local:host-5000")),
        (ABNORMAL, "localhost:5001", "x", Some("local:host-5001")),
        (ABNORMAL, "localhost", "x", Some("local:host")),
        (identity, "example.org", "x", Some("identity token")),
        ("{}", "localhost:5000", "x", None),
        (PATHS, "example.org", "repo/image", Some("example:org")),
        (PATHS, "example.org", "repo", Some("example:org")),
        (PATHS, "example.org", "image", Some("local:host")),
        (PATHS, "example.org", "repository", Some("local:host")),
        (PATHS, "docker.io", "library/busybox", Some("library:busybox")),
        (PATHS, "docker.io", "library/notbusybox", Some("library:other")),
        (PATHS, "docker.io", "vendor/product", Some("first:level")),
        (PATHS, "docker.io", "vendor", Some("first:level")),
        (PATHS, "docker.io", "other-vendor/other-product", Some("top:level")),
        // Docker Hub's other names match as well.
        (PATHS, "index.docker.io", "vendor/product", Some("first:level")),
        (FULL, "registry-1.docker.io", "x", Some("docker:io")),
    ] {
        let (_files, found) = one(text);
        let logins = found.find(host).unwrap();
        assert_eq!(login(&logins, path).as_deref(), expected, "{host}/{path} in {text}");
    }
    // `TestSetGetCredentials`.
    for (key, path, fits) in [
        ("quay.io/foo", "foo/a", true),
        ("quay.io", "foo", true),
        ("quay.io/foo", "bar", false),
        ("https://quay.io/v1/", "foo", true),
    ] {
        let (_files, found) =
            one(&format!(r#"{{"auths": {{"{key}": {{"auth": "dXNlcm5hbWU6cGFzcw=="}}}}}}"#));
        let logins = found.find("quay.io").unwrap();
        assert_eq!(login(&logins, path).is_some(), fits, "{key}");
    }
}

/// `TestGetAuthFromLegacyFile` and `TestGetAuthPreferNewConfig` of containers/image.
#[test]
fn dockercfg_is_read_after_config() {
    let legacy = r#"{"http://index.docker.io/v1": {"auth": "ZG9ja2VyOmlvLWxlZ2FjeQ=="},
        "https://localhost/v1": {"auth": "bG9jYWw6aG9zdC1sZWdhY3k="}}"#;
    let files = Files::new(&[(".dockercfg", legacy)]);
    let find = |files: &Files, host: &str| {
        let logins = files.environment(&[("HOME", ".")]).find(host).unwrap();
        login(&logins, "x")
    };
    assert_eq!(find(&files, "localhost").as_deref(), Some("local:host-legacy"));
    assert_eq!(find(&files, "docker.io").as_deref(), Some("docker:io-legacy"));
    let files = Files::new(&[(".dockercfg", legacy), (".docker/config.json", FULL)]);
    assert_eq!(find(&files, "docker.io").as_deref(), Some("docker:io"));
}

/// docker/cli: `TestNewJSON`, `TestLoadFromReaderWithUsernamePassword`, `TestConvertToHostname`,
/// empty files; go-containerregistry: `TestVariousPaths`.
#[test]
fn config_json_matches_docker() {
    let entry = |key: &str, fields: &str| format!(r#"{{"auths": {{"{key}": {{{fields}}}}}}}"#);
    let joe = r#""auth": "am9lam9lOmhlbGxv", "email": "user@example.com""#;
    let foo = r#""auth": "Zm9vOmJhcg==""#;
    for (text, host, expected) in [
        (entry("https://index.docker.io/v1/", joe), "docker.io", Some("joejoe:hello")),
        (
            entry("example.com", r#""username": "user", "password": "pass""#),
            "example.com",
            Some("user:pass"),
        ),
        (entry("example.com", r#""auth": "dXNlcjpwYXNz""#), "example.com", Some("user:pass")),
        // `auth` takes precedence over the other two.
        (
            entry("example.com", r#""auth": "dXNlcjpwYXNz", "username": "x", "password": "bar""#),
            "example.com",
            Some("user:pass"),
        ),
        (entry("http://example.com", foo), "example.com", Some("foo:bar")),
        (entry("https://example.com/", foo), "example.com", Some("foo:bar")),
        (entry("https://example.com/v2/", foo), "example.com", Some("foo:bar")),
        (entry("https://127.0.0.1:6555/v2/", foo), "127.0.0.1:6555", Some("foo:bar")),
        (entry("https://[::1]:6555/v2/", foo), "[::1]:6555", Some("foo:bar")),
        (entry("[::1]:6555", foo), "[::1]:6555", Some("foo:bar")),
        (entry("http://test.io/v1/", foo), "test.io", Some("foo:bar")),
        (entry("http://test.io/v2/", foo), "test.io", Some("foo:bar")),
        (entry("example.com:6555", foo), "example.com", None),
        // Docker reads these two as the host. Here, as with Podman, they name a project.
        (entry("example.com/foo", foo), "example.com", None),
        (entry("https://example.com/foo", foo), "example.com", None),
        // Not a scheme of registries.
        (entry("ftp://example.com", foo), "example.com", None),
        (entry("unix:///var/run/docker.sock", foo), "unix:", None),
        (entry("test.io", ""), "test.io", None),
        (String::new(), "test.io", None),
        (" \n".to_owned(), "test.io", None),
        ("\u{feff}{}".to_owned(), "test.io", None),
        (r#"{"auths": null, "credHelpers": null, "credsStore": null}"#.to_owned(), "test.io", None),
        (r#"{"auths": {"test.io": null}, "credsStore": ""}"#.to_owned(), "test.io", None),
        // Go's decoder matches field names case-insensitively, and uses the last duplicate.
        (
            r#"{"Auths": {"test.io": {"AUTH": "Zm9vOmJhcg=="}}}"#.to_owned(),
            "test.io",
            Some("foo:bar"),
        ),
        (
            r#"{"AUTHS": {"test.io": {}}, "auths": {"test.io": {"auth": "x", "auth": "Zm9vOmJhcg=="}}}"#
                .to_owned(),
            "test.io",
            Some("foo:bar"),
        ),
        (
            r#"{"auths": {"test.io": {"auth": "Zm9vOmJhcg=="}}, "credHelpers": {"a.b": null}}"#
                .to_owned(),
            "test.io",
            Some("foo:bar"),
        ),
        (
            r#"{"credHelpers": {"test.io": null}, "credsStore": "no-such"}"#.to_owned(),
            "test.io",
            None,
        ),
        (
            r#"{"credHelpers": {"test.io": ""}, "credsStore": "no-such"}"#.to_owned(),
            "test.io",
            None,
        ),
        (r#"{"psFormat": "table {{.ID}}", "HttpHeaders": {"a": "b"}}"#.to_owned(), "test.io", None),
    ] {
        let (_files, found) = one(&text);
        let logins = found.find(host).unwrap();
        let own = logins.iter().find(|login| login.repository.is_none()).cloned();
        assert_eq!(login(&own.into_iter().collect::<Vec<_>>(), "").as_deref(), expected, "{text}");
    }
    // go-containerregistry, "matches repo" and "ignore unrelated repo".
    let (_files, found) = one(r#"{"auths": {"test.io/my-repo": {"auth": "Zm9vOmJhcg=="},
            "test.io/another-repo": {"auth": "YmFyOmJheg=="}, "test.io": {"auth": "YmF6OnF1dXg="}}}"#);
    let logins = found.find("test.io").unwrap();
    assert_eq!(login(&logins, "my-repo").as_deref(), Some("foo:bar"));
    assert_eq!(login(&logins, "other").as_deref(), Some("baz:quux"));
}

/// An exact key takes precedence over its spellings, and those over Docker Hub's other names.
#[test]
fn exact_key_counts_first() {
    let entries = [
        ("reg.a", "Zm9vOmJhcg=="),
        ("https://reg.a", "YmFyOmJheg=="),
        ("http://reg.a/v1/", "YmF6OnF1dXg="),
        ("reg.a/", "dXNlcjpwYXNz"),
    ];
    for (from, expected) in [(0, "foo:bar"), (1, "bar:baz"), (2, "user:pass")] {
        let auths = entries[from..].iter();
        let auths: Vec<_> =
            auths.map(|(key, auth)| format!(r#""{key}": {{"auth": "{auth}"}}"#)).collect();
        let (_files, found) = one(&format!(r#"{{"auths": {{{}}}}}"#, auths.join(",")));
        let logins = found.find("reg.a").unwrap();
        assert_eq!(login(&logins, "x").as_deref(), Some(expected));
    }
}

/// `TestGetAuthFailsOnBadInput` of containers/image, `TestMalformedJSON` of docker/cli.
#[test]
fn malformed_file_error_quotes_no_content() {
    for text in [
        "Json rocks! Unless it doesn't. hunter2",
        "{",
        "}{",
        r#"{"auths": "hunter2"}"#,
        r#"{"auths": {"a.b": "hunter2"}}"#,
        r#"{"auths": {"a.b": {"auth": "%hunter2"}}}"#,
        r#"{"auths": {"a.b": {"auth": "aHVudGVyMg=="}}}"#,
    ] {
        let (files, found) = one(text);
        let error = found.find("a.b").unwrap_err();
        let said = format!("{error:?}");
        assert!(!said.contains("hunter2") && !said.contains("aHVudGVyMg"), "{said}");
        assert!(said.contains(&files.path("config.json").display().to_string()), "{said}");
    }
    // An invalid entry of another host is ignored.
    let (_files, found) = one(r#"{"auths": {"a.b": {"auth": "aHVudGVyMg=="}, "c.d": {}}}"#);
    assert_eq!(found.find("c.d").unwrap(), []);
}

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
    // Docker rejects `username` and `password` in it, and ignores an invalid value; here, that is
    // an error.
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
    assert!(error.to_string().contains("name files with REGISTRY_AUTH_FILE"), "{error}");
}

#[test]
fn registry_token_counts_first() {
    let (_files, found) = one(
        r#"{"auths": {"reg.a": {"registrytoken": "t", "identitytoken": "i", "auth": "Zm9vOmJhcg=="}}}"#,
    );
    let logins = found.find("reg.a").unwrap();
    assert_eq!(logins[0].credentials, Credentials::RegistryToken(Secret::new("t")));
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
    // Helpers of other hosts only.
    let (_files, found) = one(r#"{"credHelpers": {"other.a": "there-is-no-such-helper"}}"#);
    assert_eq!(found.find("reg.a").unwrap(), []);
    // A login in the file takes precedence over the default helper.
    let (_files, found) = one(
        r#"{"credsStore": "there-is-no-such-helper", "auths": {"reg.a": {"auth": "Zm9vOmJhcg=="}}}"#,
    );
    assert_eq!(login(&found.find("reg.a").unwrap(), "x").as_deref(), Some("foo:bar"));
}
