//! `verify`, `install` and `extract` agree on what packages of other tools hold.
//!
//! `COMPASS_SEED=N` begins with another seed, and `COMPASS_SECONDS=N` sets the time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;
mod check;
mod choices;
mod flaw;
mod images;
mod manifests;
mod packages;
mod tar;

use std::time::{Duration, Instant};

use choices::Choices;

/// Packages that are tried if no time is given.
const PACKAGES: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

#[test]
fn packages_whole_or_broken_are_judged_alike() {
    let first = number("COMPASS_SEED").unwrap_or(1);
    let seconds = number("COMPASS_SECONDS").map(Duration::from_secs);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    for count in 0.. {
        let is_over = match seconds {
            Some(seconds) => begun.elapsed() >= seconds,
            None => count == PACKAGES,
        };
        if is_over {
            println!("{count} packages");
            break;
        }
        let seed = first.wrapping_add(count);
        // A panic names the seed that it came from.
        let named = Named(seed);
        let mut choices = Choices::of_seed(seed);
        let is_flawed = choices.once_in(2);
        let generated = packages::generate(&mut choices, is_flawed);
        runtime.block_on(check::check(generated));
        drop(named);
    }
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("COMPASS_SEED={}", self.0);
        }
    }
}
