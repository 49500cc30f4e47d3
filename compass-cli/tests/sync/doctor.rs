//! `compass doctor`: registry features, logins, and web pages.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use compass_registry::testing::Script;
use serde_json::Value;

use crate::world::World;

#[test]
fn doctor_failed_credential_helper_is_error() {
    let world = World::new(&[], Script::default());
    let host = world.release.host();
    let helpers = [
        ("missing", "", "cannot run the credential helper `docker-credential-missing`"),
        ("locked", "echo the keyring is locked; exit 1", "the keyring is locked"),
        ("silent", "echo cannot open the display >&2; exit 1", "cannot open the display"),
        ("unknown", "echo credentials not found in native keychain; exit 1", "refuses"),
    ];
    for (name, script, fragment) in helpers {
        let program = format!("bin/docker-credential-{name}");
        if !script.is_empty() {
            world.write(&program, &format!("#!/bin/sh\n{script}\n"));
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(world.path(&program), executable).unwrap();
        }
        world.write("auth.json", &format!(r#"{{"credsStore": "{name}"}}"#));
        let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new(env!("CARGO_BIN_EXE_compass"))
            .args(["doctor", &host])
            .env("REGISTRY_AUTH_FILE", world.path("auth.json"))
            .env("PATH", path)
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        let code = if name == "unknown" { 3 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{name}: {printed}");
        assert!(printed.contains(fragment) && printed.contains("help: "), "{name}: {printed}");
    }
    world.write("auth.json", "auths: none");
    let (code, out, error) = world.compass(&["doctor", &host]);
    assert_eq!(code, 2, "{out}{error}");
    assert!(error.contains("auth.json") && error.contains("REGISTRY_AUTH_FILE"), "{error}");
}

#[test]
fn doctor_scratch_repository_is_cleaned() {
    let world = World::new(&[], Script::default());
    let host = world.release.host();
    let (code, out, error) = world.compass(&["doctor", &host, "--scratch", "release/scratch"]);
    assert_eq!(code, 0, "{out}{error}");
    for line in [
        &format!(
            "login           yes  as `robot` (from {}), with tokens from 127.0.0.1",
            world.path("auth.json").display()
        ),
        "ranges          yes",
        "chunked-upload  yes",
        "mount           yes",
        "referrers       yes",
        "delete          yes",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(!world.has("release/scratch:compass-doctor"));

    let (code, out, _) = world.compass(&["doctor", &host, "--format", "json"]);
    assert_eq!(code, 0);
    let result: Value = serde_json::from_str(&out).unwrap();
    let upload = result["trials"].as_array().unwrap().iter().find(|one| one["name"] == "upload");
    assert_eq!(upload.unwrap()["works"], Value::Null, "nothing is written unasked");

    let (code, out, _) = world.compass(&["doctor", "127.0.0.1:1"]);
    assert_eq!(code, 3);
    assert!(out.starts_with("reachable       no   127.0.0.1:1 cannot be reached"), "{out}");
    assert!(out.contains("help: check the host name, the port"), "{out}");
}

/// Starts a server with a fixed response for each path.
fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = vec![0; 16 << 10];
            let count = connection.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..count]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            // The client may have closed the connection.
            drop(connection.write_all(answer(path).as_bytes()));
        }
    });
    host
}

fn page(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

#[test]
fn doctor_web_page_is_no_registry() {
    let world = World::new(&[], Script::default());
    let html = "<!doctype html><title>Harbor</title>";
    let everywhere = serve(move |_| page("200 OK", "text/html", html));
    let below = serve(move |path| match path.starts_with("/v2/") {
        true => page("404 Not Found", "text/html", html),
        false => page("200 OK", "text/html", html),
    });
    for host in [everywhere, below] {
        let (code, out, error) = world.compass(&["doctor", &host]);
        assert_eq!(code, 3, "{out}{error}");
        assert!(out.contains("reachable       no"), "{out}");
        assert!(out.contains("registry") && out.contains("help: "), "{out}");
    }
}

#[test]
fn doctor_project_uses_its_login() {
    let world = World::new(&["caicloud/base:v1"], Script::default());
    let host = world.release.host();
    // `other:wrong` by default, and the right login for one project.
    let auths = format!(
        r#"{{"auths": {{"{host}": {{"auth": "b3RoZXI6d3Jvbmc="}},
            "{host}/release": {{"auth": "cm9ib3Q6aHVudGVyMg=="}}}}}}"#
    );
    world.write("auth.json", &auths);
    let (code, out, error) = world.compass(&["doctor", &format!("{host}/release")]);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("login           yes  as `robot` (from "), "{out}");
    assert!(out.contains("project         -    no repository of that name"), "{out}");

    let (code, out, error) = world.compass(&["doctor", &host]);
    assert_eq!(code, 3, "{out}{error}");
    let file = world.path("auth.json").display().to_string();
    assert!(out.contains("login           no") && out.contains("`other`"), "{out}");
    assert!(out.contains(&file) && out.contains("help: "), "{out}");
}

#[test]
fn auth_file_missing_is_error() {
    let world = World::new(&["caicloud/base:v1"], Script::default());
    std::fs::remove_file(world.path("auth.json")).unwrap();
    world.write("one.list", "caicloud/base:v1\n");
    for arguments in [&["doctor", &world.release.host()][..], &["sync", "--list", "one.list"]] {
        let (code, out, error) = world.compass(arguments);
        assert_eq!(code, 2, "{out}{error}");
        let named = error.contains("auth.json") && error.contains("REGISTRY_AUTH_FILE");
        assert!(named && error.contains("help: "), "{error}");
    }
}

#[test]
fn login_rejected_names_credentials_file() {
    let world = World::new(&["caicloud/base:v1"], Script::default());
    let auth = |host: String| format!(r#""{host}": {{"auth": "b3RoZXI6d3Jvbmc="}}"#);
    let auths = [auth(world.source.host()), auth(world.release.host())].join(",");
    world.write("auth.json", &format!(r#"{{"auths": {{{auths}}}}}"#));
    world.write("one.list", "caicloud/base:v1\n");
    let (code, out, error) = world.compass(&["sync", "--list", "one.list"]);
    assert_eq!(code, 3, "{out}{error}");
    let printed = out + &error;
    let file = world.path("auth.json").display().to_string();
    assert!(printed.contains("`other`") && printed.contains(&file), "{printed}");
    assert!(!printed.contains("wrong") && !printed.contains("b3RoZXI6d3Jvbmc"), "{printed}");
}
