//! Signals that end a command, and signals that do not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

/// Starts a registry in a shell after `setup`; returns its process and its host.
fn serve(directory: &Path, setup: &str) -> (Child, String) {
    let command = format!("{setup} exec \"$0\" serve --listen 127.0.0.1:0 --writable \"$1\"");
    // The process that runs the tests may ignore signals, as `nohup` does.
    let mut child = Command::new("env")
        .args(["--default-signal", "sh", "-c", &command, COMPASS])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.split(' ').next().unwrap().to_owned())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The first line of the response to a request.
fn ask(host: &str, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    // A server that rejects the upload closes the connection before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn serve_hangup_exits_like_termination() {
    for ending in [Signal::HUP, Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let (mut server, _) = serve(directory.path(), "");
        signal(&server, ending);
        assert_eq!(server.wait().unwrap().code(), Some(0), "{ending:?}");
    }
}

#[test]
fn serve_ignored_hangup_continues() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, host) = serve(directory.path(), "trap '' HUP;");
    signal(&server, Signal::HUP);
    assert_eq!(ask(&host, "GET /v2/", b""), "HTTP/1.1 200 OK");
    signal(&server, Signal::TERM);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn serve_file_size_limit_fails_upload() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, host) = serve(directory.path(), "ulimit -f 1000;");
    let body = vec![7; 3_000_000];
    let digest = compass_registry::Digest::of(&body);
    let answer = ask(&host, &format!("POST /v2/a/blobs/uploads/?digest={digest}"), &body);
    assert_eq!(answer, "HTTP/1.1 507 Insufficient Storage");
    assert_eq!(ask(&host, "GET /v2/", b""), "HTTP/1.1 200 OK");
    signal(&server, Signal::TERM);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn extract_file_size_limit_is_error() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("large"), vec![0; 3_000_000]).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory.path()).arg("-cf").arg(at("a.tar")).arg("large");
    assert!(tar.status().unwrap().success());
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 1000; exec \"$0\" extract \"$1\" -o \"$2\"", COMPASS])
        .args([at("a.tar"), at("out")])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("File too large"), "{message}");
}

#[test]
fn serve_public_address_without_login_warns() {
    let directory = tempfile::tempdir().unwrap();
    for (listen, warns) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let mut server = Command::new(COMPASS)
            .args(["--format", "json", "serve", "--listen", listen, "--writable"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut result = String::new();
        let mut lines = BufReader::new(server.stdout.as_mut().unwrap()).lines();
        while !result.ends_with("}\n") {
            result += &(lines.next().unwrap().unwrap() + "\n");
        }
        signal(&server, Signal::TERM);
        server.wait().unwrap();
        assert_eq!(result.contains("can push and delete"), warns, "{result}");
    }
}
