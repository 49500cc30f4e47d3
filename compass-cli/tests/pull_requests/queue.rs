//! `compass queue`, and the work of `--run`.

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::MemoryStorage;
use serde_json::{Value, json};

use crate::forge_server::{Fault, OWN_LOGIN};
use crate::world::{BODY, World};

/// Brings releases of plugins to `patches-need-sync-image`; returns their numbers.
pub(crate) fn releases(world: &World, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| release_at(world, &world.release.host(), name)).collect()
}

/// Brings a release whose image is in a registry to `patches-need-sync-image`.
fn release_at(world: &World, host: &str, name: &str) -> u64 {
    let number = world.open_release_at(host, name, "v0.2.0");
    world.push_image(name, "v0.2.0");
    let pushed = world.pushed(name, "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    world.apply(number);
    assert!(world.labels(number).contains(&"queue/patches-need-sync-image".to_owned()));
    number
}

fn queue(world: &World, arguments: &[&str]) -> (i32, Value, String) {
    let ran = world.compass(&[&["queue", "--format", "json"], arguments].concat());
    let value =
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.error));
    (ran.code, value, ran.error)
}

#[test]
fn queue_lists_releases_of_label() {
    let world = World::new();
    let numbers = releases(&world, &["log", "net"]);
    let other = world.open_release("gpu", "v0.2.0");
    world.apply(other);
    let typo = world.change("typo", "gpu", "v0.3.0");
    world.forge.act(|forge| {
        let unrelated = forge.open_pull("bob", "Fix a typo", &typo);
        forge.add_label(unrelated, "bob", "queue/patches-need-sync-image");
    });
    let (code, value, error) = queue(&world, &["--label", "patches-need-sync-image"]);
    assert_eq!(code, 0, "{error}");
    let listed = value["pulls"].as_array().unwrap();
    let found: Vec<_> = listed.iter().map(|pull| pull["number"].as_u64().unwrap()).collect();
    assert_eq!(found, numbers, "{value:#}");
    assert_eq!(listed[0]["targets"][0], json!({"target": "plugin log", "version": "v0.2.0"}));
    let next = &listed[0]["next"][0];
    assert_eq!(next["people"], json!(["@paula", "@release-robot"]));
    assert!(next["missing"][0].as_str().unwrap().contains("release registry"), "{value:#}");
    let (_, all, _) = queue(&world, &[]);
    assert_eq!(all["pulls"].as_array().unwrap().len(), 3, "{all:#}");
    let ran = world.compass(&["queue", "--label", "patches-need-sync"]);
    assert_eq!(ran.code, 2, "{}", ran.error);
}

#[test]
fn queue_dry_run_writes_nothing() {
    let world = World::new();
    releases(&world, &["log"]);
    let before = world.forge.act(|forge| forge.writes().len());
    let (code, value, error) = queue(&world, &["--run", "--dry-run"]);
    assert_eq!(code, 0, "{error}");
    let done = value["pulls"][0]["done"][0].as_str().unwrap();
    assert!(done.contains("would copy the images"), "{value:#}");
    assert_eq!(world.forge.act(|forge| forge.writes().len()), before);
    assert!(!world.path("store").exists());
}

#[test]
fn queue_run_finishes_releases() {
    let world = World::new();
    let numbers = releases(&world, &["log"]);
    let (code, value, error) = queue(&world, &["--run", "--label", "patches-need-sync-image"]);
    assert_eq!((code, &value["failed"]), (0, &json!(0)), "{value:#}{error}");
    assert_eq!(world.labels(numbers[0]), ["kind/release", "queue/patches-need-package"]);
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!((code, &value["failed"]), (0, &json!(0)), "{value:#}{error}");
    assert_eq!(world.labels(numbers[0]), ["kind/release", "queue/done-package-uploaded"]);
    let comments = world.forge.act(|forge| forge.comments_by(numbers[0], OWN_LOGIN));
    assert_eq!(comments.len(), 3, "{comments:#?}");
    assert_eq!(comments[1], "/queue patches-need-package\n");
    assert!(comments[2].starts_with("packages uploaded to\nfile://"), "{}", comments[2]);
    assert!(comments[2].ends_with("\n\n/queue done-package-uploaded\n"), "{}", comments[2]);
    let before = world.forge.act(|forge| forge.writes().len());
    queue(&world, &["--run"]);
    assert_eq!(world.forge.act(|forge| forge.writes().len()), before);
}

