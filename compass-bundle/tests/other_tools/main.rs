//! Packages of other tools: each kind of thing that they hold is read, or refused by name, by `verify`,
//! `install` and `extract` alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../archives/mod.rs"]
mod archives;
mod compressions;
mod judged;
mod layers;
mod lists;
mod names;
mod nesting;
mod ours;
mod saved;
mod tars;
