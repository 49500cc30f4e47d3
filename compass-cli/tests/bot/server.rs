//! Runs `compass bot`, and sends requests to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::forge_server::{Delivery, REPOSITORY, TOKEN, WEBHOOK_SECRET};
use crate::world::World;

/// How long a test waits for something that the bot does in the background.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Bot {
    pub(crate) child: Child,
    /// Such as `127.0.0.1:8080`.
    pub(crate) host: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Bot {
    /// Starts the bot. It scans only at the start.
    pub(crate) fn start(world: &World) -> Self {
        Self::start_with(world, &[])
    }

    pub(crate) fn start_with(world: &World, environment: &[(&str, &str)]) -> Self {
        Self::start_with_arguments(world, &[], environment)
    }

    pub(crate) fn start_with_arguments(
        world: &World,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut child = world
            .command(&["bot", "--listen", "127.0.0.1:0", "--scan-every", "24h"])
            .args(["--format", "json", "--state"])
            .arg(world.path("journal"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
            text += &line.unwrap();
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let host = value["host"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
                return Self { child, host };
            }
        }
        panic!("{text}{}", Self::log(&mut child));
    }

    pub(crate) fn webhook(&self) -> String {
        format!("http://{}/webhook", self.host)
    }

    /// Kills the process, so that it can do nothing more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the process with a signal; returns its exit code and its log, which has no secret.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let code = self.child.wait().unwrap().code();
        let log = Self::log(&mut self.child);
        for secret in [TOKEN, WEBHOOK_SECRET] {
            assert!(!log.contains(secret), "{log}");
        }
        (code, log)
    }

    fn log(child: &mut Child) -> String {
        let mut log = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    /// The maximum memory of the process so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, b"").unwrap()
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics", &[]).body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }

    /// Whether no pull request waits, and none has a worker.
    pub(crate) fn is_idle(&self) -> bool {
        self.metric("compass_bot_queue_running") + self.metric("compass_bot_queue_waiting") == 0
    }

    /// Sends a request; returns `None` if the connection breaks.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        request(&self.host, method, path, headers, body)
    }
}

pub(crate) fn request(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    // The server may answer before it has read everything.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

pub(crate) fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// A delivery for a pull request.
pub(crate) fn delivery(number: u64) -> Delivery {
    let payload = json!({
        "action": "labeled",
        "number": number,
        "pull_request": {"number": number},
        "repository": {"full_name": REPOSITORY},
    });
    Delivery {
        id: format!("{number:08x}-0000-4000-8000-000000000000"),
        event: "pull_request",
        number,
        payload,
    }
}

/// Sends a delivery; returns the status of the answer.
pub(crate) fn deliver(host: &str, delivery: &Delivery) -> Option<u16> {
    delivery.send(&format!("http://{host}/webhook"), WEBHOOK_SECRET)
}

/// Waits until a condition is true.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
