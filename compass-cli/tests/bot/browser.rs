//! The pages in Chromium: with scripts and without, on a phone and a desk, light and dark, in both
//! languages. Nothing is reported in the console, nothing scrolls sideways, and axe-core finds nothing.
//!
//! Needs `node`, `chromium`, and `COMPASS_AXE` with the path of `axe.min.js`. If one is missing, the test
//! is skipped, unless `COMPASS_INTEROP=required` is set, as in CI. `COMPASS_BOARD_PULLS` is the number of
//! pull requests, for which all pages are loaded, and `COMPASS_SCREENSHOTS` a directory for screenshots.

use std::path::PathBuf;
use std::process::Command;

use crate::machine::{has, skip};
use crate::scene;
use crate::server::{Bot, eventually};
use crate::world::World;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bot/browser.mjs");

#[test]
fn board_in_browser_has_no_problems() {
    if !["node", "chromium"].iter().all(|program| has(program, &["--version"])) {
        return;
    }
    let Some(axe) = std::env::var_os("COMPASS_AXE").map(PathBuf::from) else {
        return skip("axe-core in COMPASS_AXE");
    };
    let pulls: Option<usize> =
        std::env::var("COMPASS_BOARD_PULLS").ok().and_then(|text| text.parse().ok());
    let world = World::new();
    let numbers = scene::create(&world, pulls.unwrap_or(scene::STATES));
    let bot = Bot::start(&world);
    eventually("read", || bot.metric("compass_bot_looks_total") == numbers.len() as u64);
    let shown = if pulls.is_some() { scene::STATES } else { 2 };
    let mut paths: Vec<String> =
        numbers.iter().take(shown).map(|number| format!("/pull/{number}")).collect();
    paths.extend(["/", "/packages/plugin", "/missing"].map(str::to_owned));
    let options = serde_json::json!({
        "browser": "chromium",
        "profile": world.path("profile"),
        "axe": axe,
        "base": format!("http://{}", bot.host),
        "paths": paths,
        "all": pulls.is_some(),
        "screenshots": std::env::var("COMPASS_SCREENSHOTS").ok(),
    });
    let output = Command::new("node").arg(SCRIPT).arg(options.to_string()).output().unwrap();
    let (found, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{found}{error}");
    bot.stop();
}
