//! Pull requests of a forge: `compass review --number` and `compass queue`.
#![allow(clippy::unwrap_used)]

mod bases;
mod commits;
mod creation;
#[path = "../forge_server/mod.rs"]
mod forge_server;
mod kills;
mod kinds;
mod pages;
mod queue;
mod reviews;
mod two_targets;
mod world;
