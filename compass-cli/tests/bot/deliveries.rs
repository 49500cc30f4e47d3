//! Webhooks: the checks of deliveries, and the reviews that they start.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use crate::forge_server::{Delivery, WEBHOOK_SECRET};
use crate::server::{Answer, Bot, deliver, delivery, eventually, read_answer, request};
use crate::world::World;

/// The maximum memory of the bot in KiB.
const MAX_MEMORY: u64 = 64 << 10;

fn send(bot: &Bot, headers: &[(&str, String)], body: &[u8]) -> Option<Answer> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    bot.request("POST", "/webhook", &headers, body)
}

#[test]
fn webhooks_move_release_through_queue() {
    let world = World::new();
    let bot = Bot::start(&world);
    world.forge.send_webhooks_to(&bot.webhook());
    let number = world.open_release("gpu", "v0.2.0");
    let is_at = |label: &str| {
        let expected = ["kind/release".to_owned(), format!("queue/{label}")];
        eventually(label, || world.labels(number) == expected);
    };
    is_at("need-queue");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    is_at("patches-need-sync-image");
    eventually("idle", || bot.metric("compass_bot_queue_running") == 0);
    // Old deliveries in another order change nothing.
    let (before, mut old) = world.forge.act(|forge| (forge.writes(), forge.deliveries.clone()));
    old.reverse();
    let looks = bot.metric("compass_bot_looks_total");
    for one in &old {
        assert_eq!(deliver(&bot.host, one), Some(202));
    }
    eventually("looked at", || bot.metric("compass_bot_looks_total") > looks);
    eventually("idle", || bot.is_idle());
    assert_eq!(world.forge.act(|forge| forge.writes()), before);
    world.forge.act(|forge| forge.close(number, true));
    eventually("closed", || bot.metric("compass_bot_open_releases") == 0);
    let (code, log) = bot.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn webhooks_invalid_are_rejected() {
    let world = World::new();
    let bot = Bot::start(&world);
    let valid = delivery(7);
    let body = valid.payload.to_string().into_bytes();
    let headers = valid.headers(&body, WEBHOOK_SECRET);
    let replaced = |name: &str, value: Option<&str>| {
        let mut headers = headers.clone();
        headers.retain(|(one, _)| *one != name);
        headers.extend(value.map(|value| ("", value.to_owned())));
        headers.last_mut().filter(|(one, _)| one.is_empty()).into_iter().for_each(|last| {
            last.0 =
                ["x-hub-signature", "x-hub-signature-256", "content-type", "x-github-delivery"]
                    .into_iter()
                    .find(|one| *one == name)
                    .unwrap();
        });
        send(&bot, &headers, &body).unwrap().status
    };
    assert_eq!(send(&bot, &headers, &body).unwrap().status, 202);
    // Forged, missing, and old: with SHA-1, or with a former secret.
    assert_eq!(send(&bot, &headers, b"{\"number\":8}").unwrap().status, 401);
    assert_eq!(replaced("x-hub-signature-256", None), 401);
    assert_eq!(replaced("x-hub-signature-256", Some("sha256=00")), 401);
    assert_eq!(
        replaced("x-hub-signature-256", Some("sha1=0123456789012345678901234567890123456789")),
        401
    );
    assert_eq!(send(&bot, &valid.headers(&body, "former"), &body).unwrap().status, 401);
    assert_eq!(replaced("content-type", Some("application/x-www-form-urlencoded")), 415);
    assert_eq!(replaced("x-github-delivery", None), 400);
    assert_eq!(replaced("x-github-delivery", Some("../../etc")), 400);
    let broken = b"{\"number\":";
    assert_eq!(send(&bot, &valid.headers(broken, WEBHOOK_SECRET), broken).unwrap().status, 400);
    assert_eq!(bot.get("/webhook", &[]).status, 405);
    assert_eq!(bot.metric("compass_bot_deliveries_total{result=\"accepted\"}"), 1);
    assert_eq!(bot.metric("compass_bot_deliveries_total{result=\"rejected\"}"), 9);
    let (_, log) = bot.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn webhooks_of_others_are_ignored() {
    let world = World::new();
    let bot = Bot::start(&world);
    let mut other = delivery(7);
    other.payload["repository"]["full_name"] = "mallory/compass-release".into();
    let issue = serde_json::json!({"action": "created", "issue": {"number": 7}});
    let issue = Delivery { event: "issue_comment", payload: issue, ..delivery(7) };
    let ping = Delivery { event: "ping", ..delivery(7) };
    for one in [other, issue, ping] {
        assert_eq!(deliver(&bot.host, &one), Some(202));
    }
    assert_eq!(bot.metric("compass_bot_deliveries_total{result=\"ignored\"}"), 3);
    assert_eq!(bot.metric("compass_bot_looks_total"), 0);
    bot.stop();
}

#[test]
fn webhook_push_to_base_scans_open() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    let bot = Bot::start(&world);
    eventually("looked at", || bot.metric("compass_bot_looks_total") == 1);
    eventually("idle", || bot.metric("compass_bot_queue_running") == 0);
    let push = |branch: &str| {
        let payload = serde_json::json!({"ref": format!("refs/heads/{branch}")});
        let push = Delivery { event: "push", payload, ..delivery(number) };
        assert_eq!(deliver(&bot.host, &push), Some(202));
    };
    push("change-gpu");
    eventually("scanned", || bot.metric("compass_bot_scans_total") == 2);
    assert_eq!(bot.metric("compass_bot_looks_total"), 1);
    push("main");
    eventually("looked at", || bot.metric("compass_bot_looks_total") == 2);
    bot.stop();
}

#[test]
fn missed_deliveries_are_read_at_start() {
    let world = World::new();
    let numbers = ["gpu", "net"].map(|name| world.open_release(name, "v0.2.0"));
    // One of the deliveries arrived.
    world.forge.act(|forge| {
        let missed = forge.deliveries.iter().filter(|one| one.number == numbers[1]);
        forge.undelivered = missed.map(|one| one.id.clone()).collect();
    });
    let bot = Bot::start(&world);
    eventually("looked at", || bot.metric("compass_bot_looks_total") == 2);
    assert_eq!(bot.metric("compass_bot_missed_deliveries_total"), 1);
    let read = world.forge.act(|forge| forge.requests.clone());
    let details = read.iter().filter(|one| one.contains("/hooks/2/deliveries/")).count();
    assert_eq!(details, 1, "{read:?}");
    bot.stop();
    // Not every account may read them.
    world.forge.act(|forge| forge.shows_hooks = false);
    let bot = Bot::start(&world);
    eventually("scanned", || bot.metric("compass_bot_scans_total") == 1);
    assert_eq!(bot.metric("compass_bot_missed_deliveries_total"), 0);
    let (code, log) = bot.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains("webhooks"), "{log}");
}