/// Rebases the release of a plugin on a new commit of the base branch.
fn rebase(world: &World, number: u64, name: &str) {
    let branch = format!("change-{name}");
    world.git("author", &["checkout", "--quiet", "--force", "main"]);
    world.write("author/README.md", "Releases of the platform.\n");
    let base = world.commit("main", "Describe the releases");
    world.git("author", &["checkout", "--quiet", &branch]);
    world.git("author", &["rebase", "--quiet", "main"]);
    world.git("author", &["push", "--quiet", "--force", "origin", &branch]);
    let head = world.git("author", &["rev-parse", "HEAD"]);
    world.forge.act(|forge| {
        forge.base_commit = base;
        forge.push(number, &head, false);
    });
}

/// Checks out the head of a release in the clone.
fn check_out(world: &World, name: &str) {
    world.git("clone", &["fetch", "--quiet", "origin", &format!("change-{name}")]);
    world.git("clone", &["checkout", "--quiet", "FETCH_HEAD"]);
}

#[test]
fn queue_run_after_rebase_writes_checksum() {
    let world = World::new();
    let number = releases(&world, &["log"])[0];
    queue(&world, &["--run", "--label", "patches-need-sync-image"]);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
    check_out(&world, "log");
    let store = format!("file://{}", world.path("store").display());
    let ran = world.compass(&["package", "plugin", "log", "-o", &store]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let bundle = world.path("store/plugins/log/compass-plugins-log-v0.2.0.tar.gz");
    let checksum = bundle.with_file_name("compass-plugins-log-v0.2.0.tar.gz.sha256");
    let (bytes, line) = (std::fs::read(&bundle).unwrap(), std::fs::read(&checksum).unwrap());
    // As after `--no-sha256`, or a process that was killed before it wrote the checksum.
    std::fs::remove_file(&checksum).unwrap();
    rebase(&world, number, "log");
    let value = world.review(number, &[]);
    let guard = &value["next"][0]["guards"][0];
    assert_eq!((&guard["guard"], &guard["verdict"]), (&json!("bundle-published"), &json!("holds")));
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!((code, &value["failed"]), (0, &json!(0)), "{value:#}{error}");
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
    assert_eq!(std::fs::read(&checksum).unwrap(), line);
    std::fs::remove_file(&checksum).unwrap();
    check_out(&world, "log");
    for outcome in ["\n", "is already published"] {
        let ran = world.compass(&["release", "plugin", "log"]);
        assert_eq!(ran.code, 0, "{}", ran.error);
        assert!(ran.out.contains(outcome), "{}", ran.out);
        assert_eq!(std::fs::read(&checksum).unwrap(), line);
    }
    assert_eq!(std::fs::read(&bundle).unwrap(), bytes);
}

#[test]
fn queue_run_failures_stop_no_others() {
    let world = World::new();
    // An image outside of the release registry is permitted, so that its registry can be down.
    world.change_policy("review:", "rules: {plugin-image-reference: off}\nreview:");
    let down = unused_address();
    let names = ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj"];
    let open = |name: &&str| match *name {
        "ff" => release_at(&world, &down, name),
        name => release_at(&world, &world.release.host(), name),
    };
    let numbers: Vec<u64> = names.iter().map(open).collect();
    world.remove_image("cc", "v0.2.0");
    let run = ["--run", "--jobs", "3", "--retry-connect", "1"];
    let (code, value, error) = queue(&world, &run);
    assert_ne!(code, 0, "{error}");
    assert_eq!(value["failed"], 2, "{value:#}{error}");
    for (name, number) in names.iter().zip(&numbers) {
        let is_failed = ["cc", "ff"].contains(name);
        let label = if is_failed { "patches-need-sync-image" } else { "done-package-uploaded" };
        assert_eq!(world.labels(*number), ["kind/release", &format!("queue/{label}")], "{name}");
        let comment = world.forge.act(|forge| forge.comments_by(*number, OWN_LOGIN)).remove(0);
        assert_eq!(comment.contains("The last run failed"), is_failed, "{comment}");
        let is_down = comment.contains("connection refused for") && comment.contains(&down);
        assert_eq!(is_down, *name == "ff", "{comment}");
    }
    let status = world.forge.act(|forge| forge.status(numbers[2], "compass/release-queue"));
    assert_eq!(status.unwrap().state, "failure");
    // Looking again does not change the comment.
    assert_eq!(world.apply(numbers[2]), Vec::<String>::new());
    world.push_image("cc", "v0.2.0");
    let server = Server::start(MemoryStorage::default(), &down, ServerOptions::default());
    let server = world.runtime.block_on(server).unwrap();
    let (code, value, error) = queue(&world, &run);
    assert_eq!(code, 0, "{value:#}{error}");
    for number in numbers {
        assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
        let comments = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
        assert_eq!(comments.len(), 3, "{comments:#?}");
        assert!(!comments[0].contains("The last run failed"), "{}", comments[0]);
    }
    world.runtime.block_on(server.stop());
}

/// An address at which no server listens.
fn unused_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn queue_run_other_image_is_kept() {
    let world = World::new();
    let number = releases(&world, &["log"])[0];
    world.sync_other_image("log", "v0.2.0");
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!((code, &value["failed"]), (1, &json!(1)), "{value:#}{error}");
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    let comment = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).remove(0);
    assert!(comment.contains("The last run failed"), "{comment}");
    world.sync_image("log", "v0.2.0");
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!(code, 0, "{value:#}{error}");
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
}

