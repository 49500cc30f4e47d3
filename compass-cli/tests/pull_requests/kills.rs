//! `compass queue --run` is killed, and continues without doing a step twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use compass_registry::testing::random_bytes;

use crate::forge_server::OWN_LOGIN;
use crate::queue::releases;
use crate::world::World;

/// The number of times that a run is killed. `COMPASS_QUEUE_KILLS` sets another one.
fn kills() -> u64 {
    std::env::var("COMPASS_QUEUE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// More requests than a run sends.
const MAX_REQUESTS: usize = 400;

fn spawn(world: &World) -> Child {
    let mut command = world.command(&["queue", "--run", "--jobs", "2"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether a run finished. Asserts that a run that did not was killed.
fn is_finished(status: ExitStatus) -> bool {
    assert!(status.success() || status.signal().is_some(), "the run failed: {status}");
    status.success()
}

/// Makes the directories that killed runs left old, so that the next run removes them.
fn age_temporary(world: &World) {
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    for left in world.path("tmp").read_dir().unwrap() {
        let left = left.unwrap().path();
        match left.join("lock").metadata() {
            Ok(lock) if lock.len() > 0 => {
                File::open(left).unwrap().set_modified(hour_ago).unwrap();
            }
            // The run was killed before it marked the directory as its own.
            _ => std::fs::remove_dir_all(left).unwrap(),
        }
    }
}

/// The published files with their inodes and times.
fn published(world: &World) -> BTreeMap<String, (u64, SystemTime)> {
    let mut files = BTreeMap::new();
    for directory in world.path("store/plugins").read_dir().into_iter().flatten() {
        for file in directory.unwrap().path().read_dir().unwrap() {
            let (name, metadata) = {
                let file = file.unwrap();
                (file.file_name().into_string().unwrap(), file.metadata())
            };
            // Only final names: unfinished files disappear.
            if let Some(metadata) = metadata.ok().filter(|_| !name.contains(".part")) {
                files.insert(name, (metadata.ino(), metadata.modified().unwrap()));
            }
        }
    }
    files
}

/// Asserts that a release is published, and each step was requested once.
fn require_done(world: &World, number: u64) {
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
    let comments = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    assert_eq!(comments.len(), 3, "{comments:#?}");
    assert_eq!(comments[1], "/queue patches-need-package\n");
    assert!(comments[2].ends_with("/queue done-package-uploaded\n"), "{}", comments[2]);
}

#[test]
fn queue_run_killed_continues() {
    let world = World::new();
    let number = releases(&world, &["log"])[0];
    // Kills the run after each number of requests, until one finishes.
    let is_done = (3..MAX_REQUESTS).step_by(4).any(|requests| {
        let begun = world.forge.act(|forge| forge.requests.len());
        let mut child = spawn(&world);
        let status = loop {
            let sent = world.forge.act(|forge| forge.requests.len()) - begun;
            if sent >= requests {
                child.kill().unwrap();
            }
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        age_temporary(&world);
        is_finished(status)
    });
    assert!(is_done, "no run finished");
    require_done(&world, number);
    assert_eq!(published(&world).len(), 2, "the bundle and its checksum");
    // Asserts that no temporary file is left.
    assert_eq!(world.compass(&["queue"]).code, 0);
}

#[test]
fn queue_run_killed_at_random_continues() {
    let world = World::new();
    let seed = std::env::var("COMPASS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("COMPASS_SEED={seed}");
    let (mut numbers, mut files) = (Vec::new(), BTreeMap::new());
    let (mut killed, mut took) = (0, Duration::from_secs(2));
    let max_rounds = 20 * (kills() + 1);
    for round in 0.. {
        assert!(round < max_rounds, "{killed} kills in {round} rounds, seed {seed}");
        let is_done = |number: &u64| {
            world.labels(*number).contains(&"queue/done-package-uploaded".to_owned())
        };
        if numbers.iter().all(is_done) {
            if killed >= kills() {
                break;
            }
            let index = numbers.len();
            let names = [format!("a{index}"), format!("b{index}")];
            numbers.extend(releases(&world, &[&names[0], &names[1]]));
        }
        let random = u64::from_le_bytes(random_bytes(seed + round, 8).try_into().unwrap());
        let (begun, mut child) = (Instant::now(), spawn(&world));
        if killed < kills() {
            let moment = random % u64::try_from(took.as_micros()).unwrap();
            std::thread::sleep(Duration::from_micros(moment));
            child.kill().unwrap();
        }
        if is_finished(child.wait().unwrap()) {
            took = begun.elapsed();
        } else {
            killed += 1;
        }
        age_temporary(&world);
        let now = published(&world);
        for (name, file) in &files {
            assert_eq!(now.get(name), Some(file), "{name} was published again, seed {seed}");
        }
        files = now;
    }
    println!("{killed} kills, {} releases", numbers.len());
    assert_eq!(files.len(), 2 * numbers.len(), "the bundles and their checksums");
    for number in numbers {
        require_done(&world, number);
    }
    assert_eq!(world.compass(&["queue"]).code, 0);
}
