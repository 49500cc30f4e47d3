//! Image references from the tests of other tools. The host is mandatory here, so that references
//! to a default registry are rejected.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use compass_registry::{Reference, RegistryPrefix};

const F: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// Returns the host, repository, tag and digest of a reference.
fn parts(text: &str) -> Option<(String, String, Option<String>, Option<String>)> {
    let reference: Reference = text.parse().ok()?;
    assert_eq!(reference.to_string(), text);
    Some((
        reference.host().to_owned(),
        reference.repository().to_string(),
        reference.tag().map(ToString::to_string),
        reference.digest().map(ToString::to_string),
    ))
}

/// `TestReferenceParse`, `TestSplitHostname` and `TestSerialization` of distribution/reference:
/// references that both accept, with host, repository and tag. The digest after `@` is omitted.
const ACCEPTED: &[(&str, &str, &str, Option<&str>)] = &[
    ("test.com/repo:tag", "test.com", "repo", Some("tag")),
    ("test:5000/repo", "test:5000", "repo", None),
    ("test:5000/repo:tag", "test:5000", "repo", Some("tag")),
    ("test:5000/repo@", "test:5000", "repo", None),
    ("test:5000/repo:tag@", "test:5000", "repo", Some("tag")),
    ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", None),
    (
        "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
        "sub-dom1.foo.com",
        "bar/baz/quux",
        Some("some-long-tag"),
    ),
    (
        "b.gcr.io/test.example.com/my-app:test.example.com",
        "b.gcr.io",
        "test.example.com/my-app",
        Some("test.example.com"),
    ),
    ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", Some("xn--n3h.com")),
    ("xn--7o8h.com/myimage:xn--7o8h.com@", "xn--7o8h.com", "myimage", Some("xn--7o8h.com")),
    ("192.168.1.1/repo", "192.168.1.1", "repo", None),
    ("192.168.1.1:5000/repo", "192.168.1.1:5000", "repo", None),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", Some("5050")),
    ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", None),
    ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", Some("tag")),
    ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000", "repo", None),
    ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", Some("tag")),
    ("[2001:db8::1]:5000/repo@", "[2001:db8::1]:5000", "repo", None),
    ("[2001:db8::1]:5000/repo:tag@", "[2001:db8::1]:5000", "repo", Some("tag")),
    ("[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", None),
    ("[::1]:5000/repo", "[::1]:5000", "repo", None),
    ("test.com/foo", "test.com", "foo", None),
    ("test:8080/foo", "test:8080", "foo", None),
    ("test.com:8080/foo", "test.com:8080", "foo", None),
    ("test-com:8080/foo", "test-com:8080", "foo", None),
    ("xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo", None),
    ("example.com:8000/named:tagged", "example.com:8000", "named", Some("tagged")),
    ("test.com:8000/foo:TAG5", "test.com:8000", "foo", Some("TAG5")),
];

#[test]
fn reference_parts_match_distribution() {
    let digest = format!("sha256:{F}");
    for (text, host, repository, tag) in ACCEPTED {
        let with_digest = text.ends_with('@').then(|| digest.clone());
        let text = format!("{text}{}", with_digest.as_deref().unwrap_or_default());
        let tag = tag.map(str::to_owned);
        let expected = ((*host).to_owned(), (*repository).to_owned(), tag, with_digest);
        assert_eq!(parts(&text), Some(expected), "{text}");
    }
    let (_, repository, ..) = parts(&format!("example.com/{}:tag", "a".repeat(255))).unwrap();
    assert_eq!(repository.len(), 255);
}

/// `TestReferenceParse` and `TestWithNameFailure`: references that both reject.
#[test]
fn reference_rejected_by_distribution_is_rejected() {
    let digest = format!("sha256:{F}");
    for text in [
        String::new(),
        ":justtag".to_owned(),
        format!("@{digest}"),
        "repo@sha256:ffffffffffffffffffffffffffffffffff".to_owned(),
        format!("test.com/repo@sha256:{}", &F[..34]),
        format!("validname@invaliddigest:{F}"),
        format!("test.com/validname@invaliddigest:{F}"),
        "Uppercase:tag".to_owned(),
        "test:5000/Uppercase/lowercase:tag".to_owned(),
        format!("domain/{}:tag", "a".repeat(256)),
        format!("test.com/{}:tag", "a".repeat(256)),
        "aa/asdf$$^/aa".to_owned(),
        "test.com/asdf$$^/aa".to_owned(),
        "[2001:db8::1]".to_owned(),
        "[2001:db8::1]:5000".to_owned(),
        "[2001:db8::1]:tag".to_owned(),
        "[fe80::1%eth0]:5000/repo".to_owned(),
        "[fe80::1%@invalidzone]:5000/repo".to_owned(),
    ] {
        assert_eq!(parts(&text), None, "{text}");
    }
}

/// `TestReferenceParse`: deliberate differences of this crate.
#[test]
fn reference_differs_from_distribution_with_reason() {
    let long = "a/".repeat(127);
    for (text, reason) in [
        ("test_com", "no host"),
        ("test.com:tag", "no host: what looks like one is the repository"),
        ("test.com:5000", "no host: 5000 is the tag"),
        ("lowercase:Uppercase", "no host"),
        ("foo_bar.com:8080", "no host"),
        ("192.168.1.1", "no host"),
        ("192.168.1.1:tag", "no host"),
        ("192.168.1.1:5000", "no host"),
        (
            "foo/foo_bar.com:8080",
            "`foo` has no dot and no port, and could be a project of Docker Hub",
        ),
        (&format!("{long}a:tag-puts-this-over-max"), "`a` is no host either"),
        ("test_com/foo", "a host has no underscore: it is a repository without a host"),
    ] {
        assert_eq!(parts(text), None, "{text}: {reason}");
    }
    // In Go, SHA-512 is supported only if the program imports its package; here, always.
    let text = format!("test.com/validname@sha512:{F}{F}");
    assert!(parts(&text).is_some());
}

