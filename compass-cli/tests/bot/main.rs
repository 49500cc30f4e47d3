//! `compass bot`: webhooks, the journal, and the board.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod board;
mod browser;
mod deliveries;
#[allow(clippy::redundant_closure_for_method_calls, clippy::implicit_clone, clippy::unused_self)]
#[path = "../forge_server/mod.rs"]
mod forge_server;
mod histories;
mod journal;
mod lifecycle;
#[path = "../machine/mod.rs"]
mod machine;
mod scene;
mod server;
mod work;
#[allow(dead_code, reason = "other programs use the rest")]
#[path = "../pull_requests/world.rs"]
mod world;
