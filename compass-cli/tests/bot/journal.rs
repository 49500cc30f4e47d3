//! The journal: no acknowledged delivery is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::server::{Bot, deliver, delivery, eventually};
use crate::world::World;

/// A forge that cannot be reached, so that nothing is finished.
const NO_FORGE: (&str, &str) = ("GITHUB_API_URL", "http://127.0.0.1:1");

/// The number of times that the bot is killed. `COMPASS_BOT_KILLS` sets another one.
fn kills() -> u64 {
    std::env::var("COMPASS_BOT_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// Sends deliveries with new numbers until the bot does not answer; returns those it acknowledged.
fn send_until_killed(host: &str, next: &AtomicU64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match deliver(host, &delivery(number)) {
            Some(202) => acknowledged.push(number),
            Some(status) => panic!("{status}"),
            None => return acknowledged,
        }
        // Beyond 10,000 numbers, the bot scans the forge instead.
        std::thread::sleep(Duration::from_millis(4));
    }
}

/// The pull requests that were read from the forge.
fn read(world: &World) -> BTreeSet<u64> {
    let requests = world.forge.act(|forge| forge.requests.clone());
    let numbers = requests.iter().filter_map(|one| one.rsplit_once("/pulls/")?.1.parse().ok());
    numbers.collect()
}

#[test]
fn journal_killed_loses_no_delivery() {
    let world = World::new();
    let next = Arc::new(AtomicU64::new(1000));
    let mut acknowledged = BTreeSet::new();
    for round in 0..kills() {
        let bot = Bot::start_with(&world, &[NO_FORGE]);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (host, next) = (bot.host.clone(), Arc::clone(&next));
                std::thread::spawn(move || send_until_killed(&host, &next))
            })
            .collect();
        // A number between 5 and 204 that differs from round to round.
        std::thread::sleep(Duration::from_millis(5 + round * 7919 % 200));
        bot.kill();
        for thread in threads {
            acknowledged.extend(thread.join().unwrap());
        }
    }
    assert!(acknowledged.len() as u64 >= kills(), "{acknowledged:?}");
    let bot = Bot::start(&world);
    eventually("all are read", || read(&world).is_superset(&acknowledged));
    eventually("idle", || bot.is_idle());
    println!("{} kills, {} acknowledged, {} KiB", kills(), acknowledged.len(), bot.peak_memory());
    assert_eq!(bot.stop().0, Some(0));
    // Finished reviews are not repeated.
    world.forge.act(|forge| forge.requests.clear());
    let bot = Bot::start(&world);
    eventually("scanned", || bot.metric("compass_bot_scans_total") == 1);
    assert_eq!(bot.stop().0, Some(0));
    assert_eq!(read(&world), BTreeSet::new());
}

#[test]
fn journal_killed_at_work_continues() {
    let world = World::new();
    let numbers: Vec<u64> =
        ["gpu", "net", "disk"].map(|name| world.open_release(name, "v0.2.0")).to_vec();
    for millis in [150, 300, 450] {
        let bot = Bot::start(&world);
        std::thread::sleep(Duration::from_millis(millis));
        bot.kill();
    }
    let bot = Bot::start(&world);
    let expected = ["kind/release", "queue/need-queue"];
    for &number in &numbers {
        eventually("labels", || world.labels(number) == expected);
    }
    let is_done = || {
        bot.metric("compass_bot_looks_total") >= 3
            && bot.metric("compass_bot_queue_running") + bot.metric("compass_bot_queue_waiting")
                == 0
    };
    eventually("idle", is_done);
    bot.stop();
    // A killed request is not sent twice.
    for number in numbers {
        let own = crate::forge_server::OWN_LOGIN;
        let comments = world.forge.act(|forge| forge.comments_by(number, own));
        assert_eq!(comments.len(), 1, "{comments:?}");
    }
}

#[test]
fn journal_second_bot_is_refused() {
    let world = World::new();
    let bot = Bot::start(&world);
    let journal = world.path("journal").display().to_string();
    let arguments = ["bot", "--listen", "127.0.0.1:0", "--state", &journal];
    let output = world.command(&arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("another bot uses the directory"), "{error}");
    bot.stop();
}

#[test]
fn bot_without_secret_is_usage_error() {
    let world = World::new();
    let output = world.command(&["bot"]).env_remove("COMPASS_WEBHOOK_SECRET").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("COMPASS_WEBHOOK_SECRET"), "{error}");
}
