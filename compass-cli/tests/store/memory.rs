//! The memory of commands that write to a store.

use std::process::Child;
use std::time::Duration;

use crate::world::World;

/// The maximum memory of a process without its program file, in KiB. A program compiled for release
/// takes less than 20 MiB in addition.
const MAX_MEMORY: u64 = 38 << 10;

/// The layers of two versions, of which one differs.
const LAYERS: [(u64, usize); 3] = [(1, 30_000_000), (2, 9_900_000), (3, 30_000_000)];
const NEXT_LAYERS: [(u64, usize); 3] = [(1, 30_000_000), (2, 9_900_000), (4, 30_000_000)];

/// Waits for the end of a process. Returns its peak memory without its program file, in KiB.
fn peak_memory(mut process: Child) -> u64 {
    let mut peak = 0;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(now.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn store_commands_use_bounded_memory() {
    let Some(world) = World::required("memory") else { return };
    let (store, other) = (world.store(), format!("{}/other", world.store()));
    let run = |name: &str, arguments: &[String]| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let peak = peak_memory(world.start(&arguments));
        eprintln!("{name}: {peak} KiB");
        assert!(peak <= MAX_MEMORY, "{name}: {peak} KiB");
    };
    world.release_version("v0.1.0", &LAYERS);
    run("package", &world.package(&store));
    world.release_version("v0.2.0", &NEXT_LAYERS);
    run("package with copies", &world.package(&store));
    let shard = ["--shard", "1/1", "--no-copy"].map(str::to_owned);
    run("package --shard", &[world.package(&other), shard.to_vec()].concat());
    let local = world.packaged("out");
    let third = format!("{}/third", world.store());
    let publish = ["publish", local["bundle"].as_str().unwrap(), "--to", &third];
    run("publish", &publish.map(str::to_owned));
}