#[test]
fn queue_run_completes_publication() {
    let world = World::new();
    let first = releases(&world, &["log"])[0];
    queue(&world, &["--run"]);
    // A publication that is interrupted can leave the bundle without its checksum.
    let checksum = world.path("store/plugins/log/compass-plugins-log-v0.2.0.tar.gz.sha256");
    std::fs::remove_file(&checksum).unwrap();
    let pushed = world.pushed("log", "v0.2.0");
    let second = world.forge.act(|forge| {
        let head = forge.pull(first).head.clone();
        let number = forge.open_pull("alice", BODY, &head);
        forge.comment(number, "alice", &pushed);
        number
    });
    world.apply(second);
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!(code, 0, "{value:#}{error}");
    assert_eq!(world.labels(second), ["kind/release", "queue/done-package-uploaded"]);
    assert!(checksum.exists());
}

#[test]
fn queue_run_without_role_does_nothing() {
    let world = World::new();
    let number = releases(&world, &["log"])[0];
    world.change_policy(", '@release-robot'", "");
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!((code, &value["failed"]), (2, &json!(1)), "{value:#}{error}");
    assert!(error.is_empty() && value.to_string().contains("review.roles"), "{value:#}");
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
}

#[test]
fn queue_run_lost_answer_comments_once() {
    let world = World::new();
    let number = releases(&world, &["log"])[0];
    world.forge.act(|forge| forge.faults.plan("POST", "/comments", Fault::LosesAnswer, 2));
    let (code, value, error) = queue(&world, &["--run"]);
    assert_eq!(code, 0, "{value:#}{error}");
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
    let comments = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    assert_eq!(comments.len(), 3, "{comments:#?}");
}
