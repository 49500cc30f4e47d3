//! Random git histories with random attributes and configuration: `compass check --base` agrees with git
//! about the change, runs and writes nothing, and has the same findings in a fresh clone.
//!
//! `COMPASS_SEED` is the first history (default 1), and `COMPASS_SECONDS` the time to run (`fuzz/README.md`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod choices;
mod configuration;
mod history;
mod oracle;
mod tree;
mod work_tree;
mod world;

use std::time::{Duration, Instant};

use choices::Choices;
use world::World;

/// The number of histories without `COMPASS_SECONDS`.
const HISTORIES: u64 = 24;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn check_base_agrees_with_git() {
    let first = variable("COMPASS_SEED").unwrap_or(1);
    println!("COMPASS_SEED={first}");
    let seconds = variable("COMPASS_SECONDS").map(Duration::from_secs);
    let (begin, mut seed, mut summary) = (Instant::now(), first, oracle::Summary::default());
    let mut failed = Vec::new();
    while seconds.map_or(seed < first + HISTORIES, |seconds| begin.elapsed() < seconds) {
        let world = World::random(&mut Choices::new(seed));
        if let Err(difference) = oracle::compare(&world, &mut Choices::new(!seed), &mut summary) {
            println!("COMPASS_SEED={seed}: {difference}");
            println!("with the environment {:?}", world.environment);
            if std::env::var_os("COMPASS_KEEP").is_some() {
                println!("{}", world.directory.keep().display());
            }
            failed.push(seed);
        }
        seed += 1;
    }
    println!("{} histories in {:?}: {summary:?}", seed - first, begin.elapsed());
    assert!(failed.is_empty(), "these histories differ: {failed:?}");
}