const VALID: &str = "sha256:deadb33fdeadb33fdeadb33fdeadb33fdeadb33fdeadb33fdeadb33fdeadb33f";

/// The lists of go-containerregistry's `pkg/name` that strict validation accepts.
#[test]
fn reference_accepted_by_crane_is_accepted() {
    for text in [
        // goodStrictValidationTagNames
        "gcr.io/g-convoy/hello-world:latest",
        "gcr.io/google.com/g-convoy/hello-world:latest",
        "gcr.io/project-id/with-nums:v2",
        "us.gcr.io/project-id/image:with.period.in.tag",
        "gcr.io/project-id/image:w1th-alpha_num3ric.PLUScaps",
        "domain.with.port:9001/image:latest",
        // Weak validation adds the tag `latest`, as here. Names without a host are below.
        "gcr.io/project-id/implicit-latest",
        "www.example.test:12345/repo/path",
        "localhost/testimage:mytag",
        // goodStrictValidationRepositoryNames
        "gcr.io/g-convoy/hello-world",
        "gcr.io/google.com/project-id/hello-world",
        "us.gcr.io/project-id/sub-repo",
        "example.text/foo/bar",
        "mirror.gcr.io/ubuntu",
        "index.docker.io/library/ubuntu",
        "example.com/a",
        "example.com/a/b",
    ] {
        assert!(parts(text).is_some(), "{text}");
    }
    // goodStrictValidationDigestNames and goodStrictValidationTagDigestNames
    for name in [
        "gcr.io/g-convoy/hello-world",
        "gcr.io/google.com/project-id/hello-world",
        "us.gcr.io/project-id/sub-repo",
        "example.text/foo/bar",
        "example.text/foo/bar:latest",
        "example.text:8443/foo/bar:latest",
        "example.text/foo/bar:v1.0.0-alpine",
    ] {
        assert!(parts(&format!("{name}@{VALID}")).is_some(), "{name}");
    }
    // TestParseReferenceWithTagAndDigest: the digest takes precedence.
    let text = format!("example.text/foo/bar:v1.0.0@{VALID}");
    let reference: Reference = text.parse().unwrap();
    assert_eq!(reference.tag_or_digest().to_string(), VALID);
    let bare: Reference = "gcr.io/project-id/implicit-latest".parse().unwrap();
    assert_eq!(bare.tag_or_digest().to_string(), "latest");
}

#[test]
fn reference_rejected_by_crane_is_rejected() {
    let odd = "shsh".repeat(16);
    for text in [
        // badTagNames
        "gcr.io/project-id/bad_chars:c@n'tuse",
        "gcr.io/project-id/wrong-length:white space",
        "gcr.io/project-id/too-many-chars:thisisthetagthatneverendsitgoesonandonmyfriendsomepeoplestartedtaggingitnotknowingwhatitwasandtheyllcontinuetaggingitforeverjustbecausethisisthetagthatneverends",
        "library/ubuntu:",
        "gcr.io/library/ubuntu:",
        // badRepositoryNames
        "white space",
        "b@char/image",
        "",
        // badDigestNames
        "gcr.io/project-id/unknown-alg@unknown:abc123",
        "gcr.io/project-id/wrong-length@sha256:d34db33fd34db33f",
        "gcr.io/project-id/missing-digest@",
        &format!("gcr.io/repo@sha256:{}", ":".repeat(64)),
        &format!("gcr.io/repo@sha256:{odd}"),
        &format!("gcr.io/repo@sha256:{VALID}@{VALID}"),
        &format!("gcr.io/library/nginx:@{VALID}"),
        // TestBadName
        "@@",
    ] {
        assert_eq!(parts(text), None, "{text}");
    }
}

#[test]
fn reference_differs_from_crane_with_reason() {
    for (text, reason) in [
        ("namespace/pathcomponent/image", "no host"),
        ("library/ubuntu", "no host"),
        ("ubuntu", "no host"),
        ("a", "no host"),
        ("0", "no host"),
        ("crossplane/provider-gcp:v0.14.0", "no host"),
        ("nginx:latest", "no host"),
        ("gcr.io/a//b", "crane accepts any sequence of its characters; the specification does not"),
        ("gcr.io/-a", "the same"),
        ("gcr.io/a..b", "the same"),
    ] {
        assert_eq!(parts(text), None, "{text}: {reason}");
    }
}

/// `TestNewRegistry`: hosts, parsed as registry prefixes here.
#[test]
fn registry_prefix_matches_crane() {
    for text in [
        "gcr.io",
        "gcr.io:9001",
        "index.docker.io",
        "us.gcr.io",
        "example.text",
        "localhost",
        "localhost:9090",
        "[::1]:5000",
    ] {
        let place: RegistryPrefix = text.parse().unwrap();
        assert_eq!((place.host.as_str(), place.project.as_str()), (text, ""));
    }
    // crane accepts the last two: the empty one means Docker Hub, and an address without brackets
    // cannot be distinguished from a host with a port.
    for text in ["white space", "gcr?com", "", "::1"] {
        assert!(text.parse::<RegistryPrefix>().is_err(), "{text}");
    }
}
