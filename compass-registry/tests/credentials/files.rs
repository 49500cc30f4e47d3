//! The content of credential files, with cases from the tests of other tools.

use super::{Files, login, one};

const EXAMPLE: &str = r#"{"auths": {"example.org": {"auth": "ZXhhbXBsZTpvcmc="}}}"#;

pub(crate) const FULL: &str = r#"{"auths": {
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

/// docker/cli: `TestLoadFromReaderWithUsernamePassword`, `TestConvertToHostname`;
/// go-containerregistry: `TestVariousPaths`. Each entry has a key, its fields and a host.
const ENTRIES: [(&str, &str, &str, Option<&str>); 18] = [
    ("https://index.docker.io/v1/", JOE, "docker.io", Some("joejoe:hello")),
    ("example.com", r#""username": "user", "password": "pass""#, "example.com", Some("user:pass")),
    ("example.com", r#""auth": "dXNlcjpwYXNz""#, "example.com", Some("user:pass")),
    // `auth` takes precedence over `username` and `password`.
    (
        "example.com",
        r#""auth": "dXNlcjpwYXNz", "username": "x", "password": "bar""#,
        "example.com",
        Some("user:pass"),
    ),
    ("http://example.com", FOO, "example.com", Some("foo:bar")),
    ("https://example.com/", FOO, "example.com", Some("foo:bar")),
    ("https://example.com/v2/", FOO, "example.com", Some("foo:bar")),
    ("https://127.0.0.1:6555/v2/", FOO, "127.0.0.1:6555", Some("foo:bar")),
    ("https://[::1]:6555/v2/", FOO, "[::1]:6555", Some("foo:bar")),
    ("[::1]:6555", FOO, "[::1]:6555", Some("foo:bar")),
    ("http://test.io/v1/", FOO, "test.io", Some("foo:bar")),
    ("http://test.io/v2/", FOO, "test.io", Some("foo:bar")),
    ("example.com:6555", FOO, "example.com", None),
    // For Docker, these two keys name the host. Here, as for Podman, they name a project.
    ("example.com/foo", FOO, "example.com", None),
    ("https://example.com/foo", FOO, "example.com", None),
    // Registries do not use these schemes.
    ("ftp://example.com", FOO, "example.com", None),
    ("unix:///var/run/docker.sock", FOO, "unix:", None),
    ("test.io", "", "test.io", None),
];

const JOE: &str = r#""auth": "am9lam9lOmhlbGxv", "email": "user@example.com""#;

const FOO: &str = r#""auth": "Zm9vOmJhcg==""#;

/// docker/cli: `TestNewJSON`, empty files. Each file has the login of `test.io`.
const TEXTS: [(&str, Option<&str>); 11] = [
    ("", None),
    (" \n", None),
    ("\u{feff}{}", None),
    (r#"{"auths": null, "credHelpers": null, "credsStore": null}"#, None),
    (r#"{"auths": {"test.io": null}, "credsStore": ""}"#, None),
    // Go's decoder matches field names case-insensitively, and uses the last duplicate.
    (r#"{"Auths": {"test.io": {"AUTH": "Zm9vOmJhcg=="}}}"#, Some("foo:bar")),
    (
        r#"{"AUTHS": {"test.io": {}}, "auths": {"test.io": {"auth": "x", "auth": "Zm9vOmJhcg=="}}}"#,
        Some("foo:bar"),
    ),
    (
        r#"{"auths": {"test.io": {"auth": "Zm9vOmJhcg=="}}, "credHelpers": {"a.b": null}}"#,
        Some("foo:bar"),
    ),
    (r#"{"credHelpers": {"test.io": null}, "credsStore": "no-such"}"#, None),
    (r#"{"credHelpers": {"test.io": ""}, "credsStore": "no-such"}"#, None),
    (r#"{"psFormat": "table {{.ID}}", "HttpHeaders": {"a": "b"}}"#, None),
];

#[test]
fn config_json_matches_docker() {
    let entries = ENTRIES.map(|(key, fields, host, expected)| {
        (format!(r#"{{"auths": {{"{key}": {{{fields}}}}}}}"#), host, expected)
    });
    let texts = TEXTS.map(|(text, expected)| (text.to_owned(), "test.io", expected));
    for (text, host, expected) in entries.into_iter().chain(texts) {
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

/// A key that equals the host takes precedence over URLs of the host, and these over other names of
/// Docker Hub.
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
