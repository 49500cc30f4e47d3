//! The webhooks of the forge.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use compass_registry::{Algorithm, Hasher};
use serde_json::{Value, json};

use super::REPOSITORY;
use super::json::user;
use super::world::World;

/// Where webhooks are sent as soon as something happens.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) url: String,
    pub(crate) secret: String,
}

/// A webhook that the forge sends.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) event: &'static str,
    /// The pull request that the event belongs to.
    pub(crate) number: u64,
    pub(crate) payload: Value,
}

impl Delivery {
    /// The headers of the delivery, signed with a secret.
    pub(crate) fn headers(&self, body: &[u8], secret: &str) -> Vec<(&'static str, String)> {
        vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", "GitHub-Hookshot/0000000".to_owned()),
            ("x-github-event", self.event.to_owned()),
            ("x-github-delivery", self.id.clone()),
            ("x-hub-signature-256", format!("sha256={}", signature(body, secret))),
        ]
    }

    /// Sends the delivery; returns the status of the answer.
    pub(crate) fn send(&self, url: &str, secret: &str) -> Option<u16> {
        let body = self.payload.to_string().into_bytes();
        post(url, &self.headers(&body, secret), &body)
    }
}

/// Sends a POST request; returns the status of the answer.
pub(crate) fn post(url: &str, headers: &[(&'static str, String)], body: &[u8]) -> Option<u16> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head = format!("POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    // The server may answer before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// The HMAC-SHA256 of a body (RFC 2104), in hexadecimal.
pub(crate) fn signature(body: &[u8], secret: &str) -> String {
    const BLOCK: usize = 64;
    let key = |mask: u8| {
        let mut block = [mask; BLOCK];
        block.iter_mut().zip(secret.bytes()).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Hasher::new(Algorithm::Sha256);
    inner.update(&key(0x36));
    inner.update(body);
    let inner = inner.finish().hex();
    let bytes = (0..inner.len()).step_by(2);
    let bytes: Vec<u8> =
        bytes.map(|at| u8::from_str_radix(&inner[at..at + 2], 16).unwrap()).collect();
    let mut outer = Hasher::new(Algorithm::Sha256);
    outer.update(&key(0x5c));
    outer.update(&bytes);
    outer.finish().hex()
}

impl World {
    fn notify(&mut self, event: &'static str, number: u64, sender: &str, mut payload: Value) {
        let account = self.user(sender);
        payload["sender"] = user(&account);
        payload["repository"] = self.repository_json(REPOSITORY);
        let id = self.id();
        let id = format!("{id:08x}-0000-4000-8000-000000000000");
        let delivery = Delivery { id, event, number, payload };
        if let Some(hook) = self.hook.clone() {
            let delivery = delivery.clone();
            // As on GitHub, the action does not wait for the answer.
            std::thread::spawn(move || delivery.send(&hook.url, &hook.secret));
        }
        self.deliveries.push(delivery);
    }

    pub(super) fn notify_pull(&mut self, number: u64, action: &str, sender: &str) {
        let pull = self.pull_json(number);
        let mut payload = json!({"action": action, "number": number, "pull_request": pull});
        if action == "edited" {
            payload["changes"] = json!({"body": {"from": ""}});
        }
        self.notify("pull_request", number, sender, payload);
    }

    pub(super) fn notify_label(&mut self, number: u64, action: &str, label: &str, sender: &str) {
        let (pull, label) = (self.pull_json(number), self.label_json(label));
        let payload =
            json!({"action": action, "number": number, "pull_request": pull, "label": label});
        self.notify("pull_request", number, sender, payload);
    }

    pub(super) fn notify_push(&mut self, number: u64, before: &str) {
        let (author, after) = (self.pull(number).author.clone(), self.pull(number).head.clone());
        let pull = self.pull_json(number);
        let payload = json!({
            "action": "synchronize",
            "number": number,
            "before": before,
            "after": after,
            "pull_request": pull,
        });
        self.notify("pull_request", number, &author, payload);
    }

    pub(super) fn notify_comment(&mut self, number: u64, id: u64, action: &str) {
        let comment = self.comment_mut(id).cloned().unwrap();
        let value = self.comment_json(number, &comment);
        let issue = self.issue_json(number);
        let mut payload = json!({"action": action, "issue": issue, "comment": value});
        if action == "edited" {
            payload["changes"] = json!({"body": {"from": ""}});
        }
        self.notify("issue_comment", number, &comment.author, payload);
    }

    pub(super) fn notify_review(&mut self, number: u64, id: u64, action: &str) {
        let reviews = &self.pull(number).reviews;
        let review = reviews.iter().find(|review| review.id == id).cloned().unwrap();
        let (value, pull) = (self.review_json(number, &review), self.pull_json(number));
        let payload = json!({"action": action, "review": value, "pull_request": pull});
        self.notify("pull_request_review", number, &review.author, payload);
    }
}