#[test]
fn webhook_large_bodies_are_bounded() {
    const LIMIT: usize = 25 << 20;
    let world = World::new();
    let bot = Bot::start(&world);
    let mut largest = delivery(7);
    let rest = LIMIT - largest.payload.to_string().len() - r#","padding":"""#.len();
    largest.payload["padding"] = "x".repeat(rest).into();
    let body = largest.payload.to_string().into_bytes();
    assert_eq!(body.len(), LIMIT);
    for _ in 0..3 {
        // On a busy machine, a body may arrive too late.
        eventually("accepted", || deliver(&bot.host, &largest) == Some(202));
    }
    let signed = |body: &[u8]| largest.headers(body, WEBHOOK_SECRET);
    let larger = [body.as_slice(), b" "].concat();
    let refused = send(&bot, &signed(&larger), &larger);
    // The connection may end while the client still sends.
    assert!(refused.is_none_or(|answer| answer.status == 413));
    // Several at once share the memory.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (host, largest) = (bot.host.clone(), largest.clone());
            std::thread::spawn(move || deliver(&host, &largest))
        })
        .collect();
    for thread in threads {
        let status = thread.join().unwrap();
        assert!(matches!(status, None | Some(202 | 408)), "{status:?}");
    }
    println!("bodies of 25 MiB, {} KiB", bot.peak_memory());
    assert!(bot.peak_memory() <= MAX_MEMORY, "{} KiB", bot.peak_memory());
    bot.stop();
}

#[test]
fn webhook_slow_body_times_out() {
    let world = World::new();
    let bot = Bot::start(&world);
    let one = delivery(7);
    let body = one.payload.to_string().into_bytes();
    let mut head = format!("POST /webhook HTTP/1.1\r\nhost: {}\r\n", bot.host);
    for (name, value) in one.headers(&body, WEBHOOK_SECRET) {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(&bot.host).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..body.len() - 1]).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 408);
    assert_eq!(bot.metric("compass_bot_deliveries_total{result=\"accepted\"}"), 0);
    bot.stop();
}

#[test]
fn webhook_burst_is_coalesced() {
    let world = World::new();
    let bot = Bot::start(&world);
    let threads: Vec<_> = (0..20_u64)
        .map(|thread| {
            let host = bot.host.clone();
            std::thread::spawn(move || {
                (0..50).all(|one| {
                    deliver(&host, &delivery(100 + (50 * thread + one) % 40)) == Some(202)
                })
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    assert_eq!(bot.metric("compass_bot_deliveries_total{result=\"accepted\"}"), 1000);
    eventually("idle", || bot.is_idle());
    let looks = bot.metric("compass_bot_looks_total");
    assert!((40..=1000).contains(&looks), "{looks}");
    println!("1000 deliveries, {looks} looks, {} KiB", bot.peak_memory());
    assert!(bot.peak_memory() <= MAX_MEMORY, "{} KiB", bot.peak_memory());
    assert_eq!(request(&bot.host, "GET", "/healthz", &[], b"").unwrap().body, "ok\n");
    bot.stop();
}
