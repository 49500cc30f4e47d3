//! Client certificates: errors are found before the first request, and redirects do not get the
//! certificate. Needs the same programs as `interop.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use world::{World, wait_for};

/// A server that redirects every request or responds with 404, and records the requests.
const SERVER: &str = r#"
import http.server, ssl, sys
address, elsewhere = sys.argv[1], sys.argv[2:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = bool(self.connection.getpeercert())
        print("certificate" if known else "nobody", self.path, flush=True)
        self.send_response(307 if elsewhere else 404)
        if elsewhere:
            self.send_header("Location", elsewhere[0] + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.crt", "server.key")
context.load_verify_locations("ca.crt")
context.verify_mode = ssl.CERT_OPTIONAL
server = http.server.ThreadingHTTPServer((address, 0), Handler)
print(server.server_port, flush=True)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn world_with_certificates() -> Option<World> {
    let world = World::required()?;
    world.sh("
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2
        printf 'subjectAltName=IP:127.0.0.2,IP:127.0.0.3\\nbasicConstraints=CA:FALSE\\n' > extensions
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial \
                -out $name.crt -days 2 -extfile extensions
        done
        mkdir -p repo/release-plugins; printf 'release/web:v1\\n' > web.list
    ");
    std::fs::write(world.path("server.py"), SERVER).unwrap();
    Some(world)
}

/// Starts a server; returns its host.
fn start(world: &World, name: &str, address: &str, elsewhere: &[String]) -> String {
    let elsewhere = elsewhere.iter().map(String::as_str);
    let arguments = ["server.py", address].into_iter().chain(elsewhere);
    world.python(&arguments.collect::<Vec<_>>(), name);
    let log = world.path(&format!("{name}.log"));
    let port = || std::fs::read_to_string(&log).is_ok_and(|printed| printed.ends_with('\n'));
    wait_for(port, name);
    let port = std::fs::read_to_string(&log).unwrap();
    format!("{address}:{}", port.trim())
}

/// Copies an image from a host with these settings in the policy; returns stderr and the exit code.
fn sync(world: &World, host: &str, policy: &str) -> String {
    let policy = format!("version: 1\nregistries: {{hosts: {{\"{host}\": {{{policy}}}}}}}\n");
    std::fs::write(world.path("repo/.compass.yaml"), policy).unwrap();
    world.sh(&format!(
        "compass sync --repo repo --list web.list --from {host}/a --to $SITE/b 2>&1 || echo code $?"
    ))
}

#[test]
fn client_certificate_not_sent_to_redirects() {
    let Some(world) = world_with_certificates() else { return };
    let other = start(&world, "other", "127.0.0.3", &[]);
    let registry = start(&world, "registry", "127.0.0.2", &[format!("https://{other}")]);
    let policy = "ca: ../ca.crt, certificate: ../client.crt, key: ../client.key";
    let printed = sync(&world, &registry, policy);
    assert!(
        printed.contains(&format!(
            "{other} (redirected from {registry}) answered 404 to GET /v2/a/web"
        )),
        "{printed}"
    );
    let path = "/v2/a/web/manifests/v1";
    assert_eq!(world.sh("tail -n +2 registry.log"), format!("certificate {path}"));
    assert_eq!(world.sh("tail -n +2 other.log"), format!("nobody {path}"));
}

#[test]
fn invalid_certificate_is_configuration_error() {
    let Some(world) = world_with_certificates() else { return };
    let registry = start(&world, "registry", "127.0.0.2", &[]);
    for (policy, fragment) in [
        ("ca: ../web.list", "cannot use the CA certificates"),
        ("ca: ../ca.crt, certificate: ../web.list, key: ../client.key", "client certificate"),
        ("ca: ../ca.crt, certificate: ../client.crt, key: ../server.key", "client certificate"),
    ] {
        let printed = sync(&world, &registry, policy);
        assert!(printed.contains(fragment) && printed.ends_with("code 2"), "{policy}: {printed}");
    }
    let printed = sync(&world, &registry, "plain_http: false");
    assert!(printed.contains("UnknownIssuer") && printed.contains("`ca: FILE`"), "{printed}");
    assert!(printed.ends_with("code 3"), "{printed}");
    assert_eq!(world.sh("tail -n +2 registry.log"), "");
}

#[test]
fn policy_of_site_names_certificate_beside_it() {
    let Some(world) = world_with_certificates() else { return };
    let registry = start(&world, "registry", "127.0.0.2", &[]);
    let policy =
        format!("version: 1\nregistries: {{hosts: {{\"{registry}\": {{ca: ../ca.crt}}}}}}\n");
    world.sh("mkdir site");
    std::fs::write(world.path("site/policy.yaml"), policy).unwrap();
    let printed = world.sh(&format!(
        "compass doctor {registry} --policy site/policy.yaml 2>&1 || true
         SSL_CERT_FILE=ca.crt compass doctor {registry} 2>&1 || true"
    ));
    assert_eq!(
        printed.matches("whether the registry has another host name").count(),
        2,
        "{printed}"
    );
}

#[test]
fn system_without_certificates_uses_plain_http() {
    let Some(world) = world_with_certificates() else { return };
    let registry = start(&world, "registry", "127.0.0.2", &[]);
    world.sh("mkdir none; : >none.pem");
    let printed = world.sh(&format!(
        "export SSL_CERT_FILE=none.pem SSL_CERT_DIR=none
         compass sync --repo repo --list web.list --from $SOURCE/a --to $SITE/b 2>&1 || echo code $?
         compass sync --repo repo --list web.list --from {registry}/a --to $SITE/b 2>&1 || echo code $?"
    ));
    let (http, https) = printed.split_once("code 3\n").expect(&printed);
    assert!(http.contains("answered 404"), "{printed}");
    let expected = "no CA certificates: `SSL_CERT_FILE` names none.pem, which contains none";
    assert!(https.contains(expected), "{printed}");
    assert!(https.contains("`ca: FILE`") && https.ends_with("code 3"), "{printed}");
}
