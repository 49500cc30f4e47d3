//! Packages of other tools: each feature is supported or rejected with a reason, by `verify`,
//! `install` and `extract` alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../archives/mod.rs"]
mod archives;
mod bundle_framing;
mod compressions;
mod docker_save;
mod layers;
mod lists;
mod names;
mod nesting;
mod outcome;
mod tars;
