use proptest::prelude::*;

use super::*;

fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
}

const AUTH: &str = "https://auth.example.io/token";
const HELLO: &str = "repository:library/hello-world:pull,push";

/// Checks that headers are parsed to the expected challenges.
fn require(table: impl IntoIterator<Item = (&'static str, Vec<Challenge>)>) {
    for (header, expected) in table {
        assert_eq!(parse(header), expected, "{header}");
    }
}

#[test]
fn challenge_is_read_as_distribution_does() {
    require([
        // distribution and go-containerregistry, `TestAuthChallengeParse`.
        (
            r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",other=fun,slashed="he\"\l\lo""#,
            vec![bearer("https://auth.example.com/token", Some("registry.example.com"), None)],
        ),
        // containers/image, `TestParseValueAndParams`.
        (
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
            vec![bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/busybox:pull"),
            )],
        ),
        (
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull,push""#,
            vec![bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/busybox:pull,push"),
            )],
        ),
        (
            r#"Bearer realm="http://127.0.0.1:5000/openshift/token""#,
            vec![bearer("http://127.0.0.1:5000/openshift/token", None, None)],
        ),
    ]);
}

#[test]
fn challenge_is_read_as_oras_does() {
    // oras-go, `Test_parseChallenge`.
    require([
        ("", vec![]),
        ("foo bar", vec![Challenge::Other("foo".to_owned()), Challenge::Other("bar".to_owned())]),
        (r#"Basic realm="Test Registry""#, vec![Challenge::Basic]),
        ("Basic", vec![Challenge::Basic]),
        ("Basic  ", vec![Challenge::Basic]),
        (
            r#"Bearer realm="https://auth.example.io/token",service="registry.example.io",scope="repository:library/hello-world:pull,push""#,
            vec![bearer(AUTH, Some("registry.example.io"), Some(HELLO))],
        ),
        (
            r#"Bearer realm="https://auth.example.io/token",service="registry.example.io",scope="repository:library/alpine:pull,push repository:ubuntu:pull""#,
            vec![bearer(
                AUTH,
                Some("registry.example.io"),
                Some("repository:library/alpine:pull,push repository:ubuntu:pull"),
            )],
        ),
        // A challenge without a realm names no token service, so it is ignored here.
        ("Bearer", vec![]),
        ("Bearer  ", vec![]),
        (r#"Bearer foo="foo\"bar",hello="\"hello world\"""#, vec![]),
        (
            r#"Bearer realm = "https://auth.example.io/token"   ,service=registry.example.io, scope  ="repository:library/hello-world:pull,push"  "#,
            vec![bearer(AUTH, Some("registry.example.io"), Some(HELLO))],
        ),
        // A name without `=` may be the scheme of another challenge, and is parsed as one.
        (
            r#"Bearer realm="https://auth.example.io/token",service"#,
            vec![bearer(AUTH, None, None), Challenge::Other("service".to_owned())],
        ),
        (
            r#"Bearer realm="https://auth.example.io/token",service="#,
            vec![bearer(AUTH, None, None)],
        ),
        (
            r#"Bearer realm="https://auth.example.io/token",service= "#,
            vec![bearer(AUTH, None, None)],
        ),
        (
            r#"Bearer realm="https://auth.example.io/token",service="registry"#,
            vec![bearer(AUTH, None, None)],
        ),
        (
            r#"Bearer realm="https://auth.example.io/token",empty="",service="registry.example.io",scope="repository:library/hello-world:pull,push""#,
            vec![bearer(AUTH, Some("registry.example.io"), Some(HELLO))],
        ),
    ]);
}

#[test]
fn challenge_is_read_as_regclient_does() {
    // regclient, `TestParseAuthHeader`.
    require([
        (
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:docker/docker:pull""#,
            vec![bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:docker/docker:pull"),
            )],
        ),
        (r#"Basic realm="GitHub Package Registry""#, vec![Challenge::Basic]),
        (r#"BaSiC ReAlM="Case insensitive key""#, vec![Challenge::Basic]),
        ("Basic realm=unquoted", vec![Challenge::Basic]),
        ("Basic realm=/", vec![Challenge::Basic]),
        (r#"Basic realm="Dev", charset="UTF-8""#, vec![Challenge::Basic]),
        // regclient also accepts a quoted scheme, which RFC 9110 does not allow and no registry is
        // known to send.
        (r#""Basic" "realm"=/"#, vec![Challenge::Other("/".to_owned())]),
        (
            r#"Bearer realm="https://auth.docker.io/token", service="registry.docker.io", scope="repository:docker/docker:pull", Basic realm="GitHub Package Registry""#,
            vec![
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:docker/docker:pull"),
                ),
                Challenge::Basic,
            ],
        ),
        // regclient rejects these three headers. Their valid part is enough to log in.
        (r#"Basic realm="Dev" charset="UTF-8""#, vec![Challenge::Basic]),
        (r#"Basic realm="GitHub Package Registry"#, vec![Challenge::Basic]),
        (r#"Basic realm="GitHub Package Registry\\"#, vec![Challenge::Basic]),
    ]);
}

#[test]
fn challenges_of_one_header_are_told_apart() {
    let first = bearer("https://a.b/\"x, Basic\"", Some("reg"), None);
    let text = r#"realm="https://a.b/\"x, Basic\"", service=reg"#;
    let negotiate = Challenge::Other("Negotiate".to_owned());
    assert_eq!(
        parse(&format!("Negotiate YII==, Bearer {text} , Basic realm=\"x\"")),
        [negotiate, first.clone(), Challenge::Basic]
    );
    let ntlm = Challenge::Other("NTLM".to_owned());
    assert_eq!(parse(&format!("NTLM, Bearer {text}")), [ntlm, first]);
    // Spaces instead of commas.
    let spaced = r#"Bearer realm="https://a.b/t" service="reg" scope="x""#;
    assert_eq!(parse(spaced), [bearer("https://a.b/t", Some("reg"), Some("x"))]);
    assert_eq!(parse(r#"Bearer realm="",service="reg""#), []);
}

proptest! {
    #[test]
    fn any_header_is_survived(header in "(Bearer |Basic )?[ -~é]{0,80}") {
        parse(&header);
    }

    #[test]
    fn any_quoted_value_is_read_back(value in "[ -~é]{1,40}") {
        let escaped = value.replace('\\', r"\\").replace('"', r#"\""#);
        let header = format!("Bearer realm=\"{escaped}\"");
        prop_assert_eq!(parse(&header), [bearer(&value, None, None)]);
    }
}
