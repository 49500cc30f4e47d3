//! `verify`, `install` and `extract` agree on random packages of other tools.
//!
//! `COMPASS_SEED=N` sets the first seed, and `COMPASS_SECONDS=N` the duration.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;
mod check;
mod choices;
mod images;
mod manifests;
mod mutation;
mod packages;
mod tar;

use std::time::{Duration, Instant};

use choices::Choices;

/// Number of packages if no duration is set.
const PACKAGES: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

#[test]
fn commands_agree_on_random_packages() {
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
        // Prints the seed if a check panics.
        let named = Named(seed);
        let mut choices = Choices::of_seed(seed);
        let is_mutated = choices.once_in(2);
        let generated = packages::generate(&mut choices, is_mutated);
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
