//! Lists that change while their pages are read.

use crate::forge_server::OWN_LOGIN;
use crate::queue::releases;
use crate::world::World;

/// The number of items on a page.
const PAGE: usize = 5;

/// Brings a release to `patches-need-sync-image`, with remarks before its last comments, which are at
/// the start of the second page; returns its number, and the first remark.
fn with_pages(world: &World) -> (u64, u64) {
    let number = world.open_release("log", "v0.2.0");
    let remarks = world.forge.act(|forge| {
        forge.page_size = PAGE;
        (0..PAGE).map(|_| forge.comment(number, "bob", "a remark")).collect::<Vec<_>>()
    });
    world.apply(number);
    let comments = world.forge.act(|forge| forge.pull(number).comments.clone());
    assert_eq!(comments[PAGE].author, OWN_LOGIN);
    (number, remarks[0])
}

#[test]
fn review_deletion_between_pages_hides_nothing() {
    let world = World::new();
    let (number, remark) = with_pages(&world);
    world.push_image("log", "v0.2.0");
    let pushed = world.pushed("log", "v0.2.0");
    world.forge.act(|forge| {
        forge.comment(number, "alice", &pushed);
        // The own comment moves to the first page, which was read.
        forge.before_page("/comments", 2, move |forge| forge.delete_comment(remark));
    });
    let written = world.apply(number);
    assert_eq!(written[0], "updated the comment", "{written:?}");
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    assert_eq!(world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).len(), 1);
    assert_eq!(world.apply(number), Vec::<String>::new());
}

#[test]
fn review_addition_between_pages_counts_once() {
    let world = World::new();
    let (number, _) = with_pages(&world);
    world.push_image("log", "v0.2.0");
    let pushed = world.pushed("log", "v0.2.0");
    // Each reading differs from the one before, so that the list stays unknown.
    world.forge.act(|forge| {
        for _ in 0..8 {
            let pushed = pushed.clone();
            forge.before_page("/comments", 2, move |forge| {
                forge.comment(number, "alice", &pushed);
            });
        }
    });
    let value = world.review(number, &["--apply"]);
    assert_eq!(value["state"], "patches-need-sync-image", "{value:#}");
    let requests = value["transitions"].as_array().unwrap();
    assert!(requests.len() <= 9, "{value:#}");
    // The next look reads the rest.
    world.forge.act(|forge| forge.interruptions.clear());
    world.apply(number);
    assert_eq!(world.apply(number), Vec::<String>::new());
    assert_eq!(world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).len(), 1);
}

#[test]
fn queue_closing_between_pages_hides_nothing() {
    let world = World::new();
    let numbers = releases(&world, &["aa", "bb", "cc"]);
    let first = numbers[0];
    world.forge.act(|forge| {
        forge.page_size = 2;
        // The third pull request moves to the first page, which was read.
        forge.before_page("/pulls", 2, move |forge| {
            forge.close(first, false);
        });
    });
    let ran = world.compass(&["queue", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let listed: Vec<u64> = value["pulls"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pull| pull["number"].as_u64())
        .collect();
    assert_eq!(listed, numbers[1..], "{value:#}");
}
